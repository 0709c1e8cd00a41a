"""A reply is a span in Pipecat's own tracing: conversation, turn, tts."""

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.plugins.pipecat_csm.services.stage import Stage


@pytest.fixture(scope="module")
def _exporter() -> InMemorySpanExporter:
    # A process has one provider, once and for all.
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def exporter(_exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    _exporter.clear()
    return _exporter


def spans(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_reply_is_a_span_of_its_turn_and_conversation(engine, voices, exporter):
    tracing: dict[str, Any] = {"enable_tracing": True, "conversation_id": "today"}
    async with Stage(engine, voices, **tracing) as stage:
        await stage.answer("Hello there. How are you?")
        await stage.heard(2)
    (conversation,) = spans(exporter, "conversation")
    (turn,) = spans(exporter, "turn")
    (tts,) = spans(exporter, "tts")
    assert tts.parent == turn.get_span_context()
    assert turn.parent == conversation.get_span_context()
    assert attributes(conversation)["conversation.id"] == "today"
    found = attributes(tts)
    assert found["gen_ai.provider.name"] == "csm"
    assert found["gen_ai.request.model"] == "csm-1b"
    assert found["voice_id"] == found["settings.voice"] == "ada"
    assert found["settings.temperature"] == 0.7
    assert found["text"] == "Hello there. How are you?"
    assert found["metrics.ttfb"] > 0.0
    assert found["metrics.rtf"] > 0.0
    assert found["metrics.audio_seconds"] > 1.0
    assert found["metrics.context_positions"] > 20
    assert found.keys() >= {"metrics.underruns", "metrics.underrun_seconds"}
    assert "tts.interrupted" not in found


async def test_a_reply_that_is_cut_off_is_marked_in_its_span(engine, voices, exporter):
    async with Stage(engine, voices, enable_tracing=True) as stage:
        await stage.answer("This is a rather long sentence, which nobody is going to hear. " * 9)
        await stage.speaker.plays(1.0)
        await stage.barge_in()
        await stage.at_rest()
    (tts,) = spans(exporter, "tts")
    found = attributes(tts)
    assert found["tts.interrupted"]
    assert found["metrics.audio_seconds"] >= 1.0


async def test_without_tracing_there_are_no_spans(engine, voices, exporter):
    async with Stage(engine, voices) as stage:
        await stage.answer("Hello there.")
        await stage.heard(1)
    assert not exporter.get_finished_spans()
