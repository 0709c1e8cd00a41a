"""What both analyzers share: the rates and frame lengths that the WebRTC VAD takes."""

from abc import abstractmethod

from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams

RATES_HZ = (8000, 16000, 32000, 48000)
FRAMES_MS = (10, 20, 30)
MODES = (0, 1, 2, 3)


def check_rate(sample_rate: int) -> int:
    """Return the rate if the WebRTC VAD takes it, else raise ValueError."""
    return _one_of("sample rate", sample_rate, RATES_HZ, " Hz")


def check_mode(mode: int) -> int:
    """Return the aggressiveness mode if the WebRTC VAD takes it, else raise ValueError."""
    return _one_of("mode", mode, MODES, "")


class FrameVADAnalyzer(VADAnalyzer):
    """A VAD analyzer that decides once per frame of 10, 20 or 30 ms.

    Subclasses implement `frame_confidence`.
    """

    def __init__(self, *, sample_rate: int | None, params: VADParams | None, frame_ms: int):
        """Check the frame length, and the rate where it is known already.

        Args:
            sample_rate: 8000, 16000, 32000 or 48000 Hz; None takes the pipeline's input rate.
            params: When speech starts and stops; None takes `default_params()`.
            frame_ms: 10, 20 or 30.

        Raises:
            ValueError: A rate or frame length that the WebRTC VAD does not take.
        """
        self._frame_ms = _one_of("frame length", frame_ms, FRAMES_MS, " ms")
        if sample_rate is not None:
            check_rate(sample_rate)
        super().__init__(sample_rate=sample_rate, params=params or self.default_params())
        self._voiced = False

    @staticmethod
    def default_params() -> VADParams:
        """Pipecat's confidence and timing, without its loudness gate.

        Pipecat's `min_volume` of 0.6 drops whatever is below -50 LUFS, quiet callers included, and
        any value above 0 makes a stream's first 0.4 s deaf, which the first measurement needs.
        """
        return VADParams(min_volume=0.0)

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the rate in Hz, unless the constructor was given one.

        Raises:
            ValueError: A rate that the WebRTC VAD does not take.
        """
        check_rate(self._init_sample_rate or sample_rate)
        super().set_sample_rate(sample_rate)

    def num_frames_required(self) -> int:
        """Samples in one frame at the current rate."""
        return self.sample_rate * self._frame_ms // 1000

    def voice_confidence(self, buffer: bytes) -> float:
        """Confidence from 0 to 1 that somebody speaks, after this frame.

        Args:
            buffer: One frame, `num_frames_required()` samples of 16-bit mono PCM.

        Raises:
            ValueError: The buffer is not one frame long.
        """
        if len(buffer) != 2 * self.num_frames_required():
            raise ValueError(
                f"The buffer holds {len(buffer)} bytes; give one frame of {self._frame_ms} ms, "
                f"which is {2 * self.num_frames_required()} bytes at {self.sample_rate} Hz."
            )
        confidence = self.frame_confidence(buffer)
        self._voiced = confidence >= self.params.confidence
        return confidence

    @abstractmethod
    def frame_confidence(self, frame: bytes) -> float:
        """Score one frame of the right length; runs in the analyzer's own thread."""

    def _get_smoothed_volume(self, audio: bytes) -> float:
        # Measuring loudness costs far more than the WebRTC VAD itself, and decides nothing without
        # a gate or for a frame without voice. The tracker hears every frame all the same, so that
        # its window has no hole.
        if self._voiced and self.params.min_volume > 0:
            return super()._get_smoothed_volume(audio)
        self._volume_tracker.update(audio, self.sample_rate)
        return self._prev_volume


def _one_of(what: str, value: int, legal: tuple[int, ...], unit: str) -> int:
    if value not in legal:
        names = ", ".join(str(v) for v in legal[:-1]) + f" or {legal[-1]}"
        raise ValueError(f"The WebRTC VAD takes a {what} of {names}{unit}, not {value}{unit}.")
    return value
