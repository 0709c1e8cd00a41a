/** Kernel half-width in zero crossings: enough for speech with aliases below -70 dB. */
const ZERO_CROSSINGS = 16;
/** Table entries per sample of kernel; values in between are interpolated. */
const TABLE_STEPS = 128;
/** Passband as a share of the lower Nyquist frequency, leaving room for the filter's slope. */
const PASSBAND = 0.92;

/**
 * Streaming sample-rate converter (windowed sinc), for mono float samples.
 *
 * The page does this itself so that one AudioContext at the device's own rate serves both the
 * microphone and the voice: not every browser lets a context of another rate read a microphone.
 */
export class Resampler {
  private readonly step: number;
  private readonly half: number;
  private readonly kernel: Float32Array;
  private buffer: Float32Array;
  private position: number;

  constructor(fromHz: number, toHz: number) {
    this.step = fromHz / toHz;
    const cutoff = Math.min(1, toHz / fromHz) * PASSBAND;
    this.half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.kernel = sincTable(this.half, cutoff);
    this.buffer = new Float32Array(this.half);
    this.position = this.half;
  }

  /** Feeds samples in; returns those that can be computed so far. */
  process(input: Float32Array): Float32Array {
    if (this.step === 1) return input;
    const buffer = new Float32Array(this.buffer.length + input.length);
    buffer.set(this.buffer);
    buffer.set(input, this.buffer.length);

    const last = buffer.length - this.half - 1;
    const count = Math.max(0, Math.floor((last - this.position) / this.step) + 1);
    const output = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      output[i] = this.at(buffer, this.position);
      this.position += this.step;
    }
    const drop = Math.max(0, Math.floor(this.position) - this.half);
    this.buffer = buffer.slice(drop);
    this.position -= drop;
    return output;
  }

  /** Forgets what it heard, so that nothing old leaks into what comes next. */
  reset(): void {
    this.buffer = new Float32Array(this.half);
    this.position = this.half;
  }

  private at(buffer: Float32Array, position: number): number {
    const centre = Math.floor(position);
    const fraction = position - centre;
    let sum = 0;
    for (let k = 1 - this.half; k <= this.half; k++) {
      const x = Math.abs(k - fraction) * TABLE_STEPS;
      const index = Math.floor(x);
      const low = this.kernel[index] ?? 0;
      const high = this.kernel[index + 1] ?? 0;
      sum += (buffer[centre + k] ?? 0) * (low + (high - low) * (x - index));
    }
    return sum;
  }
}

function sincTable(half: number, cutoff: number): Float32Array {
  const table = new Float32Array(half * TABLE_STEPS + 1);
  for (let i = 0; i < table.length; i++) {
    const x = i / TABLE_STEPS;
    const phase = Math.PI * cutoff * x;
    const sinc = phase === 0 ? 1 : Math.sin(phase) / phase;
    const turn = (Math.PI * x) / half;
    const window = 0.42 + 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn);
    table[i] = cutoff * sinc * window;
  }
  return table;
}
