import { loudness } from "./meter";
import { Recorder } from "./recorder";
import { INSECURE, UNPLUGGED_TAKE, inWords } from "./words";

export interface TakeListener {
  /** A take is over: what was recorded. */
  taken(file: Blob): void;
  trouble(sentence: string): void;
  /** Recording has begun or ended. */
  recording(on: boolean): void;
}

/** Recording with the microphone: a button to begin, a gauge, a button to end. */
export class Take {
  private recorder: Recorder | null = null;
  private opening = false;
  private frame = 0;
  private readonly seconds: HTMLElement;
  private readonly bar: HTMLElement;
  private readonly finish: HTMLButtonElement;

  constructor(
    private readonly panel: HTMLElement,
    begin: HTMLButtonElement,
    private readonly longest_s: () => number,
    private readonly listener: TakeListener,
  ) {
    this.seconds = panel.querySelector(".seconds") as HTMLElement;
    this.bar = panel.querySelector(".bar") as HTMLElement;
    this.finish = panel.querySelector(".finish") as HTMLButtonElement;
    begin.addEventListener("click", () => void this.start());
    this.finish.addEventListener("click", () => this.end());
  }

  /** Ends a take without keeping it. */
  cancel(): void {
    this.close();
  }

  private async start(): Promise<void> {
    if (this.recorder || this.opening) return;
    if (!window.isSecureContext) return this.listener.trouble(INSECURE);
    this.opening = true;
    try {
      this.recorder = await Recorder.open(this.longest_s());
    } catch (error) {
      return this.listener.trouble(inWords(error).text);
    } finally {
      this.opening = false;
    }
    this.recorder.onLost = () => {
      this.close();
      this.listener.trouble(UNPLUGGED_TAKE);
    };
    this.show(true);
    this.finish.focus({ preventScroll: true });
    this.panel.scrollIntoView({ block: "nearest" });
    this.step();
  }

  private step(): void {
    const { recorder } = this;
    if (!recorder) return;
    const level = loudness(recorder.level);
    this.seconds.textContent = `${recorder.seconds.toFixed(1)} s`;
    this.panel.style.setProperty("--level", level.toFixed(3));
    this.panel.style.setProperty("--gone", (recorder.seconds / this.longest_s()).toFixed(3));
    this.bar.setAttribute("aria-valuenow", String(Math.round(level * 100)));
    if (recorder.full) return this.end();
    this.frame = requestAnimationFrame(() => this.step());
  }

  private end(): void {
    const file = this.close();
    if (file) this.listener.taken(file);
  }

  private close(): Blob | undefined {
    cancelAnimationFrame(this.frame);
    const file = this.recorder?.stop();
    this.recorder = null;
    this.show(false);
    return file;
  }

  private show(on: boolean): void {
    this.panel.hidden = !on;
    this.listener.recording(on);
  }
}
