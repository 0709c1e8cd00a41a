import {
  type BotOutputData,
  LogLevel,
  PipecatClient,
  type RTVIMessage,
  type Transport,
  logger,
} from "@pipecat-ai/client-js";
import { SmallWebRTCTransport } from "@pipecat-ai/small-webrtc-transport";
import { WebSocketTransport } from "@pipecat-ai/websocket-transport";

import { type Reservation, type TransportKind, Unreachable } from "./api";
import type { CallAudio } from "./audio";
import type { Latency } from "./latency";
import { CallMedia } from "./media";
import { PlayoutReports } from "./playout";
import { OrderedSerializer } from "./serializer";
import type { Voice } from "./voice";

const CONNECT_TIMEOUT_MS = 15_000;
/** Websocket close code of a server that ended the conversation on purpose. */
const NORMAL_CLOSURE = 1000;

type ServerMessage =
  | Latency
  | Voice
  | { type: "notice"; level?: "info" | "error"; text?: string }
  /** What the conversation keeps of an answer that was cut off. */
  | { type: "heard"; text: string }
  /** The sound that follows is this reply's. */
  | { type: "reply"; id: string };

/** What the server tells during a conversation. */
export interface Listener {
  userStarted(): void;
  userStopped(): void;
  userSaid(text: string, final: boolean): void;
  answerStarted(): void;
  answerWritten(): void;
  voiceAnnounced(speaking: boolean): void;
  agentSaid(output: BotOutputData): void;
  interrupted(): void;
  heard(text: string): void;
  latency(latency: Latency): void;
  notice(text: string, level: "info" | "error"): void;
  voice(voice: Voice): void;
  /** The connection ended without being asked to. */
  ended(reason: Ending): void;
}

/** `lost`: worth reconnecting. `closed`: the server said goodbye. `failed`: it gave a reason. */
export type Ending = { kind: "lost" } | { kind: "closed" } | { kind: "failed"; text: string };

/** One connection to the agent, over either transport; it lives from `connect` to its end. */
export class Session {
  private readonly client: AgentClient;
  private ready = false;
  private closing = false;
  private ending: Ending = { kind: "lost" };
  private giveUp: (error: Error) => void = () => {};
  private readonly reports = new PlayoutReports((reply, played_ms) => {
    if (this.client.state !== "ready") return false;
    this.client.sendClientMessage("playout", { reply, played_ms });
    return true;
  });

  constructor(
    private readonly kind: TransportKind,
    private readonly audio: CallAudio,
    private readonly listener: Listener,
    iceServers: RTCIceServer[],
  ) {
    logger.setLevel(LogLevel.WARN);
    this.client = new AgentClient({
      transport: this.transport(iceServers),
      enableCam: false,
      enableMic: audio.track !== undefined,
      callbacks: {
        onUserStartedSpeaking: () => listener.userStarted(),
        onUserStoppedSpeaking: () => listener.userStopped(),
        onUserTranscript: ({ text, final }) => listener.userSaid(text, final),
        onBotLlmStarted: () => listener.answerStarted(),
        onBotLlmStopped: () => listener.answerWritten(),
        onBotStartedSpeaking: () => listener.voiceAnnounced(true),
        onBotStoppedSpeaking: () => listener.voiceAnnounced(false),
        onBotOutput: (output) => listener.agentSaid(output),
        onServerMessage: (data) => this.onServerMessage(data),
        onTrackStarted: (track, participant) => {
          if (!participant?.local && track.kind === "audio") audio.playTrack(track);
        },
        onBotDisconnected: () => (this.ending = { kind: "closed" }),
        onError: (message) => this.onError(message),
        onDisconnected: () => this.onDisconnected(),
      },
    });
    this.client.onInterrupted = () => {
      // Over the websocket the audio is cut at the interruption frame, which is exact.
      if (kind === "webrtc") audio.cut();
      listener.interrupted();
    };
  }

  /** Resolves once the agent is ready. @throws Unreachable where there is no connection. */
  async connect({ url }: Reservation): Promise<void> {
    const target = new URL(url, location.href);
    const parameters =
      this.kind === "webrtc"
        ? { webrtcRequestParams: { endpoint: target.href } }
        : { wsUrl: target.href.replace(/^http/, "ws") };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const abandoned = new Promise<never>((_, reject) => {
      this.giveUp = reject;
      timer = setTimeout(() => reject(new Error("timeout")), CONNECT_TIMEOUT_MS);
    });
    try {
      await Promise.race([this.client.connect(parameters), abandoned]);
      this.ready = true;
      // Over WebRTC the browser's own jitter buffer plays, which says nothing.
      if (this.kind === "websocket") this.audio.onPlayed = (played) => this.reports.take(played);
    } catch {
      await this.close();
      throw new Unreachable("The connection to the agent could not be made.");
    } finally {
      clearTimeout(timer);
    }
  }

  mute(muted: boolean): void {
    this.client.enableMic(!muted);
  }

  /** Sends typed text, which interrupts the agent and is answered aloud. */
  sendText(text: string): void {
    this.audio.cut();
    void this.client.sendText(text, { run_immediately: true, audio_response: true });
  }

  async close(): Promise<void> {
    this.closing = true;
    await this.client.disconnect().catch(() => undefined);
  }

  private transport(iceServers: RTCIceServer[]): Transport {
    const media = new CallMedia(this.audio);
    if (this.kind === "webrtc") {
      // Each transport package carries its own, equal declaration of the media manager.
      const mediaManager = media as never;
      return new SmallWebRTCTransport({ mediaManager, iceServers });
    }
    return new WebSocketTransport({
      mediaManager: media,
      serializer: new OrderedSerializer(() => this.audio.cut()),
      recorderSampleRate: 16000,
      playerSampleRate: 24000,
    });
  }

  private onServerMessage(data: unknown): void {
    const message = data as ServerMessage;
    switch (message.type) {
      case "latency":
        return this.listener.latency(message);
      case "notice":
        return message.text ? this.listener.notice(message.text, message.level ?? "info") : undefined;
      case "voice":
        return this.listener.voice(message);
      case "heard":
        return this.listener.heard(message.text);
      case "reply":
        if (this.kind === "websocket") this.audio.mark(message.id);
    }
  }

  private onError(message: RTVIMessage): void {
    const { error, fatal } = message.data as { error?: string; fatal?: boolean };
    if (!fatal) return;
    const closed = /^websocket connection closed\. Code: (\d+)/.exec(error ?? "");
    if (closed) this.ending = { kind: Number(closed[1]) === NORMAL_CLOSURE ? "closed" : "lost" };
    else if (!error?.startsWith("websocket")) this.ending = { kind: "failed", text: error ?? "" };
  }

  private onDisconnected(): void {
    this.giveUp(new Error("disconnected"));
    if (this.ready && !this.closing) this.listener.ended(this.ending);
    this.ready = false;
  }
}

/** The stock client knows no `bot-interrupted` yet, so it is picked up on its way in. */
class AgentClient extends PipecatClient {
  onInterrupted: (() => void) | null = null;

  protected override handleMessage(message: RTVIMessage): void {
    if ((message.type as string) === "bot-interrupted") this.onInterrupted?.();
    else super.handleMessage(message);
  }
}
