import {
  type Examined,
  type Finding,
  type RecordingLimits,
  type Said,
  checkWords,
  examine,
  forget,
} from "./api";
import { make } from "./dom";
import { inWords } from "./words";

/** Typing pauses that long before the words are compared with what was heard. */
const TYPED_MS = 700;

/** So that each field has an id of its own. */
let made = 0;

export interface RecordingListener {
  removed(recording: Recording): void;
  /** Another state: being listened to, done, other words. */
  changed(): void;
}

/** One recording of the voice: it can be played, is listened to, and its words can be mended. */
export class Recording {
  readonly element = make("li", "recording");
  private readonly playing = new Audio();
  private readonly verdict = make("p", "verdict");
  private readonly findings = make("ul", "findings");
  private readonly words = make("div", "words");
  private readonly text = document.createElement("textarea");
  private readonly doubt = make("p", "problem");
  private readonly problem = make("p", "problem");
  private readonly insist = document.createElement("input");
  private readonly insisting = make("label", "insist");
  private examined: Examined | null = null;
  private listening = true;
  private typed: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly file: Blob,
    private readonly name: string,
    private readonly limits: RecordingLimits,
    private readonly listener: RecordingListener,
  ) {
    this.playing.src = URL.createObjectURL(file);
    this.verdict.setAttribute("role", "status");
    this.doubt.setAttribute("role", "status");
    this.problem.setAttribute("role", "alert");
    this.element.dataset["testid"] = "recording";
    this.layOut();
    this.show("waiting", "Waiting\u2026");
  }

  get token(): string | undefined {
    return this.examined?.recording;
  }

  get said(): Said {
    return { recording: this.token ?? "", text: this.text.value.trim(), sure: this.insist.checked };
  }

  /** Why no persona can be made of it yet, if so. */
  get flaw(): string | null {
    if (this.listening) return "Please wait until it has been listened to.";
    if (!this.usable) return "It cannot be used. Remove it, and record or upload another one.";
    if (!this.said.text) return "Write down what is said in it.";
    if (!this.insisting.hidden && !this.insist.checked) {
      return "Correct the words, or tick that they are what is said.";
    }
    return null;
  }

  /** Sends it to be listened to; `first` is the voice that it has to be of. */
  async examine(first: string | undefined): Promise<void> {
    this.show("listening", "Listening: sound, speech, voice, words\u2026");
    try {
      if (this.file.size > this.limits.max_bytes) throw new Error("too large");
      this.examined = await examine(this.file, first);
      this.judge(this.examined);
    } catch (error) {
      const tooLarge = this.file.size > this.limits.max_bytes;
      this.show("refused", tooLarge ? this.tooLarge() : inWords(error).text);
    }
    this.listening = false;
    this.element.setAttribute("aria-busy", "false");
    this.listener.changed();
  }

  /** Says at the recording what is wrong with it, and goes there. */
  complain(sentence: string): void {
    this.problem.textContent = sentence;
    this.problem.scrollIntoView({ block: "center" });
    if (this.usable) this.text.focus({ preventScroll: true });
  }

  /** Lets the sound go, here and on the server. */
  drop(): void {
    clearTimeout(this.typed);
    this.playing.pause();
    URL.revokeObjectURL(this.playing.src);
    if (this.token) void forget(this.token).catch(() => undefined);
    this.element.remove();
  }

  private get usable(): boolean {
    const { examined } = this;
    return examined !== null && examined.usable && examined.same_voice?.grade !== "refused";
  }

  private tooLarge(): string {
    const megabytes = (this.file.size / 1e6).toFixed(0);
    return (
      `The file has ${megabytes} MB; a reference lasts ${this.limits.longest_s} s at most, ` +
      "best 10 to 20 s. Cut out the best part."
    );
  }

  private judge(examined: Examined): void {
    const found = [...examined.findings, ...(examined.same_voice ? [examined.same_voice] : [])];
    const bad = found.filter(({ grade }) => grade !== "good");
    const good = found.filter(({ grade }) => grade === "good");
    const length = `${examined.duration_s.toFixed(1)} s`;
    if (!this.usable) this.show("refused", "It cannot be used:");
    else if (bad.length) this.show("warning", `${length} that can be used. Bear in mind:`);
    else this.show("good", `${length}, good to use.`);
    this.findings.replaceChildren(...bad.map(finding));
    if (this.usable) {
      this.text.value = examined.transcript;
      this.words.hidden = false;
      this.fit();
    }
    if (good.length) this.problem.before(checked(good, examined.steps));
  }

  private show(grade: Finding["grade"] | "listening" | "waiting", sentence: string): void {
    this.element.dataset["grade"] = grade;
    this.element.setAttribute("aria-busy", String(this.listening));
    this.verdict.textContent = sentence;
  }

  private layOut(): void {
    const head = make("div", "head");
    const play = button("play", `Play ${this.name}`, "Play");
    play.addEventListener("click", () => {
      if (this.playing.paused) void this.playing.play().catch(() => undefined);
      else this.playing.pause();
    });
    for (const name of ["play", "pause", "ended"]) {
      this.playing.addEventListener(name, () => {
        play.dataset["playing"] = String(!this.playing.paused);
        play.setAttribute("aria-label", `${this.playing.paused ? "Play" : "Pause"} ${this.name}`);
      });
    }
    const remove = button("remove", `Remove ${this.name}`, "Remove");
    remove.addEventListener("click", () => this.listener.removed(this));
    const about = make("div", "about");
    about.append(make("span", "name", this.name), this.verdict);
    head.append(play, about, remove);

    const label = make("label", "", "What is said in it, word for word");
    this.text.id = `words-${++made}`;
    label.setAttribute("for", this.text.id);
    this.text.maxLength = 1000;
    this.text.rows = 2;
    this.text.spellcheck = true;
    this.text.dataset["testid"] = "words";
    this.text.addEventListener("input", () => this.onTyped());
    this.doubt.id = `${this.text.id}-doubt`;
    this.text.setAttribute("aria-describedby", this.doubt.id);
    this.insist.type = "checkbox";
    this.insist.addEventListener("change", () => this.changed());
    this.insisting.append(this.insist, "That is what is said all the same.");
    this.insisting.hidden = true;
    this.words.hidden = true;
    this.words.append(label, this.text, this.doubt, this.insisting);
    this.element.append(head, make("div", "progress"), this.findings, this.words, this.problem);
  }

  private onTyped(): void {
    clearTimeout(this.typed);
    this.fit();
    this.changed();
    this.typed = setTimeout(() => void this.compare(), TYPED_MS);
  }

  private async compare(): Promise<void> {
    const { token, said } = this;
    if (!token || !said.text) return this.judgeWords({ grade: "good", sentence: "" });
    try {
      const found = await checkWords(token, said.text);
      if (said.text === this.said.text) this.judgeWords(found);
    } catch (error) {
      this.judgeWords({ grade: "refused", sentence: inWords(error).text });
    }
  }

  private judgeWords({ grade, sentence }: Finding): void {
    this.words.dataset["grade"] = this.doubt.dataset["grade"] = grade;
    this.doubt.textContent = sentence;
    this.insisting.hidden = grade !== "refused";
    this.text.setAttribute("aria-invalid", String(grade === "refused"));
  }

  private changed(): void {
    this.problem.textContent = "";
    this.listener.changed();
  }

  /** The field is as high as its words. */
  private fit(): void {
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight + 2}px`;
  }
}

function button(kind: string, label: string, title: string): HTMLButtonElement {
  const element = document.createElement("button");
  element.type = "button";
  element.className = kind;
  element.title = title;
  element.setAttribute("aria-label", label);
  return element;
}

function finding({ grade, sentence }: Finding): HTMLElement {
  const item = make("li", "", sentence);
  item.dataset["grade"] = grade;
  return item;
}

function checked(good: Finding[], steps: string[]): HTMLElement {
  const details = make("details", "checked");
  const list = make("ul");
  const done = steps.join("; ");
  list.append(...good.map(finding));
  details.append(make("summary", "", "What was checked, and done to it"), list);
  if (done) details.append(make("p", "", `${done[0]?.toUpperCase()}${done.slice(1)}.`));
  return details;
}
