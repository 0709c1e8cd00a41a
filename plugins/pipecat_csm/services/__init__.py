"""Pipecat services around CSM: a voice that hears both speakers, and what fills its history."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipecat_csm.services.aggregators import heard_aggregators
    from pipecat_csm.services.conversation import CSMConversation
    from pipecat_csm.services.first_clause import FirstClauseAggregator
    from pipecat_csm.services.metrics import CSMReplyMetricsData
    from pipecat_csm.services.playout import Playout
    from pipecat_csm.services.taps import AgentSegmentTap, UserSegmentTap
    from pipecat_csm.services.tts import CSMTTSService

__all__ = [
    "AgentSegmentTap",
    "CSMConversation",
    "CSMReplyMetricsData",
    "CSMTTSService",
    "FirstClauseAggregator",
    "Playout",
    "UserSegmentTap",
    "heard_aggregators",
]

# Not everybody who wants a part of it has torch, which most of it needs.
_LAZY = {
    "AgentSegmentTap": "taps",
    "CSMConversation": "conversation",
    "CSMReplyMetricsData": "metrics",
    "CSMTTSService": "tts",
    "FirstClauseAggregator": "first_clause",
    "Playout": "playout",
    "UserSegmentTap": "taps",
    "heard_aggregators": "aggregators",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for."""
    import importlib

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
