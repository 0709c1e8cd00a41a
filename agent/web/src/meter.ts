import type { Level } from "./audio";

/** Quieter than any room that a microphone listens to: -66 dB of full scale. */
const SILENCE_PEAK = 0.0005;
const SILENCE_MS = 8000;
/** The quietest loudness that moves the meter; full scale is 0 dB. */
const FLOOR_DB = -55;

export interface Sources {
  microphone: Level | undefined;
  voice: Level | undefined;
  /** The caller could be speaking: the agent listens and the microphone is not muted. */
  listening: boolean;
}

/**
 * Draws the two loudnesses, many times a second, as the custom properties `--mic` and `--voice`
 * (0 to 1), and notices a microphone that gives nothing but silence.
 *
 * They stand on nothing but what shows them: everything below an element is styled anew whenever
 * one of them changes.
 */
export class Meter {
  private frame = 0;
  private heardAt = 0;
  private silent = false;
  private microphone = 0;
  private voice = 0;

  constructor(
    private readonly meter: HTMLElement,
    private readonly orb: HTMLElement,
    private readonly onSilence: (silent: boolean) => void,
  ) {}

  run(sources: () => Sources): void {
    this.stop();
    this.heardAt = performance.now();
    const step = (now: number) => {
      this.draw(sources(), now);
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.silent = false;
    this.microphone = this.voice = 0;
    this.show();
  }

  private draw({ microphone, voice, listening }: Sources, now: number): void {
    this.microphone = smooth(this.microphone, loudness(microphone));
    this.voice = smooth(this.voice, loudness(voice));
    this.show();
    if (!microphone || !listening || microphone.peak > SILENCE_PEAK) this.heardAt = now;
    const silent = now - this.heardAt > SILENCE_MS;
    if (silent !== this.silent) this.onSilence(silent);
    this.silent = silent;
  }

  private show(): void {
    const microphone = this.microphone.toFixed(2);
    put(this.orb, "--voice", this.voice.toFixed(2));
    put(this.orb, "--mic", microphone);
    put(this.meter, "--mic", microphone);
    this.meter.setAttribute("aria-valuenow", String(Math.round(this.microphone * 100)));
  }
}

/** Setting what is there already has an element styled anew, too. */
function put({ style }: HTMLElement, name: string, value: string): void {
  if (style.getPropertyValue(name) !== value) style.setProperty(name, value);
}

/** Loudness as people feel it: decibels, as a share of the meter. */
export function loudness(level: Level | undefined): number {
  if (!level || level.rms === 0) return 0;
  const db = 20 * Math.log10(level.rms);
  return Math.min(1, Math.max(0, 1 - (db + 10) / (FLOOR_DB + 10)));
}

/** Up at once, down gently. */
function smooth(before: number, now: number): number {
  return now > before ? before + (now - before) * 0.5 : before + (now - before) * 0.12;
}
