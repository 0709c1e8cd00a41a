import type { Persona, Personas } from "./api";
import { make } from "./dom";

/** One accent hue (OKLCH degrees) per persona, in the order in which the server lists them. */
const HUES = [277, 168, 42, 345, 225, 105, 310, 195, 70, 20, 140, 255, 330];

/** The cards to choose a persona from: radio buttons, so that arrow keys work by themselves. */
export class PersonaPicker {
  private personas: Persona[] = [];

  constructor(
    private readonly container: HTMLElement,
    private readonly onPick: (persona: Persona) => void,
  ) {
    container.addEventListener("change", () => this.picked());
  }

  get current(): Persona | undefined {
    const name = this.container.querySelector<HTMLInputElement>("input:checked")?.value;
    return this.personas.find((persona) => persona.name === name);
  }

  /** Shows the cards, with `preferred` chosen if it is there, or else the server's default. */
  show({ personas, default: standard }: Personas, preferred: string | null): void {
    this.personas = personas;
    const names = personas.map(({ name }) => name);
    const chosen = [preferred, standard, names[0]].find((name) => name && names.includes(name));
    this.container.replaceChildren(
      ...personas.map((persona, index) => card(persona, hue(index), persona.name === chosen)),
    );
    this.container.querySelector(".card:has(:checked)")?.scrollIntoView({ block: "nearest" });
    this.picked();
  }

  private picked(): void {
    const { current } = this;
    if (!current) return;
    const index = this.personas.indexOf(current);
    document.documentElement.style.setProperty("--hue", String(hue(index)));
    this.onPick(current);
  }
}

const hue = (index: number) => HUES[index % HUES.length] as number;

function card(persona: Persona, hue: number, checked: boolean): HTMLElement {
  const label = make("label", "card");
  label.dataset["persona"] = persona.name;
  label.style.setProperty("--hue", String(hue));

  const radio = document.createElement("input");
  radio.type = "radio";
  radio.name = "persona";
  radio.value = persona.name;
  radio.checked = checked;

  const about = make("span", "about");
  about.append(
    make("strong", "name", persona.display_name),
    make("span", "description", persona.description),
  );
  label.append(radio, make("span", "pearl"), about);
  return label;
}
