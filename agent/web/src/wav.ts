const HEADER_BYTES = 44;

/** Mono samples (full scale is 1) as a WAV file of 16 bits. */
export function wav(blocks: Float32Array[], rate_hz: number): Blob {
  const samples = blocks.reduce((total, block) => total + block.length, 0);
  const view = new DataView(new ArrayBuffer(HEADER_BYTES + 2 * samples));
  const text = (at: number, letters: string) =>
    [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, HEADER_BYTES - 8 + 2 * samples, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of this part
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate_hz, true);
  view.setUint32(28, 2 * rate_hz, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a sample
  view.setUint16(34, 16, true); // bits
  text(36, "data");
  view.setUint32(40, 2 * samples, true);
  let at = HEADER_BYTES;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(at, Math.max(-1, Math.min(1, sample)) * 0x7fff, true);
      at += 2;
    }
  }
  return new Blob([view.buffer], { type: "audio/wav" });
}
