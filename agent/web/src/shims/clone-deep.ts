// The WebRTC transport wants lodash only to copy one plain request object; browsers can do that.
export default structuredClone;
