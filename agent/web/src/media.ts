import { WavMediaManager } from "@pipecat-ai/websocket-transport";

import type { CallAudio } from "./audio";

/**
 * The transports' media manager on top of `CallAudio`.
 *
 * Why not `WavMediaManager` itself: it hides why the microphone failed, gathers a quarter of a
 * second before it sends, keeps the whole recording in memory, plays on at a barge-in, and after
 * one interruption stays silent for good. Why not the default one: it needs the internet.
 */
export class CallMedia extends WavMediaManager {
  private sent: MediaStreamTrack | undefined;

  constructor(private readonly audio: CallAudio) {
    super();
  }

  override async initialize(): Promise<void> {}

  override async connect(): Promise<void> {
    // The WebRTC transport stops the track it was given; a copy keeps the microphone open, so
    // that reconnecting does not ask for it again.
    this.sent = this.audio.track?.clone();
    this.audio.onChunk = (pcm) => this._userAudioCallback?.(pcm);
  }

  override async disconnect(): Promise<void> {
    this.audio.detach();
    this.sent?.stop();
    this.sent = undefined;
  }

  override async userStartedSpeaking(): Promise<unknown> {
    return this.audio.cut();
  }

  override bufferBotAudio(data: ArrayBuffer | Int16Array): Int16Array {
    const pcm = data instanceof Int16Array ? data : new Int16Array(data);
    this.audio.play(pcm);
    return pcm;
  }

  override async enableMic(enable: boolean): Promise<void> {
    this._micEnabled = enable;
    this.audio.muted = !enable;
    if (this.sent) this.sent.enabled = enable;
  }

  override tracks(): ReturnType<WavMediaManager["tracks"]> {
    return { local: this.sent ? { audio: this.sent } : {} };
  }
}
