"""A turn's latency in the four stages that people see."""

from pipecat.observers.user_bot_latency_observer import (
    LatencyBreakdown,
    LatencyContribution,
    LatencyOwnerKind,
    MeasuredFrom,
)

from agent.latency import from_breakdown


def part(key, seconds):
    return LatencyContribution(
        key=key,
        label=key,
        owner="x",
        owner_kind=LatencyOwnerKind.SERVICE,
        start_time=0,
        duration_secs=seconds,
    )


def test_the_stages_sum_to_the_total():
    parts = [
        part("endpointing_wait", 0.2),
        part("transcription", 0.3),
        part("turn_detection", 0.05),
        part("llm_inference", 0.1),
        part("sentence_aggregation", 0.1),
        part("speech_synthesis", 0.25),
        part("something_new", 0.01),
    ]
    breakdown = LatencyBreakdown(contributions=parts, measured_from=MeasuredFrom.USER_SILENCE)
    latency = from_breakdown(breakdown)
    assert latency is not None
    message = latency.message(3)
    assert message == {
        "type": "latency",
        "turn": 3,
        "total_ms": 1010,
        "stages": [
            {"key": "endpointing", "ms": 250},
            {"key": "transcript", "ms": 300},
            {"key": "first_token", "ms": 100},
            {"key": "first_audio", "ms": 360},
        ],
    }


def test_a_greeting_answers_nobody():
    breakdown = LatencyBreakdown(
        contributions=[part("first_request", 0.5)], measured_from=MeasuredFrom.CLIENT_CONNECTED
    )
    assert from_breakdown(breakdown) is None
