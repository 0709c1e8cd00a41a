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

export type TransportKind = "websocket" | "webrtc";

export interface Config {
  version: string;
  transports: TransportKind[];
  max_sessions: number;
  ice_servers: RTCIceServer[];
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
  ) {
    super(message);
  }
}

/** The server did not answer at all. */
export class Unreachable extends Error {}

export const fetchPersonas = () => request<Personas>("api/personas");

export const fetchConfig = () => request<Config>("api/config");

export const reserve = (persona: string, transport: TransportKind) =>
  request<Reservation>("api/start", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ persona, transport }),
  });

async function request<T>(path: string, init?: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new Unreachable("The server does not answer.");
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok && body !== null) return body as T;
  const sentence = (body as { error?: unknown } | null)?.error;
  // A proxy in front of a server that is gone answers 502 or 504 on its behalf, without a sentence.
  if (typeof sentence === "string") throw new Refused(sentence, response.status);
  if (response.status > 500) throw new Unreachable("The server does not answer.");
  throw new Refused(`The server answered with an error (${response.status}).`, response.status);
}
