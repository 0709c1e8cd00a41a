import type { BotOutputData } from "@pipecat-ai/client-js";

import { make } from "./dom";
import { upTo } from "./heard";
import { type Latency, latencyBar } from "./latency";

/** Distance from the end, in pixels, at which the captions still follow what is said. */
const FOLLOW_PX = 80;

interface Segment {
  said: string;
  rest: string;
}

/**
 * Both sides of the conversation as it is spoken.
 *
 * The caller's words are replaced as recognition improves on them. The agent's appear when they
 * are spoken, what is still to come of the sentence stands there faintly, and is taken away again,
 * with a visible cut, where the agent is interrupted.
 */
export class Captions {
  private userLine: UserLine | null = null;
  private agentLine: AgentLine | null = null;
  private readonly cutSegments = new Set<number>();
  /** The line that was cut off last, until it is known what was heard of it. */
  private cutLine: AgentLine | null = null;
  private waitingLatency: Latency | null = null;

  constructor(private readonly log: HTMLElement) {}

  /** Shows `name` beside what the agent says from here on. */
  agentName = "Agent";

  get empty(): boolean {
    return this.log.childElementCount === 0;
  }

  clear(): void {
    this.close();
    this.log.replaceChildren();
  }

  /** Words of the caller: interim ones take the place of the interim ones before them. */
  userSaid(text: string, final: boolean): void {
    if (!text.trim()) return;
    this.userLine ??= this.add(new UserLine());
    this.follow(() => this.userLine?.show(text.trim(), final));
  }

  /** A new answer: what was said before is finished. */
  answerStarted(): void {
    this.closeAgent();
    this.userLine = null;
    this.forgetCut();
    this.waitingLatency = null;
  }

  /** A sentence announced, or the progress of one being spoken. */
  agentSaid(output: BotOutputData): void {
    const id = output.segment_id ?? -1;
    if (output.will_be_spoken === false || this.cutSegments.has(id)) return;
    // A sentence goes on where it began, even past an "uh-huh"; the next one stands below it.
    if (this.userLine && !this.agentLine?.has(id)) {
      this.closeAgent();
      this.userLine = null;
    }
    this.agentLine ??= this.add(new AgentLine(this.agentName));
    const said = output.spoken_progress?.accumulated_text ?? output.text;
    const rest = output.spoken_progress?.remaining_text ?? "";
    this.follow(() => this.agentLine?.show(id, { said, rest }));
    if (this.waitingLatency) this.latency(this.waitingLatency);
  }

  /**
   * The agent was interrupted; `audible` says whether it was still in the middle of something
   * apart from what its line shows.
   */
  interrupted(audible: boolean): void {
    const line = this.agentLine;
    this.agentLine = null;
    if (!line) return;
    for (const id of line.segmentIds) this.cutSegments.add(id);
    this.cutLine ??= line;
    this.follow(() => line.end(audible));
    if (line !== this.cutLine) line.removeIfEmpty();
  }

  /** What the conversation keeps of the answer that was cut off: the caption ends there too. */
  heard(text: string): void {
    this.follow(() => this.cutLine?.keep(text));
  }

  latency(latency: Latency): void {
    // The measurement may overtake the first words of the answer it belongs to.
    this.waitingLatency = this.agentLine ? null : latency;
    this.follow(() => this.agentLine?.measure(latency));
  }

  /** The connection is over; the next one counts its sentences anew. */
  close(): void {
    this.answerStarted();
    this.cutSegments.clear();
  }

  private forgetCut(): void {
    this.cutLine?.removeIfEmpty();
    this.cutLine = null;
  }

  private closeAgent(): void {
    this.agentLine?.end(false);
    this.agentLine = null;
  }

  private add<T extends { element: HTMLElement }>(line: T): T {
    this.follow(() => this.log.append(line.element));
    return line;
  }

  private follow(change: () => void): void {
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    change();
    if (scrollHeight - scrollTop - clientHeight < FOLLOW_PX) this.log.scrollTop = this.log.scrollHeight;
  }
}

class UserLine {
  readonly element: HTMLElement;
  private readonly said = make("span", "said");
  private readonly interim = make("span", "interim");
  private settled = "";

  constructor() {
    const { line, text } = makeLine("user", "You");
    this.element = line;
    text.append(this.said, this.interim);
  }

  show(text: string, final: boolean): void {
    const next = this.settled ? ` ${text}` : text;
    if (final) this.settled += next;
    this.said.textContent = this.settled;
    this.interim.textContent = final ? "" : next;
    this.element.dataset["final"] = String(final);
    this.element.setAttribute("aria-busy", String(!final));
  }
}

class AgentLine {
  readonly element: HTMLElement;
  private readonly segments = new Map<number, Segment>();
  private readonly said = make("span", "said");
  private readonly rest = make("span", "rest");

  constructor(name: string) {
    const { line, text } = makeLine("agent", name);
    this.element = line;
    this.rest.setAttribute("aria-hidden", "true");
    text.append(this.said, this.rest);
  }

  has(id: number): boolean {
    return this.segments.has(id);
  }

  get segmentIds(): Iterable<number> {
    return this.segments.keys();
  }

  show(id: number, segment: Segment): void {
    this.segments.set(id, segment);
    const all = [...this.segments.values()];
    const said = all.map((each) => each.said.trim()).filter(Boolean);
    this.said.textContent = said.join(" ");
    // Only the sentence being spoken is previewed; the later ones wait for their turn.
    const current = all.find(({ rest }) => rest.trim());
    const glue = current && !current.said.trim() && said.length > 0 ? " " : "";
    this.rest.textContent = current ? glue + current.rest : "";
  }

  end(audible: boolean): void {
    const cut = audible || this.rest.textContent !== "";
    this.element.setAttribute("aria-busy", "false");
    this.rest.remove();
    if (cut) this.cut();
  }

  keep(heard: string): void {
    const said = [...this.segments.values()].map((each) => each.said.trim());
    const kept = upTo(said, heard);
    if (kept === null || kept === this.said.textContent) return;
    this.said.textContent = kept;
    this.cut();
  }

  removeIfEmpty(): void {
    if (!this.said.textContent) this.element.remove();
  }

  private cut(): void {
    // Words of it may be known later.
    this.element.hidden = !this.said.textContent;
    if (this.element.dataset["cut"] === "true") return;
    this.element.dataset["cut"] = "true";
    const mark = make("span", "cut", "\u2014");
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", "interrupted");
    mark.title = "Interrupted here";
    this.said.after(mark);
  }

  measure(latency: Latency): void {
    this.element.querySelector(".latency")?.remove();
    this.element.append(latencyBar(latency));
  }
}

function makeLine(speaker: "user" | "agent", name: string) {
  const line = make("div", "line");
  line.dataset["speaker"] = speaker;
  line.dataset["cut"] = "false";
  // A screen reader waits with a line until it stands, rather than reading it at every word.
  line.setAttribute("aria-busy", "true");
  const text = make("p", "text");
  line.append(make("span", "who", name), text);
  return { line, text };
}
