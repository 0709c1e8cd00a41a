import type { NewPersona, Persona } from "./api";

const find = <T extends HTMLElement>(selector: string) => document.querySelector(selector) as T;

/** What the new persona is like: like one that is there, or as a person describes it. */
export class Manner {
  private readonly like = find<HTMLSelectElement>("#like");
  private readonly described = find(".described");
  private readonly prompt = find<HTMLTextAreaElement>("#prompt");
  private readonly greeting = find<HTMLInputElement>("#greeting");

  constructor() {
    this.like.addEventListener("change", () => this.show());
  }

  /** Offers every persona's manner, and one's own words. */
  offer(personas: Persona[]): void {
    const chosen = this.like.value;
    const options = personas.map(({ name, display_name, description }) => {
      const about = description ? `: ${description.split(". ")[0]?.replace(/\.$/, "")}` : "";
      return new Option(`Like ${display_name}${about}`, name);
    });
    this.like.replaceChildren(...options, new Option("As I describe it", ""));
    if (chosen && personas.some(({ name }) => name === chosen)) this.like.value = chosen;
    this.show();
  }

  get chosen(): Pick<NewPersona, "like" | "prompt" | "greeting"> {
    if (this.like.value) return { like: this.like.value };
    return { prompt: this.prompt.value.trim(), greeting: this.greeting.value.trim() };
  }

  /** It is to be described, and is not. */
  get missing(): boolean {
    return !this.like.value && !this.prompt.value.trim();
  }

  show(): void {
    this.described.hidden = this.like.value !== "";
  }
}
