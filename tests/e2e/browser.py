"""A real Chromium with a recording as its microphone, and an ear on what it plays."""

import base64
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from playwright.async_api import Page, async_playwright

# Samples that the ear takes at a time.
CHUNK = 1024

# Everything that reaches the speakers, by Web Audio or by a media element, with the time at which
# it was rendered. Silence is kept too, so that positions are times.
_EAR = """
(() => {
  // One for each way to the loudspeaker: over WebRTC the page's own player is there too, silent.
  const ears = [];
  const connect = AudioNode.prototype.connect;
  const tapped = new WeakSet();
  function tap(node) {
    if (tapped.has(node)) return;
    tapped.add(node);
    const context = node.context;
    const ear = context.createScriptProcessor(1024, 1, 1);
    const chunks = [];
    ears.push({ chunks, rate: context.sampleRate });
    ear.onaudioprocess = (event) => {
      chunks.push({ at: performance.now(), samples: event.inputBuffer.getChannelData(0).slice() });
    };
    connect.call(node, ear);
    connect.call(ear, context.destination);
  }
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target === this.context.destination) tap(this);
    return connect.call(this, target, ...rest);
  };
  const media = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
  Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
    ...media,
    set(stream) {
      media.set.call(this, stream);
      if (stream && stream.getAudioTracks().length) {
        const context = new AudioContext();
        tap(context.createMediaStreamSource(stream));
      }
    },
  });
  window.__earSince = (since) => {
    const energy = (samples) => samples.reduce((sum, sample) => sum + sample * sample, 0);
    const loudness = (chunks) => chunks.reduce((sum, { samples }) => sum + energy(samples), 0);
    let rate = 0, kept = [], loudest = -1;
    for (const ear of ears) {
      const chunks = ear.chunks.filter((chunk) => chunk.at > since);
      const loud = loudness(chunks);
      if (loud > loudest) [rate, kept, loudest] = [ear.rate, chunks, loud];
    }
    const all = new Float32Array(kept.reduce((n, chunk) => n + chunk.samples.length, 0));
    let at = 0;
    for (const { samples } of kept) { all.set(samples, at); at += samples.length; }
    let binary = '';
    const bytes = new Uint8Array(all.buffer);
    for (let i = 0; i < bytes.length; i += 32768) {
      binary += String.fromCharCode(...bytes.subarray(i, i + 32768));
    }
    return { rate, times: kept.map((c) => c.at), data: btoa(binary) };
  };
})();
"""


@dataclass(frozen=True)
class Played:
    """What the browser played."""

    audio: np.ndarray  # float32 [samples]
    rate: int
    times_ms: np.ndarray  # float64 [chunks of CHUNK samples], the page's clock

    def between(self, start_ms: float, end_ms: float) -> "Played":
        """The chunks rendered in a span of the page's clock."""
        chosen = (self.times_ms > start_ms) & (self.times_ms <= end_ms)
        chunks = self.audio.reshape(-1, CHUNK)
        return Played(chunks[chosen].ravel(), self.rate, self.times_ms[chosen])

    def last_sound_ms(self, louder_than: float = 0.01) -> float | None:
        """When the last audible chunk was rendered, on the page's clock."""
        loud = np.abs(self.audio.reshape(-1, CHUNK)).max(axis=1, initial=0) > louder_than
        return float(self.times_ms[loud][-1]) if loud.any() else None


async def played(page: Page, since_ms: float = 0) -> Played:
    """What the page played since a time of its own clock."""
    ear = await page.evaluate("(since) => window.__earSince(since)", since_ms)
    audio = np.frombuffer(base64.b64decode(ear["data"]), np.float32)
    return Played(audio, int(ear["rate"]) or 24_000, np.array(ear["times"]))


async def now_ms(page: Page) -> float:
    """The page's clock."""
    return await page.evaluate("() => performance.now()")


def microphone(path: Path, *parts: float | np.ndarray, rate: int = 48_000) -> Path:
    """Writes a recording for the fake microphone: seconds of silence, and speech at 16 kHz."""
    import soxr

    pieces = [
        np.zeros(int(part * rate), np.float32)
        if isinstance(part, int | float)
        else soxr.resample(part, 16_000, rate).astype(np.float32)
        for part in parts
    ]
    soundfile.write(path, np.concatenate(pieces), rate, subtype="PCM_16")
    return path


@asynccontextmanager
async def open_page(
    url: str,
    mic: Path | None,
    *,
    allow_microphone: bool = True,
    dark: bool = False,
    size: tuple[int, int] = (1280, 800),
) -> AsyncIterator[Page]:
    """Opens the page in a fresh Chromium; the recording plays once, from `getUserMedia` on."""
    args = [
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        "--no-first-run",
        "--no-sandbox",
    ]
    if allow_microphone:
        args.append("--use-fake-ui-for-media-stream")
    if mic is not None:
        args.append(f"--use-file-for-fake-audio-capture={mic}%noloop")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium") or None,
            args=args,
            ignore_default_args=["--mute-audio"],
        )
        context = await browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            permissions=["microphone"] if allow_microphone else [],
        )
        await context.add_init_script(_EAR)
        page = await context.new_page()
        page.set_default_timeout(60_000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        try:
            await page.goto(url)
            yield page
            assert not problems, f"the page's script failed: {problems}"
        finally:
            await browser.close()
