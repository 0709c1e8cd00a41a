"""What the server counts, in Prometheus' terms. No word of any caller is in it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
_RTF_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 5)
_POSITION_BUCKETS = (128, 256, 512, 768, 1024, 1280, 1536, 2048)


class Metrics:
    """The server's counters, in a registry of their own so that tests can hold several."""

    def __init__(self) -> None:
        """Registers every metric with a zero."""
        self.registry = CollectorRegistry()
        self.live_sessions = Gauge(
            "csm_agent_live_sessions", "Conversations going on now.", registry=self.registry
        )
        self.sessions = Counter(
            "csm_agent_sessions", "Conversations started.", ["transport"], registry=self.registry
        )
        self.rejected = Counter(
            "csm_agent_rejected", "Callers turned away.", ["reason"], registry=self.registry
        )
        self.turns = Counter(
            "csm_agent_turns", "Caller turns that were answered.", registry=self.registry
        )
        self.interruptions = Counter(
            "csm_agent_interruptions", "Answers cut short by the caller.", registry=self.registry
        )
        self.errors = Counter(
            "csm_agent_errors", "Errors by pipeline stage.", ["stage"], registry=self.registry
        )
        self.stage_latency = Histogram(
            "csm_agent_stage_latency_seconds",
            "Time of each stage between the caller's last sound and the agent's first.",
            ["stage"],
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.voice_to_voice = Histogram(
            "csm_agent_voice_to_voice_seconds",
            "From the caller's last sound to the agent's first, as the server sees it.",
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.voice_switches = Counter(
            "csm_agent_voice_switches",
            "Calls in which another engine took over the voice.",
            ["engine"],
            registry=self.registry,
        )
        self.voice_rtf = Histogram(
            "csm_agent_voice_rtf",
            "Seconds that CSM took for a second of a reply; below 1 is live.",
            buckets=_RTF_BUCKETS,
            registry=self.registry,
        )
        self.voice_underruns = Counter(
            "csm_agent_voice_underruns",
            "How often CSM's next sound was due and not there.",
            registry=self.registry,
        )
        self.voice_context = Histogram(
            "csm_agent_voice_context_positions",
            "Of CSM's context, that a reply was conditioned on.",
            buckets=_POSITION_BUCKETS,
            registry=self.registry,
        )
