/** Which engine speaks from now on, as the server tells it when a call begins and on changes. */
export interface Voice {
  type: "voice";
  engine: string;
  /** Whose voice it is. */
  name: string;
  /** A sentence that says why this engine speaks; empty where that needs no reason. */
  why: string;
}

/** How long a change is spoken of. */
const SAID_MS = 10_000;
const ENGINES: Record<string, string> = { csm: "CSM", kokoro: "Kokoro" };

/** Shows quietly whose voice it is and what makes it; when that changes, one sentence says so. */
export class VoiceSign {
  private engine: string | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly label: HTMLElement,
    private readonly note: HTMLElement,
  ) {}

  show({ engine, name, why }: Voice): void {
    const before = this.engine;
    this.engine = engine;
    const changed = before !== null && before !== engine;
    const isSpare = engine !== "csm" && (why !== "" || changed);
    this.label.textContent =
      `${name} \u00b7 ${ENGINES[engine] ?? engine}` + (isSpare ? ", in place of CSM" : "");
    this.label.title = why;
    if (changed) this.say(why || news(engine, name));
  }

  /** Another call begins. */
  clear(): void {
    this.engine = null;
    this.label.textContent = this.label.title = "";
    this.unsay();
  }

  private say(text: string): void {
    this.unsay();
    this.note.textContent = text;
    this.timer = setTimeout(() => this.unsay(), SAID_MS);
  }

  private unsay(): void {
    clearTimeout(this.timer);
    this.note.textContent = "";
  }
}

function news(engine: string, name: string): string {
  if (engine === "csm") return "CSM is back.";
  return `CSM has failed; ${name} speaks with a spare voice until it is back.`;
}
