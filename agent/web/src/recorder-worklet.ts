// Runs on the browser's audio thread: hands out what the microphone hears, as it is.
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

/** A message each 40 ms or so is enough for a meter. */
const BLOCK_SAMPLES = 2048;

class RecorderTap extends AudioWorkletProcessor {
  private block = new Float32Array(BLOCK_SAMPLES);
  private filled = 0;

  process(inputs: Float32Array[][]): boolean {
    for (const sample of inputs[0]?.[0] ?? []) {
      this.block[this.filled++] = sample;
      if (this.filled < BLOCK_SAMPLES) continue;
      this.port.postMessage(this.block, [this.block.buffer]);
      this.block = new Float32Array(BLOCK_SAMPLES);
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("recorder", RecorderTap);

export {};
