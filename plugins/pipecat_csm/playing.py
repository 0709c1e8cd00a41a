"""Speech into a file and out of a loudspeaker, while it is made."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipecat_csm.errors import AudioError
from pipecat_csm.segment import Segment
from pipecat_csm.watermark import apply, check_installed
from pipecat_csm.wav import WavWriter

if TYPE_CHECKING:
    from pipecat_csm.generator import Generator

Sink = Callable[[NDArray[np.float32]], None]


def generate_streaming_audio(
    generator: "Generator",
    text: str,
    speaker: int,
    context: Sequence[Segment] = (),
    output_file: str | Path | None = None,
    max_audio_length_ms: float = 90_000,
    temperature: float | None = None,
    topk: int | None = None,
    play_audio: bool = False,
    *,
    references: Sequence[Segment] = (),
    seed: int | None = None,
    watermark: bool = False,
) -> NDArray[np.float32]:
    """Speaks a text, and writes or plays it as it comes to exist.

    Args:
        generator: From `load_csm_1b`.
        text: What to say.
        speaker: Who says it.
        context: What was said before.
        output_file: A WAV file, or None.
        max_audio_length_ms: The speech is cut off there.
        temperature: 0 is greedy; by default the checkpoint's.
        topk: How many codes each is drawn from; by default the checkpoint's.
        play_audio: Through the machine's loudspeaker; needs the package sounddevice.
        references: Recordings of the voices, which never leave; see `Generator.generate`.
        seed: The same gives the same again.
        watermark: Mark the file, which is then written at the end; see `watermark`.

    Returns:
        All of it, unmarked: float32 [samples] at 24 kHz.

    Raises:
        CSMError: The text or the context cannot be used, or nothing can be written or played.
    """
    pieces: list[NDArray[np.float32]] = []
    with sinks(generator.sample_rate, output_file, play=play_audio, mark=watermark) as into:
        stream = generator.generate_stream(
            text,
            speaker,
            context,
            max_audio_length_ms,
            temperature,
            topk,
            references=references,
            seed=seed,
        )
        for chunk in stream:
            pieces.append(chunk.numpy())
            for sink in into:
                sink(pieces[-1])
    return np.concatenate([np.zeros(0, np.float32), *pieces])


@contextlib.contextmanager
def sinks(
    sample_rate_hz: int, output_file: str | Path | None, *, play: bool, mark: bool = False
) -> Iterator[list[Sink]]:
    """Where speech goes: into a file, out of a loudspeaker, both or neither.

    What can be known to fail is found here, so open them before a model is loaded.

    Args:
        sample_rate_hz: Of the speech.
        output_file: A WAV file, "-" for the standard output, or None.
        play: Through the loudspeaker, which plays what it gets and makes the caller wait.
        mark: Watermark the file, which is written only at the end then, whatever ends it.

    Raises:
        AudioError: The file cannot be written, or there is no way to play.
        WatermarkError: The package for it is not there.
    """
    with contextlib.ExitStack() as stack:
        into: list[Sink] = []
        if play:
            into.append(stack.enter_context(_loudspeaker(sample_rate_hz)))
        if output_file is not None:
            write = stack.enter_context(WavWriter(output_file, sample_rate_hz)).write
            if mark:
                write = stack.enter_context(_marked(write, sample_rate_hz))
            into.append(write)
        yield into


@contextlib.contextmanager
def _marked(write: Sink, sample_rate_hz: int) -> Iterator[Sink]:
    check_installed()
    pieces = [np.zeros(0, np.float32)]
    try:
        yield pieces.append
    finally:
        write(apply(np.concatenate(pieces), sample_rate_hz))


@contextlib.contextmanager
def _loudspeaker(sample_rate_hz: int) -> Iterator[Sink]:
    try:
        import sounddevice  # pyright: ignore[reportMissingImports] - optional
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
        raise AudioError(
            f"Playing needs the package sounddevice and PortAudio ({error}): pip install "
            "sounddevice, or write a file instead."
        ) from None
    try:
        device = sounddevice.OutputStream(samplerate=sample_rate_hz, channels=1, dtype="float32")

        def play(audio: NDArray[np.float32]) -> None:
            if device.stopped:  # started late, for a model may have to be loaded first
                device.start()
            device.write(np.ascontiguousarray(audio[:, None]))

        with contextlib.closing(device):
            yield play
            if not device.stopped:
                device.stop()  # plays to the end
    except sounddevice.PortAudioError as error:
        raise AudioError(
            f"There is no loudspeaker that can be used ({error}); write a file instead."
        ) from None
