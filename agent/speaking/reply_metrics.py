"""How CSM's replies were made, counted for the server's metrics."""

from pipecat.frames.frames import MetricsFrame
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat_csm.services.metrics import CSMReplyMetricsData

from agent.metrics import Metrics


class ReplyMetrics(BaseObserver):
    """Counts one call's replies."""

    def __init__(self, metrics: Metrics) -> None:
        """Counts into the server's metrics."""
        super().__init__()
        self._metrics = metrics
        self._counted: str | None = None

    async def on_push_frame(self, data: FramePushed) -> None:
        """Takes note of a reply; it passes several processors, and counts once."""
        if not isinstance(data.frame, MetricsFrame):
            return
        for reply in data.frame.data:
            if isinstance(reply, CSMReplyMetricsData) and reply.context_id != self._counted:
                self._counted = reply.context_id
                self._count(reply)

    def _count(self, reply: CSMReplyMetricsData) -> None:
        metrics = self._metrics
        metrics.voice_underruns.inc(reply.underruns)
        metrics.voice_context.observe(reply.context_positions)
        if reply.rtf is not None:
            metrics.voice_rtf.observe(reply.rtf)
