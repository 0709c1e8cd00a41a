export interface Persona {
  name: string;
  display_name: string;
  description: string;
  language: string;
  greeting: string;
}

export interface Personas {
  default: string;
  personas: Persona[];
}

/** Others may be listened to first, and then conversations. */
const LISTENING_MS = 180_000;

export type TransportKind = "websocket" | "webrtc";

export interface Config {
  version: string;
  transports: TransportKind[];
  max_sessions: number;
  ice_servers: RTCIceServer[];
  /** What recordings may be brought to make a persona of; null where none are taken. */
  recordings: RecordingLimits | null;
}

export interface RecordingLimits {
  max_bytes: number;
  shortest_s: number;
  longest_s: number;
  most: number;
}

/** What one check of a recording says. */
export interface Finding {
  grade: "good" | "warning" | "refused";
  sentence: string;
}

export interface Examined {
  /** What the server calls the recording for the next half hour. */
  recording: string;
  duration_s: number;
  steps: string[];
  findings: Finding[];
  same_voice: Finding | null;
  usable: boolean;
  transcript: string;
}

export interface Said {
  recording: string;
  text: string;
  sure: boolean;
}

export interface NewPersona {
  name: string;
  display_name: string;
  description: string;
  recordings: Said[];
  consent: string;
  licence: string;
  like?: string;
  prompt?: string;
  greeting?: string;
}

/** A persona that was made, by its name. */
export interface Made {
  name: string;
}

/** A place that the server keeps for some seconds, and where to connect to take it. */
export interface Reservation {
  session: string;
  url: string;
}

/** The server answered, but not with what was asked for; the message is a sentence for people. */
export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
    /** What it is about, where the server says so: a field, a recording. */
    readonly about: { field?: string; recording?: string } = {},
  ) {
    super(message);
  }
}

/** The server did not answer at all. */
export class Unreachable extends Error {}

export const fetchPersonas = () => request<Personas>("api/personas");

export const fetchConfig = () => request<Config>("api/config");

export const reserve = (persona: string, transport: TransportKind) =>
  request<Reservation>("api/start", json({ persona, transport }));

/** Lets the server listen to a recording, which may take it a while. */
export const examine = (file: Blob, first: string | undefined) =>
  request<Examined>(
    `api/recordings${first ? `?first=${first}` : ""}`,
    { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file },
    LISTENING_MS,
  );

export const checkWords = (recording: string, text: string) =>
  request<Finding>(`api/recordings/${recording}/words`, json({ text }));

export const forget = (recording: string) =>
  request(`api/recordings/${recording}`, { method: "DELETE" });

export const makePersona = (persona: NewPersona) =>
  request<Made>("api/personas", json(persona), LISTENING_MS);

const json = (body: unknown): RequestInit => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

async function request<T>(path: string, init?: RequestInit, patience_ms = 10_000): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, signal: AbortSignal.timeout(patience_ms) });
  } catch {
    throw new Unreachable("The server does not answer.");
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok && body !== null) return body as T;
  const { error: sentence, ...about } = (body ?? {}) as { error?: unknown };
  // A proxy in front of a server that is gone answers 502 or 504 on its behalf, without a sentence.
  if (typeof sentence === "string") throw new Refused(sentence, response.status, about);
  if (response.status > 500) throw new Unreachable("The server does not answer.");
  throw new Refused(`The server answered with an error (${response.status}).`, response.status);
}
