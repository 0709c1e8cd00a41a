"""How each reply was made: how fast, whether ever too late, and from how much context."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from pipecat.metrics.metrics import MetricsData

from pipecat_csm.services.playout import Playout

# A shorter gap is a loudspeaker's own business.
_GAP_S = 0.02
# So much of what it was given a transport may hold back until it can fill a packet.
_PACKET_S = 0.05


class CSMReplyMetricsData(MetricsData):
    """One reply of CSM, in a `MetricsFrame` when it was made to its end or cut off.

    Pushed where metrics are enabled (``PipelineParams(enable_metrics=True)``), for observers::

        class Replies(BaseObserver):
            async def on_push_frame(self, data: FramePushed) -> None:
                if isinstance(data.frame, MetricsFrame):
                    for metrics in data.frame.data:
                        if isinstance(metrics, CSMReplyMetricsData):
                            ...

    How long the reply's first sound took is in Pipecat's own `TTFBMetricsData`.

    Parameters:
        context_id: Pipecat's name of the reply.
        audio_seconds: How much was made of it.
        rtf: How many seconds a second of its sound took to make; below 1 is live. What goes before
            a sentence's first frame does not count, and neither does a pause in which enough was
            made ahead. None if it was too short to tell.
        underruns: How often all that was made had been heard, and the next sound was not there.
            Waiting for the language model's words is none.
        underrun_seconds: How long that took, in all.
        context_positions: How many positions of CSM's context its last sentence was conditioned
            on: 80 ms of sound each, or a token of text.
        interrupted: Whether it was cut off while it was made.
    """

    context_id: str
    audio_seconds: float
    rtf: float | None
    underruns: int
    underrun_seconds: float
    context_positions: int
    interrupted: bool


# Named in a trace as Pipecat names its own metrics there.
_TRACED = {"audio_seconds", "rtf", "underruns", "underrun_seconds", "context_positions"}


class ReplyMeter:
    """Measures one reply while it is made."""

    def __init__(
        self, playout: Playout, reply: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is made yet.

        Args:
            playout: Knows what was heard of it.
            reply: Its name there.
            clock: Tells the seconds that making takes.
        """
        self.audio_s = 0.0
        """How much sound was made."""
        self.late_s = 0.0
        """How much later what is made now is heard than if all had been there in time."""
        self._playout, self._reply, self._clock = playout, reply, clock
        self._positions = 0
        self._underruns, self._underrun_s = 0, 0.0
        # Whether the next frame may be late; if the one before was followed at once by the making
        # of the next, since when; and the sums of such frames.
        self._is_due = False
        self._since_s: float | None = None
        self._making_s = self._timed_audio_s = 0.0

    def asked(self) -> None:
        """The words of a sentence are there."""
        # If all before it was heard already, nobody but the language model was late.
        self._is_due = self._playout.dry_s(self._reply) == 0.0
        self._since_s = None

    def began(self, positions: int) -> None:
        """A sentence begins after so many positions of context."""
        self._positions = positions

    def made(self, seconds: float, *, goes_on: bool) -> None:
        """So much more sound is there.

        Args:
            seconds: Its length.
            goes_on: Whether the next is being made at once, as it is unless enough is made ahead.
        """
        now_s = self._clock()
        is_all_sent = self._playout.sent_s(self._reply) >= self.audio_s - _PACKET_S
        self.late_s = self._playout.late_s(self._reply, waits=is_all_sent)
        if self._is_due and is_all_sent:
            gap_s = self._playout.dry_s(self._reply)
            if gap_s > _GAP_S:
                self._underruns += 1
                self._underrun_s += gap_s
        self._is_due = True
        self.audio_s += seconds
        if self._since_s is not None:
            self._making_s += now_s - self._since_s
            self._timed_audio_s += seconds
        self._since_s = now_s if goes_on else None

    def data(
        self, processor: str, model: str | None = None, *, interrupted: bool = False
    ) -> CSMReplyMetricsData:
        """What is known of the reply now.

        Args:
            processor: Pipecat's name of the service.
            model: Of its model.
            interrupted: Whether the reply was cut off.
        """
        return CSMReplyMetricsData(
            processor=processor,
            model=model,
            context_id=self._reply,
            audio_seconds=self.audio_s,
            rtf=self._making_s / self._timed_audio_s if self._timed_audio_s else None,
            underruns=self._underruns,
            underrun_seconds=self._underrun_s,
            context_positions=self._positions,
            interrupted=interrupted,
        )

    def describe(self, spans: Mapping[str, Mapping[str, Any]]) -> None:
        """Writes into the reply's span of a trace what is known of it now.

        Args:
            spans: Those that Pipecat's `traced_tts` has open, by the replies' names.
        """
        if self._reply in spans:
            known = self.data("").model_dump(exclude_none=True)
            names = _TRACED & known.keys()
            spans[self._reply]["span"].set_attributes({f"metrics.{x}": known[x] for x in names})
