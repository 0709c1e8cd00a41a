import {
  type NewPersona,
  type Persona,
  type RecordingLimits,
  Refused,
  type Made,
  makePersona,
} from "./api";
import { Manner } from "./manner";
import { Recording } from "./recording";
import { Take } from "./take";
import { NO_LATIN, inWords } from "./words";

const find = <T extends HTMLElement>(selector: string) => document.querySelector(selector) as T;

type Field = "recordings" | "consent" | "licence" | "name" | "prompt" | "studio";

export interface StudioListener {
  made(made: Made, displayName: string): void;
  closed(): void;
}

/** Where a person gives the agent a voice: recordings, consent, a name and a manner. */
export class Studio {
  private readonly room = find("[data-testid=studio]");
  private readonly form = find<HTMLFormElement>("#studio-form");
  private readonly list = find("#recordings");
  private readonly sources = find(".sources");
  private readonly upload = find<HTMLInputElement>("[data-testid=upload]");
  private readonly make = find<HTMLButtonElement>("[data-testid=make]");
  private readonly manner = new Manner();
  private readonly take: Take;
  private recordings: Recording[] = [];
  private limits: RecordingLimits | null = null;
  private takes = 0;
  private listening = Promise.resolve();
  private before = "idle";

  constructor(private readonly listener: StudioListener) {
    this.take = new Take(find("[data-testid=take]"), find("[data-testid=record]"), this.longest, {
      taken: (file) => this.add(file, `Recording ${++this.takes}`),
      trouble: (sentence) => this.complain("recordings", sentence),
      recording: (on) => {
        this.sources.hidden = on;
        if (on) this.clear("recordings");
      },
    });
    this.upload.addEventListener("change", () => this.onFiles());
    find("[data-testid=studio-back]").addEventListener("click", () => this.close());
    for (const chip of this.room.querySelectorAll<HTMLButtonElement>(".chip")) {
      chip.addEventListener("click", () => this.fill(chip));
    }
    this.form.addEventListener("input", ({ target }) => this.clear((target as Element).id as Field));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
  }

  get open(): boolean {
    return !this.room.hidden;
  }

  /** What may be brought, and after whom a new persona may take; null closes it for good. */
  offer(limits: RecordingLimits | null, personas: Persona[]): void {
    this.limits = limits;
    this.manner.offer(personas);
  }

  show(): void {
    if (!this.limits || this.open) return;
    this.before = document.body.dataset["mode"] ?? "idle";
    document.body.dataset["mode"] = "making";
    this.room.hidden = false;
    find("#studio-title").focus();
  }

  close(): void {
    if (!this.open) return;
    this.take.cancel();
    this.room.hidden = true;
    document.body.dataset["mode"] = this.before;
    this.listener.closed();
  }

  private readonly longest = () => this.limits?.longest_s ?? 0;

  private onFiles(): void {
    this.clear("recordings");
    for (const file of this.upload.files ?? []) this.add(file, file.name);
    this.upload.value = "";
  }

  private add(file: Blob, name: string): void {
    if (!this.limits) return;
    if (this.recordings.length >= this.limits.most) {
      return this.complain("recordings", `A persona has ${this.limits.most} recordings at most.`);
    }
    const recording = new Recording(file, name, this.limits, {
      removed: (gone) => this.remove(gone),
      changed: () => this.clear("recordings"),
    });
    this.recordings.push(recording);
    this.list.append(recording.element);
    recording.element.scrollIntoView({ block: "nearest" });
    // One after another: the server has few places, and each is compared with the first.
    this.listening = this.listening.then(async () => {
      if (!this.recordings.includes(recording)) return;
      await recording.examine(this.recordings.find(({ token }) => token)?.token);
    });
  }

  private remove(gone: Recording): void {
    this.recordings = this.recordings.filter((recording) => recording !== gone);
    gone.drop();
    this.clear("recordings");
    find("[data-testid=record]").focus({ preventScroll: true });
  }

  private fill(chip: HTMLButtonElement): void {
    const field = find<HTMLTextAreaElement>(`#${chip.dataset["for"]}`);
    field.value = chip.textContent ?? "";
    field.focus();
    this.clear(field.id as Field);
  }

  private async submit(): Promise<void> {
    const persona = this.collect();
    if (!persona) return;
    this.working(true);
    try {
      const made = await makePersona(persona);
      this.close();
      this.empty();
      this.listener.made(made, persona.display_name);
    } catch (error) {
      this.refused(error);
    } finally {
      this.working(false);
    }
  }

  /** What was entered; null if something is missing, which is then said where it is. */
  private collect(): NewPersona | null {
    for (const field of ["recordings", "consent", "licence", "name", "prompt", "studio"] as const) {
      this.clear(field);
    }
    const value = (id: string) => find<HTMLInputElement>(`#${id}`).value.trim();
    const name = slug(value("name"));
    // From the last to the first, so that the first one has the focus in the end.
    const missing: [Field, boolean, string][] = [
      ["prompt", this.manner.missing, "Say who it is in a sentence or two."],
      ["name", value("name") !== "" && !name, NO_LATIN],
      ["name", value("name") === "", "Give it a name."],
      ["licence", value("licence") === "", "Add under which terms the recordings may be used."],
      ["consent", value("consent") === "", "Add whose voice it is and how that person agreed."],
      ["recordings", this.recordings.length === 0, "Record the voice, or upload a recording."],
    ];
    let complete = true;
    for (const [field, wrong, sentence] of missing) {
      if (!wrong) continue;
      this.complain(field, sentence);
      complete = false;
    }
    for (const recording of [...this.recordings].reverse()) {
      if (!recording.flaw) continue;
      recording.complain(recording.flaw);
      complete = false;
    }
    if (!complete) return null;
    return {
      name,
      display_name: value("name"),
      description: "A voice of your own.",
      recordings: this.recordings.map(({ said }) => said),
      consent: value("consent"),
      licence: value("licence"),
      ...this.manner.chosen,
    };
  }

  private refused(error: unknown): void {
    const sentence = inWords(error).text;
    const about = error instanceof Refused ? error.about : {};
    const recording = this.recordings.find(({ token }) => token && token === about.recording);
    if (recording) return recording.complain(sentence);
    const known = ["recordings", "consent", "licence", "name"].includes(about.field ?? "");
    this.complain(known ? (about.field as Field) : "studio", sentence);
  }

  private complain(field: Field, sentence: string): void {
    find(`#${field}-problem`).textContent = sentence;
    const input = document.getElementById(field);
    if (input?.matches("input, textarea")) {
      input.setAttribute("aria-invalid", "true");
      input.focus();
    } else find(`#${field}-problem`).scrollIntoView({ block: "center" });
  }

  private clear(field: Field): void {
    const problem = document.getElementById(`${field}-problem`);
    if (problem) problem.textContent = "";
    document.getElementById(field)?.removeAttribute("aria-invalid");
  }

  private working(on: boolean): void {
    this.make.disabled = on;
    this.make.textContent = on ? "Making it\u2026" : "Make this voice";
  }

  private empty(): void {
    for (const recording of this.recordings) recording.drop();
    this.recordings = [];
    this.form.reset();
    this.manner.show();
  }
}

/** The folder's name for a persona's name; empty if nothing of it can be one. */
function slug(name: string): string {
  const plain = name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  return plain
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 40)
    .replace(/^-+|-+$/g, "");
}
