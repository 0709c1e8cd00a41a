// The transports import Daily's SDK for their default media manager, which fetches code from
// Daily's servers at run time. This page brings its own media manager and must work offline, so
// the bundle gets this instead of the SDK.
export default {};
