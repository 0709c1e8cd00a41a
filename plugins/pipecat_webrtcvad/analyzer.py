"""The WebRTC voice activity detector as a Pipecat analyzer."""

from collections import deque

import webrtcvad
from pipecat.audio.vad.vad_analyzer import VADParams

from pipecat_webrtcvad.frames import FrameVADAnalyzer, check_mode


class WebRTCVADAnalyzer(FrameVADAnalyzer):
    """Voice activity from the WebRTC VAD: a few microseconds a frame, at every usual rate.

    The detector says yes or no for each frame. The confidence is the share of yes among the last
    `window` frames, so a single wrong frame neither starts nor stops a turn. It takes steady
    broadband noise for speech; `HybridVADAnalyzer` does not.
    """

    def __init__(
        self,
        *,
        sample_rate: int | None = None,
        params: VADParams | None = None,
        mode: int = 2,
        frame_ms: int = 20,
        window: int = 5,
    ):
        """Make a detector of its own, which no other analyzer shares.

        Args:
            sample_rate: 8000, 16000, 32000 or 48000 Hz; None takes the pipeline's input rate.
            params: When speech starts and stops; None takes `default_params()`.
            mode: 0 (passes most) to 3 (most inclined to call a frame noise).
            frame_ms: Length of a frame: 10, 20 or 30.
            window: How many frames vote, at least 1.

        Raises:
            ValueError: A value outside those named.
        """
        super().__init__(sample_rate=sample_rate, params=params, frame_ms=frame_ms)
        if window < 1:
            raise ValueError(f"The voting window takes 1 frame or more, not {window}.")
        self._mode = check_mode(mode)
        self._vad = webrtcvad.Vad(mode)
        self._window = window
        self._votes: deque[bool] = deque(maxlen=window)

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the rate in Hz and forget the stream so far.

        Raises:
            ValueError: A rate that the WebRTC VAD does not take.
        """
        super().set_sample_rate(sample_rate)
        # The detector learns the noise of its stream; a new rate means a new stream.
        self._vad = webrtcvad.Vad(self._mode)

    def set_params(self, params: VADParams) -> None:
        """Set the parameters and clear the votes, so that old frames decide nothing new."""
        super().set_params(params)
        self._votes.clear()

    def frame_confidence(self, frame: bytes) -> float:
        """Share of voiced frames in the window; frames not heard yet count as unvoiced."""
        self._votes.append(self._vad.is_speech(frame, self.sample_rate))
        return sum(self._votes) / self._window
