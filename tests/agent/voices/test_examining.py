"""What people bring: each flaw is found, and said in a sentence that helps."""

import re

import numpy as np
import pytest
import soxr
from pipecat_csm.audio import LOUDNESS_DBFS

from agent.voices.checks import LONGEST_S, Finding
from agent.voices.examining import Examined, Examiner
from agent.voices.recording import Recording, read_recording
from agent.voices.sound import loudness_dbfs
from tests.recordings import (
    RATE_HZ,
    Sound,
    music,
    noise,
    silence,
    spoken,
    two_people,
    write,
)


def recording(samples: Sound, rate_hz: int = RATE_HZ) -> Recording:
    return Recording(samples[:, None], rate_hz)


def telephone(samples: Sound) -> Sound:
    return soxr.resample(samples, RATE_HZ, 8_000).astype(np.float32)


def behind(samples: Sound, other: Sound, level: float) -> Sound:
    return (samples + level * other[: len(samples)]).astype(np.float32)


def refusals(examined: Examined) -> list[str]:
    return [finding.sentence for finding in examined.findings if finding.grade == "refused"]


def warnings(examined: Examined) -> list[str]:
    return [finding.sentence for finding in examined.findings if finding.grade == "warning"]


@pytest.fixture(scope="module")
def good(examiner: Examiner) -> Examined:
    """A good voice in a bad file: quiet, in stereo, at 44.1 kHz, with silence around."""
    samples = np.concatenate([silence(1.5), 0.2 * spoken()[0], silence(2)])
    at_44 = soxr.resample(samples, RATE_HZ, 44_100).astype(np.float32)
    return examiner.examine(Recording(np.repeat(at_44[:, None], 2, axis=1), 44_100), spoken()[1])


class TestAGoodVoice:
    def test_nothing_is_found(self, good):
        assert good.is_usable
        assert {finding.grade for finding in good.findings} == {"good"}

    def test_it_is_trimmed_to_the_words_and_a_breath(self, good):
        # The reference was trimmed in the same way.
        assert len(good.audio) / RATE_HZ == pytest.approx(len(spoken()[0]) / RATE_HZ, abs=0.3)
        edge = int(0.1 * RATE_HZ)
        for end in (good.audio[:edge], good.audio[-edge:]):
            assert np.abs(end).max() < 0.02

    def test_it_is_as_loud_as_csms_context(self, good):
        assert loudness_dbfs(good.audio, RATE_HZ) == pytest.approx(LOUDNESS_DBFS, abs=0.2)

    def test_what_was_done_is_said(self, good):
        said = "; ".join(good.steps)
        assert re.search(r"cut 1\.\d s before the first word and [12]\.\d s after the last", said)
        assert re.search(r"made 1\d dB louder", said)
        assert "24,000 Hz, mono" in said

    def test_whisper_hears_the_words(self, good):
        assert good.findings[-1].sentence == "The text is what is said, word for word."

    def test_examined_again_there_is_nothing_to_do(self, examiner, good):
        again = examiner.examine(recording(good.audio))
        assert len(again.audio) == pytest.approx(len(good.audio), abs=0.1 * RATE_HZ)
        assert "as loud as it should be" in again.steps


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (silence(6), "It is silent; was the microphone muted?"),
        (1e-4 * noise(6) / 0.1, "It is silent"),
        (spoken()[0][: int(0.3 * RATE_HZ)], "It lasts 0.3 s, too short to know a voice by"),
        (music(8), "Nobody speaks in it.*is it music or noise?"),
        (noise(6), "Nobody speaks in it"),
        (np.tile(spoken()[0], 22), r"It lasts 1\d\d s; a reference takes 3 to 30 s"),
        (
            np.concatenate([silence(8), spoken()[0][:RATE_HZ], silence(8)]),
            r"It lasts 1\.\d s, too short",
        ),
        (
            np.concatenate([spoken()[0][:RATE_HZ], silence(8), spoken()[0][:RATE_HZ]]),
            r"Only [12]\d% of it is speech; cut the pauses",
        ),
    ],
    ids=["silence", "hiss", "0.3 s", "music", "noise", "3 min", "a word", "pauses"],
)
def test_where_there_is_no_voice_to_listen_to_nothing_else_is_said(examiner, samples, sentence):
    examined = examiner.examine(recording(samples), "Some words.")
    assert [bool(re.match(sentence, refusal)) for refusal in refusals(examined)] == [True]
    assert not examined.is_usable
    assert examined.findings[-1].grade == "refused"
    assert examined.transcript == ""


def test_a_telephone_is_recognised_in_an_8_khz_mp3(examiner, tmp_path):
    path = write(tmp_path / "call.mp3", spoken()[0], 8_000)
    (sentence,) = refusals(examiner.examine(read_recording(path)))
    assert sentence.startswith("Nothing above 4.0 kHz: it went through a telephone")


def test_a_higher_rate_does_not_hide_the_telephone(examiner):
    detour = soxr.resample(telephone(spoken()[0]), 8_000, 48_000).astype(np.float32)
    (sentence,) = refusals(examiner.examine(recording(detour, 48_000)))
    assert "converting it brings nothing back" in sentence


def test_11_khz_is_muffled_but_taken_and_16_khz_is_good(examiner):
    for rate_hz, muffled in ((11_025, True), (16_000, False)):
        samples = soxr.resample(spoken()[0], RATE_HZ, rate_hz).astype(np.float32)
        examined = examiner.examine(recording(samples, rate_hz))
        assert examined.is_usable
        assert any("sounds muffled" in sentence for sentence in warnings(examined)) == muffled


@pytest.mark.parametrize(
    ("gain", "grade"), [(1.7, "warning"), (5.0, "refused")], ids=["a little", "much"]
)
def test_clipping(examiner, gain, grade):
    samples = spoken()[0] / np.abs(spoken()[0]).max()
    examined = examiner.examine(recording(np.clip(gain * samples, -1, 1)))
    (found,) = [f for f in examined.findings if "clipped: it was recorded too loud" in f.sentence]
    assert found.grade == grade


@pytest.mark.parametrize("kind", ["noise", "music"])
@pytest.mark.parametrize(("level", "grade"), [(0.2, "warning"), (1.0, "refused")])
def test_noise_and_music_behind_the_voice(examiner, kind, level, grade):
    other = (noise if kind == "noise" else music)(20)
    other *= 0.07 / np.sqrt(np.square(other).mean())
    examined = examiner.examine(recording(behind(spoken()[0], other, level)))
    (found,) = [f for f in examined.findings if "dB below the voice" in f.sentence]
    assert found.grade == grade


def test_two_people_are_told_apart(examiner):
    (sentence,) = refusals(examiner.examine(recording(two_people())))
    assert re.match(r"Two people speak: the likeness of its parts is 0\.[3-6]\d", sentence)


def test_two_people_who_sound_alike_are_a_warning_that_says_so(examiner):
    alike = np.concatenate([spoken("fable")[0][: 6 * RATE_HZ], spoken("onyx")[0][: 6 * RATE_HZ]])
    examined = examiner.examine(recording(alike))
    assert examined.is_usable
    (sentence,) = warnings(examined)
    assert sentence.startswith("Perhaps two people speak, or one in two manners")


def test_without_the_speaker_encoder_it_is_said_that_nobody_looked(examiner):
    alone = Examiner(examiner._whisper, None)
    examined = alone.examine(recording(two_people()))
    assert examined.is_usable
    assert warnings(examined) == [
        "Whether one person speaks was not checked; for that, run "
        "`csm-agent models fetch resemblyzer`."
    ]
    assert alone.compare(examined, examined, "a.wav") is None
    assert alone.nearest(examined, [spoken()[0]]) is None


class TestTheText:
    def test_another_text_is_refused_and_says_how_far_it_is(self, examiner):
        text = "Four score and seven years ago our fathers brought forth a new nation."
        (sentence,) = refusals(examiner.examine(recording(spoken()[0]), text))
        assert re.match(r"The text is not what is said: \d+ of 13 words differ \(\d+%\)", sentence)
        assert "Whisper heard: 'i like the morning" in sentence

    def test_half_of_the_text_is_another_text(self, examiner):
        text = spoken()[1].split(".")[0]
        assert (
            "The text is not what is said"
            in refusals(examiner.examine(recording(spoken()[0]), text))[0]
        )

    def test_some_other_words_are_a_warning_that_names_them(self, examiner):
        text = spoken()[1].replace("kitchen", "chicken").replace("kettle", "cattle")
        text = text.replace("asking", "telling").replace("best", "most").replace("quiet", "loud")
        (sentence,) = warnings(examiner.examine(recording(spoken()[0]), text))
        assert re.match(r"The text may not be what is said: [56] of \d\d words differ", sentence)
        assert "'chicken' was heard as 'kitchen'" in sentence

    def test_a_misheard_word_is_only_mentioned(self, examiner):
        text = spoken()[1].replace("kitchen", "chicken")
        found = examiner.examine(recording(spoken()[0]), text).findings[-1]
        assert found == Finding(
            "good",
            "The text is what is said, but for what Whisper heard: 'chicken' was heard as "
            "'kitchen'.",
        )


@pytest.fixture(scope="module")
def of(examiner: Examiner) -> dict[str, Examined]:
    """Some of the shipped personas' references, examined."""
    names = ("ada", "max", "onyx", "fable")
    return {name: examiner.examine(recording(spoken(name)[0])) for name in names}


class TestSeveralRecordings:
    def test_the_same_voice(self, examiner, of):
        half = examiner.examine(recording(spoken("ada")[0][: 5 * RATE_HZ]))
        found = examiner.compare(half, of["ada"], "ada.wav")
        assert found.grade == "good"
        assert found.sentence.startswith("The voice of ada.wav")

    def test_another_person_is_refused(self, examiner, of):
        found = examiner.compare(of["max"], of["ada"], "ada.wav")
        assert found.grade == "refused"
        assert found.sentence.startswith("It is not the person of ada.wav: their likeness is 0.")

    def test_somebody_who_sounds_alike_is_a_warning(self, examiner, of):
        found = examiner.compare(of["fable"], of["onyx"], "onyx.wav")
        assert found == Finding("warning", found.sentence)
        assert found.sentence.startswith("It may not be the person of onyx.wav")

    def test_the_nearest_of_some_voices_is_found(self, examiner, of):
        voices = [spoken(name)[0] for name in ("edith", "max", "onyx", "ada")]
        half = examiner.examine(recording(spoken("max")[0][: 5 * RATE_HZ]))
        assert examiner.nearest(half, voices) == 1


def test_as_long_as_may_be(examiner):
    samples = np.tile(spoken()[0], 4)[: int((LONGEST_S - 0.5) * RATE_HZ)]
    assert examiner.examine(recording(samples)).is_usable
