// Runs on the browser's audio thread: one processor takes the microphone in, the other plays the
// agent's voice. They speak to audio.ts by messages.
import { Resampler } from "./resample";

declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

/** What the server listens to and speaks at. */
const MICROPHONE_HZ = 16000;
const VOICE_HZ = 24000;
/** 20 ms, the grain at which the server's voice detection looks. */
const CHUNK_SAMPLES = MICROPHONE_HZ / 50;
/** Heard before playing starts, so that a little jitter on the network is not a gap in a word. */
const PREROLL_S = 0.06;
/** More than any answer; what comes beyond it is dropped, so that memory stays bounded. */
const MAX_QUEUED_S = 300;
/** How fast the last sample fades once playing is cut, which would click otherwise. */
const CUT_DECAY = 0.96;
/** Between two messages about how much of a reply has been played. */
const TELL_EVERY_S = 0.02;

/** Where a reply begins, in samples since the last cut. */
interface Mark {
  reply: string;
  at: number;
}

class Capture extends AudioWorkletProcessor {
  private readonly resampler = new Resampler(sampleRate, MICROPHONE_HZ);
  private chunk = new Int16Array(CHUNK_SAMPLES);
  private filled = 0;

  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const channels = inputs[0] ?? [];
    if (channels.length === 0) return true;
    const samples = mono(channels);
    outputs[0]?.[0]?.set(samples);
    this.take(this.resampler.process(samples));
    return true;
  }

  private take(samples: Float32Array): void {
    for (const sample of samples) {
      this.chunk[this.filled++] = Math.max(-1, Math.min(1, sample)) * 0x7fff;
      if (this.filled < CHUNK_SAMPLES) continue;
      this.port.postMessage(this.chunk.buffer, [this.chunk.buffer]);
      this.chunk = new Int16Array(CHUNK_SAMPLES);
      this.filled = 0;
    }
  }
}

class Player extends AudioWorkletProcessor {
  private readonly resampler = new Resampler(VOICE_HZ, sampleRate);
  private queue: Float32Array[] = [];
  private offset = 0;
  private waited = 0;
  private playing = false;
  private last = 0;
  /** Samples since the last cut: those that were queued, and those of them that were played. */
  private added = 0;
  private played = 0;
  /** Where replies begin that have not yet begun to play, and the one that has. */
  private marks: Mark[] = [];
  private reply: Mark | null = null;
  private untold = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<Int16Array | "cut" | { reply: string }>) => {
      if (data === "cut") this.cut();
      else if (data instanceof Int16Array) this.add(data);
      else this.mark(data.reply);
    };
  }

  private get queued(): number {
    return this.added - this.played;
  }

  private add(pcm: Int16Array): void {
    if (this.queued > MAX_QUEUED_S * sampleRate) return;
    const samples = this.resampler.process(Float32Array.from(pcm, (value) => value / 0x8000));
    this.queue.push(samples);
    this.added += samples.length;
    // A browser may have put playing off; that this waits to be heard is told all the same.
    if (!this.playing) this.tell();
  }

  private mark(reply: string): void {
    // One without any sound is nobody's business.
    if (this.marks.at(-1)?.at === this.added) this.marks.pop();
    this.marks.push({ reply, at: this.added });
    this.begin();
  }

  private cut(): void {
    const { played } = this;
    this.queue = [];
    this.added = played;
    this.tell();
    this.marks = [];
    this.reply = null;
    this.offset = this.added = this.played = this.waited = 0;
    this.resampler.reset();
    this.report(false);
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const output = outputs[0]?.[0];
    if (!output) return true;
    if (!this.playing && this.queued > 0) {
      this.waited += output.length;
      // A voice shorter than the pre-roll must be heard too, hence the waiting time.
      if (Math.max(this.queued, this.waited) >= PREROLL_S * sampleRate) this.report(true);
    }
    for (let i = 0; i < output.length; i++) {
      output[i] = this.last = this.playing && this.queued > 0 ? this.next() : this.last * CUT_DECAY;
    }
    const ends = this.playing && this.queued === 0;
    this.untold += output.length;
    if (ends || (this.playing && this.untold >= TELL_EVERY_S * sampleRate)) this.tell();
    if (ends) this.report(false);
    return true;
  }

  private next(): number {
    const head = this.queue[0];
    const sample = head?.[this.offset++] ?? 0;
    this.played++;
    if (head && this.offset >= head.length) {
      this.queue.shift();
      this.offset = 0;
    }
    this.begin();
    return sample;
  }

  /** The next reply's turn has come, once all before its mark has been played. */
  private begin(): void {
    const [mark] = this.marks;
    if (!mark || mark.at > this.played) return;
    this.reply = mark;
    this.marks.shift();
    this.tell();
  }

  private tell(): void {
    this.untold = 0;
    if (!this.reply) return;
    const { reply, at } = this.reply;
    const seconds = (this.played - at) / sampleRate;
    this.port.postMessage({ reply, seconds, more: this.queued > 0 });
  }

  private report(playing: boolean): void {
    if (playing !== this.playing) this.port.postMessage(playing);
    this.playing = playing;
    this.waited = 0;
  }
}

function mono(channels: Float32Array[]): Float32Array {
  const first = channels[0] as Float32Array;
  if (channels.length === 1) return first;
  const sum = (i: number) => channels.reduce((total, channel) => total + (channel[i] ?? 0), 0);
  return first.map((_, i) => sum(i) / channels.length);
}

registerProcessor("capture", Capture);
registerProcessor("player", Player);
