"""The page's audio thread: what the microphone becomes, and how the voice is played and cut."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.agent.web.node import DIST, run

HARNESS = Path(__file__).with_name("worklet.mjs")
QUANTUM = 128  # samples that a browser computes at a time
RATES = [16_000, 44_100, 48_000, 96_000]


def drive(processor: str, rate: int, *commands: dict[str, object]) -> tuple[list, np.ndarray]:
    """Returns what the processor posted, and the samples it played."""
    script = "\n".join(json.dumps(command) for command in commands)
    worklet = (DIST / "worklet.js").as_uri()
    result = json.loads(run("node", str(HARNESS), worklet, processor, str(rate), stdin=script))
    return result["posted"], np.asarray(result["played"])


def tone(hz: float, seconds: float, rate: int, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def voice(seconds: float, hz: float = 440) -> list[int]:
    return (tone(hz, seconds, 24_000) * 32767).astype(int).tolist()


def power_db(samples: np.ndarray, hz: float, rate: int) -> tuple[float, float]:
    """Level of the tone at `hz`, and of everything else, in dB of full scale."""
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(samples * window)) / window.sum() * 2
    near = np.abs(np.fft.rfftfreq(len(samples), 1 / rate) - hz) < 40
    rest = np.sqrt((spectrum[~near] ** 2).sum())
    return 20 * np.log10(spectrum[near].max()), 20 * np.log10(rest + 1e-9)


@pytest.mark.parametrize("rate", RATES)
def test_the_microphone_becomes_16_khz_in_chunks_of_20_ms(rate: int):
    posted, _ = drive("capture", rate, {"hear": tone(1000, 1, rate).tolist()})
    assert {len(chunk) for chunk in posted} == {320}
    assert len(posted) in {48, 49, 50}
    level, noise = power_db(np.concatenate(posted[2:]) / 32768, 1000, 16_000)
    assert level == pytest.approx(-6.02, abs=0.1)
    assert noise < -60


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_what_16_khz_cannot_hold_is_filtered_out(rate: int):
    posted, _ = drive("capture", rate, {"hear": tone(9_500, 0.5, rate).tolist()})
    assert np.abs(np.concatenate(posted[2:])).max() / 32768 < 0.001


@pytest.mark.parametrize("rate", [24_000, *RATES])
def test_the_voice_is_played_at_the_rate_of_the_device(rate: int):
    quanta = int(1.2 * rate / QUANTUM)
    posted, played = drive("player", rate, {"add": voice(1)}, {"play": quanta})
    assert posted == [True, False]
    sounding = np.flatnonzero(np.abs(played) > 0.01)
    assert (sounding[-1] - sounding[0]) / rate == pytest.approx(1, abs=0.01)
    middle = played[int(0.3 * rate) : int(0.8 * rate)]
    level, noise = power_db(middle, 440, rate)
    assert level == pytest.approx(-6.02, abs=0.1)
    assert noise < -60


def test_a_voice_shorter_than_the_pre_roll_is_heard():
    posted, played = drive("player", 48_000, {"add": voice(0.03)}, {"play": 60})
    assert posted == [True, False]
    assert np.abs(played).max() > 0.4


def test_a_cut_drops_everything_queued_within_a_quantum():
    before, after = 200, 200
    posted, played = drive(
        "player", 48_000, {"add": voice(5)}, {"play": before}, {"cut": True}, {"play": after}
    )
    assert posted == [True, False]
    cut = before * QUANTUM
    assert np.abs(played[cut - QUANTUM : cut]).max() > 0.4
    # What is left is one sample fading away, not any more of the voice.
    fade = played[cut - 1 : cut + QUANTUM]
    assert np.all(np.diff(np.abs(fade)) <= 0)
    assert np.abs(played[cut + 2 * QUANTUM :]).max() < 1e-4


def test_the_next_answer_after_a_cut_is_played_whole():
    posted, played = drive(
        "player",
        48_000,
        {"add": voice(2)},
        {"play": 100},
        {"cut": True},
        {"add": voice(0.5)},
        {"play": 300},
    )
    assert posted == [True, False, True, False]
    sounding = np.flatnonzero(np.abs(played[101 * QUANTUM :]) > 0.01)
    assert (sounding[-1] - sounding[0]) / 48_000 == pytest.approx(0.5, abs=0.01)


def test_a_gap_in_the_voice_is_silence_and_then_it_goes_on():
    posted, played = drive(
        "player",
        48_000,
        {"add": voice(0.2)},
        {"play": 150},
        {"add": voice(0.2)},
        {"play": 150},
    )
    assert posted == [True, False, True, False]
    assert np.abs(played[120 * QUANTUM : 150 * QUANTUM]).max() < 1e-4


def told(posted: list) -> list[tuple[str, float, bool]]:
    """What was said about replies: which, how much of it has been played, and is there more."""
    about = [message for message in posted if isinstance(message, dict)]
    return [(message["reply"], message["seconds"], message["more"]) for message in about]


@pytest.mark.parametrize("rate", RATES)
def test_it_tells_how_much_of_a_reply_has_been_played(rate: int):
    quanta = int(0.5 * rate / QUANTUM)
    posted, played = drive(
        "player", rate, {"mark": "a"}, {"add": voice(1)}, {"play": quanta}, {"play": quanta * 2}
    )
    times = [seconds for _, seconds, _ in told(posted)]
    assert times[0] == 0.0
    assert np.diff(times).max() <= 0.02 + QUANTUM / rate
    assert np.diff(times).min() >= 0.0
    assert told(posted)[-1] == ("a", pytest.approx(1.0, abs=0.005), False)
    sounding = np.flatnonzero(np.abs(played) > 0.01)
    assert times[-1] == pytest.approx((sounding[-1] - sounding[0]) / rate, abs=0.01)


def test_a_reply_begins_when_all_before_it_has_been_played():
    posted, _ = drive(
        "player",
        48_000,
        {"mark": "a"},
        {"add": voice(0.5)},
        {"mark": "b"},
        {"add": voice(0.3)},
        {"play": 500},
    )
    replies = [reply for reply, _, _ in told(posted)]
    assert replies == sorted(replies)
    first_of_b = told(posted)[replies.index("b")]
    assert first_of_b == ("b", 0.0, True)
    assert max(seconds for reply, seconds, _ in told(posted) if reply == "a") <= 0.5
    assert told(posted)[-1] == ("b", pytest.approx(0.3, abs=0.005), False)


def test_what_is_cut_does_not_count_nor_what_comes_before_the_next_mark():
    posted, _ = drive(
        "player",
        48_000,
        {"mark": "a"},
        {"add": voice(5)},
        {"mark": "b"},
        {"add": voice(5)},
        {"play": 200},
        {"cut": True},
        {"add": voice(1)},  # of the first reply; it was under way
        {"play": 500},
        {"mark": "c"},
        {"add": voice(0.2)},
        {"play": 200},
    )
    last = {reply: (seconds, more) for reply, seconds, more in told(posted)}
    assert last.keys() == {"a", "c"}
    assert last["a"] == (pytest.approx(200 * QUANTUM / 48_000, abs=0.002), False)
    assert last["c"] == (pytest.approx(0.2, abs=0.005), False)


def test_sound_that_the_browser_does_not_play_is_told_of():
    posted, _ = drive("player", 48_000, {"mark": "a"}, {"add": voice(1)})
    assert told(posted)[-1] == ("a", 0.0, True)


def test_sound_that_is_nobodys_is_not_told_of():
    posted, _ = drive("player", 48_000, {"add": voice(0.5)}, {"play": 400})
    assert not told(posted)
