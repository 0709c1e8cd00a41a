// Runs one processor of the built worklet outside a browser: commands come in as JSON lines, what
// the processor says and plays goes out as one JSON object.
import { readFileSync } from "node:fs";

const [, , file, name, rate] = process.argv;
const processors = {};
globalThis.sampleRate = Number(rate);
globalThis.AudioWorkletProcessor = class {
  port = { posted: [], postMessage: (message) => this.port.posted.push(message) };
};
globalThis.registerProcessor = (key, processor) => (processors[key] = processor);
await import(file);

const processor = new processors[name]();
const played = [];
const quantum = (samples) => {
  const output = new Float32Array(128);
  processor.process(samples ? [[Float32Array.from(samples)]] : [[]], [[output]]);
  played.push(...output);
};
for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const { hear, add, mark, cut, play } = JSON.parse(line);
  for (let at = 0; hear && at + 128 <= hear.length; at += 128) quantum(hear.slice(at, at + 128));
  if (add) processor.port.onmessage({ data: Int16Array.from(add) });
  if (mark) processor.port.onmessage({ data: { reply: mark } });
  if (cut) processor.port.onmessage({ data: "cut" });
  for (let i = 0; i < (play ?? 0); i++) quantum();
}
const posted = processor.port.posted.map((message) =>
  message instanceof ArrayBuffer ? [...new Int16Array(message)] : message,
);
console.log(JSON.stringify({ posted, played }));
