import { Refused, Unreachable } from "./api";

/** What went wrong, in a sentence that says what to do, and whether typing would still work. */
export interface Trouble {
  text: string;
  /** The microphone is the trouble; the agent could still be talked to by typing. */
  microphone: boolean;
}

const MICROPHONE: Record<string, string> = {
  NotAllowedError:
    "The microphone is blocked. Allow it for this page in your browser, then start again.",
  NotFoundError: "No microphone was found. Connect one, then start again.",
  NotReadableError: "The microphone is in use by another program. Close that, then start again.",
  OverconstrainedError: "This microphone cannot be used. Choose another one, then start again.",
};

export const INSECURE =
  "Browsers give a page a microphone only over HTTPS. " +
  "Open this page with https:// or on localhost.";
export const UNPLUGGED_TAKE =
  "The microphone was disconnected. Connect it, then record again.";
export const NO_LATIN = "Its folder is named after it: use at least one letter from a to z.";
export const LOST = "Connection lost. Reconnecting\u2026";
export const GONE = "The server cannot be reached any more. Check that it runs, then try again.";
export const CLOSED = "The agent has ended the conversation.";
export const SILENT =
  "We hear nothing from your microphone. Check that it is switched on and not muted, or type.";
export const UNPLUGGED =
  "The microphone was disconnected. Connect it and start again, or go on by typing.";

/** Said once a persona has been made. */
export const newVoice = (name: string) =>
  `${name} is ready. Where CSM does not run, the nearest of the built-in voices stands in.`;

export function inWords(error: unknown): Trouble {
  if (error instanceof DOMException && MICROPHONE[error.name]) {
    return { text: MICROPHONE[error.name] as string, microphone: true };
  }
  if (error instanceof Unreachable) {
    return { text: `${error.message} Check that it runs, then try again.`, microphone: false };
  }
  if (error instanceof Refused) return { text: error.message, microphone: false };
  console.error(error);
  const text = "Something unexpected went wrong. Reload the page and try again.";
  return { text, microphone: false };
}
