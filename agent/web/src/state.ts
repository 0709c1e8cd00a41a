/** What the page says is happening. */
export type Phase = "idle" | "connecting" | "listening" | "thinking" | "speaking" | "error";

/** An answer that has not begun by then is not coming: noise was taken for a turn, say. */
const PATIENCE_MS = 20_000;

/** Who is speaking now, worked out from what the server says and what the loudspeaker plays. */
export class Conversation {
  private current: Phase = "idle";
  private announced = false;
  private audible = false;
  private awaiting = false;
  private generating = false;
  private patience: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly onChange: (phase: Phase) => void) {}

  get phase(): Phase {
    return this.current;
  }

  /** The agent's voice is in the air, or the server says so. */
  get speaking(): boolean {
    return this.audible || this.announced;
  }

  /** More of the answer is still being written. */
  get unfinished(): boolean {
    return this.generating;
  }

  connecting(): void {
    this.leave("connecting");
  }

  ready(): void {
    this.set("listening");
    this.update();
  }

  stopped(): void {
    this.leave("idle");
  }

  failed(): void {
    this.leave("error");
  }

  userStarted(): void {
    this.await(false);
  }

  /** The caller's turn ended, or they sent text: an answer is due. */
  userFinished(): void {
    this.await(true);
  }

  answerStarted(): void {
    this.generating = true;
    this.await(true);
  }

  answerWritten(): void {
    this.generating = false;
  }

  voiceAnnounced(speaking: boolean): void {
    this.announced = speaking;
    this.await(false);
  }

  voiceAudible(audible: boolean): void {
    this.audible = audible;
    if (audible) this.await(false);
    else this.update();
  }

  interrupted(): void {
    this.announced = false;
    this.generating = false;
    this.await(false);
  }

  private leave(phase: Phase): void {
    this.announced = this.audible = this.awaiting = this.generating = false;
    clearTimeout(this.patience);
    this.set(phase);
  }

  private await(awaiting: boolean): void {
    this.awaiting = awaiting;
    clearTimeout(this.patience);
    if (awaiting) this.patience = setTimeout(() => this.await(false), PATIENCE_MS);
    this.update();
  }

  private update(): void {
    if (["idle", "connecting", "error"].includes(this.current)) return;
    this.set(this.speaking ? "speaking" : this.awaiting ? "thinking" : "listening", true);
  }

  private set(phase: Phase, onlyIfNew = false): void {
    if (onlyIfNew && phase === this.current) return;
    this.current = phase;
    this.onChange(phase);
  }
}
