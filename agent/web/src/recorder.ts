import type { Level } from "./audio";
import { wav } from "./wav";

/** A voice as it is: what helps a call (echo, noise, gain) would be learnt as part of it. */
const MICROPHONE: MediaTrackConstraints = {
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: false,
  channelCount: 1,
};

/** One take from the microphone, at the device's own rate. */
export class Recorder {
  /** Told once, when the microphone is unplugged or taken away. */
  onLost: (() => void) | null = null;

  private readonly blocks: Float32Array[] = [];
  private samples = 0;
  private last: Level = { rms: 0, peak: 0 };

  private constructor(
    private readonly context: AudioContext,
    private readonly microphone: MediaStream,
    private readonly longest_s: number,
  ) {
    const tap = new AudioWorkletNode(context, "recorder", {
      numberOfOutputs: 1,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    tap.port.onmessage = ({ data }: MessageEvent<Float32Array>) => this.take(data);
    // Browsers run only what leads somewhere; the tap itself is silent.
    context.createMediaStreamSource(microphone).connect(tap).connect(context.destination);
    const [track] = microphone.getAudioTracks();
    track?.addEventListener("ended", () => this.onLost?.());
  }

  /**
   * Opens the microphone, asking for permission, and records from then on. Call it from a click.
   *
   * @throws DOMException of `getUserMedia`, by whose name the reason is known.
   */
  static async open(longest_s: number): Promise<Recorder> {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
    const context = new AudioContext();
    try {
      await context.resume();
      await context.audioWorklet.addModule("recorder.js");
      return new Recorder(context, microphone, longest_s);
    } catch (error) {
      microphone.getTracks().forEach((track) => track.stop());
      void context.close();
      throw error;
    }
  }

  get seconds(): number {
    return Math.min(this.longest_s, this.samples / this.context.sampleRate);
  }

  get full(): boolean {
    return this.seconds >= this.longest_s;
  }

  get level(): Level {
    return this.last;
  }

  /** Closes the microphone; returns what it heard as a WAV file. */
  stop(): Blob {
    this.onLost = null;
    this.microphone.getTracks().forEach((track) => track.stop());
    const rate_hz = this.context.sampleRate;
    void this.context.close();
    return wav(this.blocks, rate_hz);
  }

  private take(block: Float32Array): void {
    if (this.full) return;
    const room = Math.ceil(this.longest_s * this.context.sampleRate) - this.samples;
    const taken = block.subarray(0, room);
    this.blocks.push(taken);
    this.samples += taken.length;
    const power = taken.reduce((sum, sample) => sum + sample * sample, 0);
    const peak = taken.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    this.last = { rms: Math.sqrt(power / Math.max(1, taken.length)), peak };
  }
}
