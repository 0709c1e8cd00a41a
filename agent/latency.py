"""Where a turn's time went: from Pipecat's breakdown to the four stages that people see."""

from dataclasses import dataclass

from pipecat.observers.user_bot_latency_observer import LatencyBreakdown, MeasuredFrom

# Pipecat names the parts of a turn more finely than a person wants to read.
_STAGE_OF = {
    "endpointing_wait": "endpointing",
    "turn_detection": "endpointing",
    "transcription": "transcript",
    "llm_inference": "first_token",
    "turn_completion": "first_token",
    "awaiting_speakable_text": "first_token",
    "function_handler": "first_token",
    "llm_tool_call": "first_token",
}
STAGES: tuple[str, ...] = ("endpointing", "transcript", "first_token", "first_audio")


@dataclass(frozen=True)
class TurnLatency:
    """One answered turn, in seconds, from the caller's last sound to the agent's first."""

    total_s: float
    stages_s: dict[str, float]

    def message(self, turn: int) -> dict[str, object]:
        """The turn as the page reads it, in milliseconds."""
        return {
            "type": "latency",
            "turn": turn,
            "total_ms": round(self.total_s * 1000),
            "stages": [
                {"key": key, "ms": round(self.stages_s[key] * 1000)}
                for key in STAGES
                if key in self.stages_s
            ],
        }


def from_breakdown(breakdown: LatencyBreakdown) -> TurnLatency | None:
    """Sums Pipecat's contributions into `STAGES`; None for a greeting, which answers nobody.

    The stages sum to the total: what belongs to none of the first three is part of the way to
    the first audio.
    """
    if breakdown.measured_from is not MeasuredFrom.USER_SILENCE or not breakdown.contributions:
        return None
    stages = dict.fromkeys(STAGES, 0.0)
    for part in breakdown.contributions:
        stages[_STAGE_OF.get(part.key, "first_audio")] += part.duration_secs
    return TurnLatency(sum(stages.values()), stages)
