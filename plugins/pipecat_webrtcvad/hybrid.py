"""Two detectors in a row: the WebRTC VAD gates, Silero confirms."""

from collections import deque

from pipecat.audio.vad.vad_analyzer import VADParams

from pipecat_webrtcvad.analyzer import WebRTCVADAnalyzer
from pipecat_webrtcvad.confirmer import SileroConfirmer
from pipecat_webrtcvad.frames import FrameVADAnalyzer


class HybridVADAnalyzer(FrameVADAnalyzer):
    """Silero's judgement at the WebRTC VAD's price while nobody speaks.

    The WebRTC VAD hears every frame. Only while it says speech, and for a short hang-over after,
    is Silero asked, and its score is the confidence; otherwise the confidence is 0. So noise that
    fools the WebRTC VAD is still refused, and silence costs next to nothing.
    """

    def __init__(
        self,
        *,
        sample_rate: int | None = None,
        params: VADParams | None = None,
        mode: int = 2,
        frame_ms: int = 20,
        hangover_ms: int = 300,
        preroll_ms: int = 200,
    ):
        """Make both detectors; no other analyzer shares them.

        Args:
            sample_rate: 8000, 16000, 32000 or 48000 Hz; None takes the pipeline's input rate.
            params: When speech starts and stops; None takes `default_params()`.
            mode: Of the WebRTC VAD, 0 (opens most, so Silero works most) to 3 (may miss soft
                speech, which Silero then never hears).
            frame_ms: Length of a frame: 10, 20 or 30.
            hangover_ms: How long Silero is asked on after the last frame that the gate passed, so
                that soft sounds and the short stops inside words are not cut.
            preroll_ms: How much audio before the gate opened Silero hears first.

        Raises:
            ValueError: A value outside those named.
        """
        super().__init__(sample_rate=sample_rate, params=params, frame_ms=frame_ms)
        if hangover_ms < 0 or preroll_ms < 0:
            raise ValueError("The hang-over and the pre-roll take 0 ms or more.")
        self._gate = WebRTCVADAnalyzer(mode=mode, frame_ms=frame_ms, window=1)
        self._confirmer = SileroConfirmer()
        self._hangover_frames = hangover_ms // frame_ms
        self._open_frames = 0
        # The latest frames that Silero has not heard: the pre-roll, and the frame at hand.
        self._unheard: deque[bytes] = deque(maxlen=preroll_ms // frame_ms + 1)
        self._gap = False

    @property
    def confirmations(self) -> int:
        """How many windows of 32 ms Silero was asked about, since this analyzer was made."""
        return self._confirmer.confirmations

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the rate in Hz and forget the stream so far.

        Raises:
            ValueError: A rate that the WebRTC VAD does not take.
        """
        super().set_sample_rate(sample_rate)
        self._gate.set_sample_rate(self.sample_rate)
        self._confirmer.set_sample_rate(self.sample_rate)
        self._unheard.clear()
        self._gap = False

    def set_params(self, params: VADParams) -> None:
        """Set the parameters and close the gate, so that old frames decide nothing new."""
        super().set_params(params)
        self._open_frames = 0

    def frame_confidence(self, frame: bytes) -> float:
        """Silero's score while the gate is open, else 0."""
        self._gap = self._gap or len(self._unheard) == self._unheard.maxlen
        self._unheard.append(frame)
        if self._gate.voice_confidence(frame) > 0:
            self._open_frames = self._hangover_frames + 1
        elif self._open_frames:
            self._open_frames -= 1
        if not self._open_frames:
            return 0.0
        # A pause no longer than the pre-roll is made up for in full, so that to Silero the stream
        # went on; only after a longer one must its state go.
        if self._gap:
            self._confirmer.restart()
            self._gap = False
        audio = b"".join(self._unheard)
        self._unheard.clear()
        return self._confirmer.score(audio, self._vad_state)

    async def cleanup(self) -> None:
        """Release the analyzer's resources."""
        await super().cleanup()
        await self._gate.cleanup()
        await self._confirmer.cleanup()
