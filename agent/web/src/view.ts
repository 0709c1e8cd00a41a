import type { Config, Persona, TransportKind } from "./api";
import type { Phase } from "./state";

export interface Action {
  label: string;
  act(): void;
}

export interface Controls {
  start(): void;
  stop(): void;
  mute(): void;
  /** Returns whether the text was sent. */
  send(text: string): boolean;
  ownVoice(): void;
}

const find = <T extends HTMLElement>(selector: string) => document.querySelector(selector) as T;

/** The page's elements, and what changes on them. */
export class View {
  readonly captions = find("[data-testid=captions]");
  readonly cards = find("#cards");
  readonly level = find("[data-testid=level]");
  readonly orb = find(".orb");
  readonly voice = find("[data-testid=voice]");
  readonly voiceNote = find("[data-testid=voice-note]");

  private readonly title = find("#title");
  private readonly status = find("[data-testid=status]");
  private readonly picker = find<HTMLFormElement>("#pick");
  private readonly startButton = find<HTMLButtonElement>("[data-testid=start]");
  private readonly ownVoice = find<HTMLButtonElement>("#own-voice");
  private readonly stopButton = find<HTMLButtonElement>("[data-testid=stop]");
  private readonly muteButton = find<HTMLButtonElement>("[data-testid=mute]");
  private readonly typing = find<HTMLFormElement>("#typing");
  private readonly input = find<HTMLInputElement>("[data-testid=type]");
  private readonly error = find("[data-testid=error]");
  private readonly errorText = find("#error-text");
  private readonly errorAction = find<HTMLButtonElement>("#error-action");
  private readonly settings = find<HTMLDetailsElement>(".settings");
  private readonly transports = find<HTMLFieldSetElement>("#transports");
  private agent = "The agent";

  on(controls: Controls): void {
    this.picker.addEventListener("submit", (event) => {
      event.preventDefault();
      controls.start();
    });
    this.stopButton.addEventListener("click", () => controls.stop());
    this.ownVoice.addEventListener("click", () => controls.ownVoice());
    this.muteButton.addEventListener("click", () => controls.mute());
    this.typing.addEventListener("submit", (event) => {
      event.preventDefault();
      if (controls.send(this.input.value)) this.input.value = "";
    });
    this.settings.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.settings.open) return;
      event.stopPropagation();
      this.settings.open = false;
    });
    document.addEventListener("click", (event) => {
      if (!this.settings.contains(event.target as Node)) this.settings.open = false;
    });
  }

  get transport(): TransportKind {
    return find<HTMLInputElement>("[name=transport]:checked").value as TransportKind;
  }

  /** Offers what the server can do. */
  offer({ transports, version, recordings }: Config, preferred: string | null): void {
    this.ownVoice.hidden = recordings === null;
    find("#version").textContent = version;
    const chosen = transports.find((kind) => kind === preferred) ?? transports[0];
    for (const input of this.transports.querySelectorAll("input")) {
      input.disabled = !transports.some((kind) => kind === input.value);
      input.checked = input.value === chosen;
    }
  }

  meet(persona: Persona): void {
    this.agent = persona.display_name;
    this.title.textContent = `Talk to ${persona.display_name}`;
    this.startButton.disabled = false;
  }

  phase(phase: Phase): void {
    const words: Record<Phase, string> = {
      idle: "",
      connecting: "Connecting\u2026",
      listening: "Listening",
      thinking: "Thinking",
      speaking: `${this.agent} is speaking`,
      error: "",
    };
    this.status.dataset["state"] = phase;
    document.body.dataset["state"] = phase;
    this.status.textContent = words[phase];
  }

  talking(microphone: boolean): void {
    document.body.dataset["mode"] = "live";
    document.body.dataset["microphone"] = String(microphone);
    this.settings.open = false;
    this.transports.disabled = true;
    // The focused Start button is gone now; without a new place the keyboard would be lost.
    (microphone ? this.captions : this.input).focus({ preventScroll: true });
    this.captions.scrollTop = this.captions.scrollHeight;
  }

  resting(empty: boolean): void {
    document.body.dataset["mode"] = empty ? "idle" : "after";
    this.transports.disabled = false;
    this.startButton.focus({ preventScroll: true });
  }

  muted(muted: boolean): void {
    document.body.dataset["muted"] = String(muted);
    this.muteButton.setAttribute("aria-pressed", String(muted));
    this.muteButton.title = muted ? "Unmute (M)" : "Mute (M)";
  }

  /** A passing remark; it goes away when the caller speaks or types. */
  say(text: string, level: "info" | "error" = "info"): void {
    this.trouble(text);
    this.error.dataset["level"] = level;
  }

  unsay(text: string): void {
    if (this.errorText.textContent === text) this.clear();
  }

  trouble(text: string, action?: Action): void {
    this.errorText.textContent = text;
    this.error.dataset["level"] = "error";
    this.error.hidden = false;
    this.errorAction.hidden = !action;
    this.errorAction.textContent = action?.label ?? "";
    this.errorAction.onclick = () => action?.act();
  }

  clear(): void {
    this.error.hidden = true;
    this.errorText.textContent = "";
    this.errorAction.hidden = true;
  }

  focusStart(): void {
    this.startButton.focus({ preventScroll: true });
  }

  focusTyping(): void {
    if (document.body.dataset["mode"] === "live") this.input.focus();
  }
}
