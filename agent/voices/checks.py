"""What is good enough for a reference, and how to say what is not: every limit in one place.

A recording is refused where CSM would surely learn the flaw with the voice, or where the check is
sure; what is only likely, or only a little wrong, is a warning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.reference import MAX_POSITIONS, positions
from agent.voices.words import Comparison

SHORTEST_S, LONGEST_S = 3.0, 30.0
BEST = "10 to 20 s"

_SILENT_PEAK = 1e-3
_LEAST_SPEECH_S = 0.5
_MANY_PAUSES, _TOO_MANY_PAUSES = 0.5, 0.25
_SOME_CLIPPED, _TOO_MUCH_CLIPPED = 1e-4, 5e-3
# A telephone ends at 4 kHz (5 with the slope of a filter); 16 kHz recordings, which speech needs
# for its "s", nearly reach 8.
_TELEPHONE_HZ, _NARROW_HZ = 5_000, 7_200
_NOISY_DB, _TOO_NOISY_DB = 20.0, 10.0
# Measured with 25 voices of Kokoro and 5 people, 4 to 20 s each: 196 recordings of one voice lay
# above 0.79; of 254 with two voices four in ten lay below 0.70, eight in ten below 0.82.
_SURELY_TWO, _PERHAPS_TWO = 0.70, 0.82
# Whisper tiny errs in one word of twenty, in one of six with an accent.
_SOME_WORDS, _OTHER_WORDS = 0.15, 0.4
_UNSURE_LOGPROB = -1.0
_SHOWN = 4

Grade = Literal["good", "warning", "refused"]


@dataclass(frozen=True)
class Finding:
    """What one check says, in a sentence."""

    grade: Grade
    sentence: str


def check_sound(peak: float) -> Finding | None:
    """Is there any sound? None if there is, which goes without saying.

    Args:
        peak: The largest sample; full scale is 1.
    """
    if peak < _SILENT_PEAK:
        return Finding("refused", "It is silent; was the microphone muted?")
    return None


def check_length(seconds: float) -> Finding:
    """Is it as long as a reference may be?"""
    if seconds < SHORTEST_S:
        return Finding(
            "refused",
            f"It lasts {seconds:.1f} s, too short to know a voice by; a reference takes "
            f"{SHORTEST_S:.0f} to {LONGEST_S:.0f} s, best {BEST}.",
        )
    if seconds > LONGEST_S:
        return Finding(
            "refused",
            f"It lasts {seconds:.0f} s; a reference takes {SHORTEST_S:.0f} to {LONGEST_S:.0f} s. "
            f"Cut out {BEST} in which the voice speaks as it is to sound.",
        )
    return Finding("good", f"{seconds:.1f} s long.")


def check_speech(speech_s: float, share: float) -> Finding:
    """Does somebody speak?

    Args:
        speech_s: How much of it is speech.
        share: Of the time between the first and the last word.
    """
    if speech_s < _LEAST_SPEECH_S:
        return Finding(
            "refused", "Nobody speaks in it, as far as can be heard; is it music or noise?"
        )
    sentence = f"{share:.0%} of it is speech"
    if share < _TOO_MANY_PAUSES:
        return Finding("refused", f"Only {sentence}; cut the pauses, or the music, out.")
    if share < _MANY_PAUSES:
        return Finding("warning", f"Only {sentence}; CSM learns the long pauses too.")
    return Finding("good", f"{sentence}.")


def check_clipping(share: float) -> Finding:
    """Was it recorded too loud?

    Args:
        share: Of the samples that are cut off, 0 to 1.
    """
    sentence = f"{share:.2%} of it is clipped: it was recorded too loud, which sounds harsh"
    if share > _TOO_MUCH_CLIPPED:
        return Finding("refused", f"{sentence}; record it again with less gain.")
    if share > _SOME_CLIPPED:
        return Finding("warning", f"{sentence}.")
    return Finding("good", "Not clipped.")


def check_bandwidth(hertz: float) -> Finding:
    """Does it have the high sounds of a voice?

    Args:
        hertz: Up to which frequency there is sound.
    """
    sentence = f"Nothing above {hertz / 1000:.1f} kHz"
    if hertz < _TELEPHONE_HZ:
        return Finding(
            "refused",
            f"{sentence}: it went through a telephone or an 8 kHz file, and CSM would sound like "
            "one. Record at 24 kHz or more; converting it brings nothing back.",
        )
    if hertz < _NARROW_HZ:
        return Finding("warning", f"{sentence}: it sounds muffled, and so will the voice.")
    return Finding("good", f"Full up to {hertz / 1000:.1f} kHz.")


def check_noise(snr_db: float) -> Finding:
    """Is it quiet around the voice?

    Args:
        snr_db: How far the pauses lie below the speech.
    """
    sentence = f"the pauses lie only {snr_db:.0f} dB below the voice"
    if snr_db < _TOO_NOISY_DB:
        return Finding(
            "refused",
            f"There is noise or music behind the voice: {sentence}, and {_NOISY_DB:.0f} are "
            "needed. Record in a quiet room, near the microphone.",
        )
    if snr_db < _NOISY_DB:
        return Finding("warning", f"There is some noise: {sentence}; CSM will copy it.")
    return Finding("good", f"Noise at least {snr_db:.0f} dB below the voice.")


def check_one_voice(likeness: float) -> Finding:
    """Does one person speak?

    Args:
        likeness: Of its two most different parts.
    """
    figure = f"the likeness of its parts is {likeness:.2f}"
    if likeness < _SURELY_TWO:
        return Finding(
            "refused",
            f"Two people speak: {figure}, and one voice stays above {_PERHAPS_TWO}. Cut out one.",
        )
    if likeness < _PERHAPS_TWO:
        return Finding(
            "warning", f"Perhaps two people speak, or one in two manners ({figure}); listen to it."
        )
    return Finding("good", f"One voice ({figure}).")


def check_same_voice(likeness: float, other: str) -> Finding:
    """Is it the person of another recording?

    Args:
        likeness: Of the two recordings.
        other: The other's name.
    """
    figure = f"their likeness is {likeness:.2f}"
    if likeness < _SURELY_TWO:
        return Finding(
            "refused",
            f"It is not the person of {other}: {figure}, and one voice stays above "
            f"{_PERHAPS_TWO}. A persona has one voice.",
        )
    if likeness < _PERHAPS_TWO:
        return Finding("warning", f"It may not be the person of {other} ({figure}).")
    return Finding("good", f"The voice of {other} ({figure}).")


def check_understood(text: str, avg_logprob: float, is_speech: bool) -> Finding:
    """Did Whisper make out words?

    Args:
        text: What it heard.
        avg_logprob: How sure it was of a token; closer to 0 is surer.
        is_speech: Whether it believes that somebody spoke.
    """
    if not is_speech or not text:
        return Finding(
            "refused", "No words could be made out; is it music, singing or another language?"
        )
    if avg_logprob < _UNSURE_LOGPROB:
        return Finding("warning", "Whisper was not sure of the words; read them with care.")
    return Finding("good", "Whisper made out the words.")


def check_words(comparison: Comparison) -> Finding:
    """Is the text what is said?"""
    rate, words = comparison.error_rate, len(comparison.said)
    figure = f"{comparison.errors} of {words} words differ ({rate:.0%})"
    if rate >= _OTHER_WORDS:
        heard = " ".join(comparison.heard)
        return Finding(
            "refused",
            f"The text is not what is said: {figure}. Whisper heard: {heard!r}. CSM would learn to "
            "say other words than it is given.",
        )
    shown = "; ".join(str(one) for one in comparison.differences[:_SHOWN])
    if len(comparison.differences) > _SHOWN:
        shown += "; ..."
    if rate > _SOME_WORDS:
        return Finding("warning", f"The text may not be what is said: {figure}: {shown}.")
    if comparison.errors:
        return Finding("good", f"The text is what is said, but for what Whisper heard: {shown}.")
    return Finding("good", "The text is what is said, word for word.")


def check_together(references: Sequence[tuple[float, str]]) -> Finding | None:
    """Can CSM keep them all? None if it can, which goes without saying.

    Args:
        references: For each, how many seconds it lasts and what is said in it.
    """
    taken = sum(positions(seconds, text) for seconds, text in references)
    if taken <= MAX_POSITIONS:
        return None
    return Finding(
        "refused",
        f"Together they last {sum(seconds for seconds, _ in references):.0f} s and take about "
        f"{taken} positions; CSM keeps {MAX_POSITIONS} for references, about 30 s of speech. Use "
        "fewer, or shorter ones.",
    )
