"""The microphone's sound, whatever its shape, as the pipeline wants it: mono, at one rate.

Pipecat's transports pass on the rate and channels that a client claims, and the analyzers behind
them (VAD, smart-turn) take only one, so this stands right behind the transport's input.
"""

import numpy as np
from loguru import logger
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

_LEGAL_RATES_HZ = range(8_000, 192_001)
_LONGEST_FRAME_S = 2.0


class InputAudioNormalizer(FrameProcessor):
    """Turns 16-bit audio frames of any rate and channel count into mono at the pipeline's rate.

    A frame that cannot be sound (odd bytes, an absurd rate, seconds long) is dropped; the first
    one of a session is said in the log.
    """

    def __init__(self) -> None:
        """Learns the pipeline's rate in `setup`."""
        super().__init__()
        self._sample_rate = 0
        self._resampler = create_stream_resampler()
        self._resampled_hz = 0
        self._complained = False

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Learns the rate that the pipeline runs at."""
        await super().setup(setup)
        self._sample_rate = setup.audio_in_sample_rate

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Passes every frame on, audio frames in their new shape."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            if not is_sound(frame):
                self._complain(frame)
                return
            frame = await self._normalized(frame)
            if not frame.audio:
                return  # the resampler is still filling its first window
        await self.push_frame(frame, direction)

    async def _normalized(self, frame: InputAudioRawFrame) -> InputAudioRawFrame:
        if frame.num_channels == 1 and frame.sample_rate == self._sample_rate:
            return frame
        audio = frame.audio
        if frame.num_channels > 1:
            samples = np.frombuffer(audio, np.int16).reshape(-1, frame.num_channels)
            audio = samples.mean(axis=1).astype(np.int16).tobytes()
        if frame.sample_rate != self._resampled_hz:
            # A stream resampler knows one rate; a headset that is plugged in brings another.
            self._resampler = create_stream_resampler()
            self._resampled_hz = frame.sample_rate
        audio = await self._resampler.resample(audio, frame.sample_rate, self._sample_rate)
        return InputAudioRawFrame(audio=audio, sample_rate=self._sample_rate, num_channels=1)

    def _complain(self, frame: InputAudioRawFrame) -> None:
        if not self._complained:
            self._complained = True
            logger.warning(
                f"Dropped microphone audio that is not 16-bit sound: {len(frame.audio)} bytes at "
                f"{frame.sample_rate} Hz in {frame.num_channels} channels."
            )


def is_sound(frame: InputAudioRawFrame) -> bool:
    """Whether a frame can be 16-bit sound from a microphone."""
    channels, rate = frame.num_channels, frame.sample_rate
    return (
        1 <= channels <= 8
        and rate in _LEGAL_RATES_HZ
        and len(frame.audio) > 0
        and len(frame.audio) % (2 * channels) == 0
        and len(frame.audio) <= 2 * channels * rate * _LONGEST_FRAME_S
    )
