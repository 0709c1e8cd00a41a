/** After a cut over WebRTC: how long what is still under way on the network stays unheard. */
const REMOTE_CUT_MS = 250;

/**
 * Echo cancellation is asked for by name, for without it the agent's own voice, coming out of the
 * loudspeaker and into the microphone, would interrupt the agent.
 */
const MICROPHONE: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  channelCount: 1,
};

/** The page's ears and mouth: microphone in (16 kHz), the agent's voice out (24 kHz). */
export class CallAudio {
  /** Gets 20 ms of microphone, 16-bit mono at 16 kHz. */
  onChunk: ((pcm: ArrayBuffer) => void) | null = null;
  /** Told when the agent's voice begins and stops being audible (websocket only). */
  onPlaying: ((playing: boolean) => void) | null = null;
  /** Told how much of a marked reply has been played, every 20 ms and when there is no more. */
  onPlayed: ((played: Played) => void) | null = null;
  /** Told when the microphone is unplugged or taken away. */
  onMicrophoneLost: (() => void) | null = null;

  private readonly ear: AnalyserNode;
  private readonly mouth: AnalyserNode;
  private readonly player: AudioWorkletNode;
  private readonly remote = new Audio();
  private readonly wake = () => void this.context.resume();
  private remoteSource: MediaStreamAudioSourceNode | null = null;

  private constructor(
    private readonly context: AudioContext,
    private readonly microphone: MediaStream | null,
  ) {
    this.ear = context.createAnalyser();
    this.mouth = context.createAnalyser();
    this.ear.fftSize = this.mouth.fftSize = 1024;

    this.player = new AudioWorkletNode(context, "player", { outputChannelCount: [1] });
    this.player.port.onmessage = ({ data }: MessageEvent<boolean | Played>) => {
      if (typeof data === "boolean") this.onPlaying?.(data);
      else this.onPlayed?.(data);
    };
    this.player.connect(context.destination);
    this.player.connect(this.mouth);

    if (microphone) {
      const source = context.createMediaStreamSource(microphone);
      const capture = new AudioWorkletNode(context, "capture", { outputChannelCount: [1] });
      capture.port.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => this.onChunk?.(data);
      // Browsers run only what leads somewhere, and an analyser counts as somewhere.
      source.connect(capture).connect(this.ear);
      this.track?.addEventListener("ended", () => this.onMicrophoneLost?.());
    }
    // A phone suspends audio while the page is in the background.
    document.addEventListener("visibilitychange", this.wake);
  }

  /**
   * Opens the microphone (asking for permission) and the loudspeaker. Call it from a click.
   *
   * @throws DOMException of `getUserMedia`, by whose name the reason is known.
   */
  static async open(options: { microphone: boolean }): Promise<CallAudio> {
    const stream = options.microphone
      ? await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE })
      : null;
    const context = new AudioContext({ latencyHint: "interactive" });
    try {
      await context.resume();
      await context.audioWorklet.addModule("worklet.js");
      return new CallAudio(context, stream);
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      void context.close();
      throw error;
    }
  }

  get track(): MediaStreamTrack | undefined {
    return this.microphone?.getAudioTracks()[0];
  }

  /** Loudness of the caller right now, 0 to 1, and its highest sample. */
  get microphoneLevel(): Level {
    return measure(this.ear);
  }

  /** Loudness of the agent right now, 0 to 1. */
  get voiceLevel(): Level {
    return measure(this.mouth);
  }

  /** A muted microphone goes on sending silence, so that the server sees the turn end. */
  set muted(muted: boolean) {
    if (this.track) this.track.enabled = !muted;
  }

  /** Queues 16-bit mono at 24 kHz behind what is already queued. */
  play(pcm: Int16Array): void {
    this.player.port.postMessage(pcm, [pcm.buffer]);
  }

  /** What is queued from now on is a reply's. */
  mark(reply: string): void {
    this.player.port.postMessage({ reply });
  }

  /** Plays the track of a WebRTC connection; the browser's own jitter buffer does the queueing. */
  playTrack(track: MediaStreamTrack): void {
    const stream = new MediaStream([track]);
    this.remote.srcObject = stream;
    void this.remote.play();
    this.remoteSource?.disconnect();
    this.remoteSource = this.context.createMediaStreamSource(stream);
    this.remoteSource.connect(this.mouth);
  }

  /** Drops everything queued: nothing more is heard than what the device already holds. */
  cut(): void {
    this.player.port.postMessage("cut");
    if (!this.remote.srcObject) return;
    this.remote.muted = true;
    setTimeout(() => (this.remote.muted = false), REMOTE_CUT_MS);
  }

  /** Forgets the connection's voice; microphone and loudspeaker stay open for the next one. */
  detach(): void {
    this.onChunk = this.onPlayed = null;
    this.cut();
    this.remote.srcObject = null;
    this.remoteSource?.disconnect();
    this.remoteSource = null;
  }

  close(): void {
    this.detach();
    document.removeEventListener("visibilitychange", this.wake);
    this.microphone?.getTracks().forEach((track) => track.stop());
    void this.context.close();
  }
}

/** How much of a reply has left the queue for the loudspeaker. */
export interface Played {
  reply: string;
  seconds: number;
  /** There is sound left in the queue. */
  more: boolean;
}

/** Linear amplitude, 0 to 1: `rms` over the last 20 ms or so, and the highest sample, `peak`. */
export interface Level {
  rms: number;
  peak: number;
}

const scratch = new Float32Array(1024);

function measure(analyser: AnalyserNode): Level {
  analyser.getFloatTimeDomainData(scratch);
  let sum = 0;
  let peak = 0;
  for (const sample of scratch) {
    sum += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
  }
  return { rms: Math.sqrt(sum / scratch.length), peak };
}
