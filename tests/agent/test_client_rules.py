"""What a client may send, whichever way it came in."""

import pytest
from pipecat.frames.frames import InputAudioRawFrame

from agent.client_rules import AudioPace, ClientMessages, TooMuchGarbage, is_playout_report


@pytest.mark.parametrize("kind", ["client-ready", "disconnect-bot", "send-text", "client-message"])
def test_what_the_page_says_is_admitted(kind):
    assert ClientMessages().admit({"type": kind})


@pytest.mark.parametrize(
    "message",
    [None, [], "client-ready", {}, {"type": "raw-audio"}, {"type": None}, {"type": ["send-text"]}],
)
def test_what_it_does_not_say_is_not(message):
    assert not ClientMessages().admit(message)


def test_twenty_messages_a_second():
    now = 0.0
    messages = ClientMessages(clock=lambda: now)
    assert [messages.admit({"type": "send-text"}) for _ in range(30)] == [True] * 20 + [False] * 10
    assert not messages.in_pace(), "messages of all kinds share the pace"
    now = 1.5
    assert messages.in_pace()


def test_what_reports_the_playing():
    report = {"type": "client-message", "data": {"t": "playout", "d": {}}}
    assert is_playout_report(report)
    for other in (
        None,
        [],
        {},
        report | {"type": "send-text"},
        report | {"data": {"t": ["playout"]}},
    ):
        assert not is_playout_report(other)
    for data in (None, "playout", ["playout"], {}, {"t": "another"}):
        assert not is_playout_report(report | {"data": data})


def test_garbage_has_an_end():
    messages = ClientMessages()
    for _ in range(50):
        messages.refuse("garbage")
    with pytest.raises(TooMuchGarbage):
        messages.refuse("garbage")


def test_sound_may_be_ten_seconds_ahead_of_the_clock():
    now = 100.0
    pace = AudioPace(clock=lambda: now)
    second = InputAudioRawFrame(audio=bytes(32_000), sample_rate=16_000, num_channels=1)
    assert sum(pace.admit(second) for _ in range(60)) in (10, 11)
    now += 1000
    assert sum(pace.admit(second) for _ in range(60)) in (20, 21), "a pause saves up no more"
