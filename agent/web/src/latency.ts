import { make } from "./dom";

/** What the server measured for one answered turn, from the end of speech to the first audio. */
export interface Latency {
  type: "latency";
  turn: number;
  total_ms: number;
  stages: { key: string; ms: number }[];
}

const LABELS: Record<string, string> = {
  endpointing: "Noticing that you finished",
  transcript: "Transcript",
  first_token: "First token",
  first_audio: "First audio",
};

/** A small stacked bar, as wide per stage as it took; opened, it says the same in words. */
export function latencyBar({ total_ms, stages }: Latency): HTMLElement {
  const bar = document.createElement("details");
  bar.className = "latency";
  bar.dataset["totalMs"] = String(Math.round(total_ms));

  const track = make("span", "track");
  track.append(
    ...stages.map(({ key, ms }) => {
      const stage = swatch(key);
      stage.dataset["ms"] = String(Math.round(ms));
      stage.style.flexGrow = String(Math.max(ms, 0));
      return stage;
    }),
  );
  const summary = make("summary");
  summary.title = "From the end of your speech to the first sound of the answer";
  summary.append(track, make("span", "total", duration(total_ms)));

  const list = make("ul");
  list.append(
    ...stages.map(({ key, ms }) => {
      const item = make("li");
      const label = make("span", "", LABELS[key] ?? key);
      item.append(swatch(key), label, make("span", "ms", duration(ms)));
      return item;
    }),
  );
  bar.append(summary, list);
  return bar;
}

function swatch(key: string): HTMLElement {
  const stage = make("span", "stage");
  stage.dataset["stage"] = key;
  return stage;
}

function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
