"""One recording through every check, and what becomes of it: trimmed, of one loudness, 24 kHz."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pipecat_whisper import WhisperEngine, WhisperEngineError

from agent.models import ModelError, is_available, resolve
from agent.voices import checks, sound
from agent.voices.checks import Finding
from agent.voices.encoder import SpeakerEncoder
from agent.voices.hearing import listen, listen_in_company
from agent.voices.recording import SAMPLE_RATE_HZ, Recording, resampled
from agent.voices.speakers import likeness_of_parts, voice_of
from agent.voices.speech import SAMPLE_RATE_HZ as LISTENING_HZ
from agent.voices.speech import map_speech
from agent.voices.words import compare

ENCODER = "resemblyzer"

# Of the silence at either end; a word's first and last breath lie in it.
_KEPT_S = 0.2
_WORTH_SAYING_S = 0.05


@dataclass(frozen=True)
class Examined:
    """What was found in a recording, and what a persona would keep of it.

    Attributes:
        audio: float32 [samples] at 24 kHz: trimmed, and as loud as CSM's context.
        steps: What was done to get there, in words.
        findings: In the order of the checks; after one that leaves nothing to hear, no others.
        transcript: What Whisper heard; empty if it did not come to that.
        voice: Of length 1, float32 [256]; None where no speaker encoder is installed.
    """

    audio: NDArray[np.float32]
    steps: tuple[str, ...]
    findings: tuple[Finding, ...]
    transcript: str = ""
    voice: NDArray[np.float32] | None = None

    @property
    def duration_s(self) -> float:
        """How long it lasts, trimmed."""
        return len(self.audio) / SAMPLE_RATE_HZ

    @property
    def is_usable(self) -> bool:
        """Whether nothing was refused."""
        return all(finding.grade != "refused" for finding in self.findings)


class Examiner:
    """The models that listen to recordings; close it when all are heard."""

    def __init__(
        self,
        whisper: WhisperEngine,
        encoder: SpeakerEncoder | None,
        *,
        in_company: Callable[[], bool] = lambda: False,
    ) -> None:
        """Takes loaded models.

        Args:
            whisper: It may be busy with conversations too.
            encoder: Without one, nobody asks how many people speak.
            in_company: Whether conversations may need Whisper now; they go first.
        """
        self._whisper = whisper
        self._encoder = encoder
        self._in_company = in_company

    @classmethod
    def load(cls, stt_model: str) -> "Examiner":
        """Loads Whisper (a name or a folder), and the speaker encoder where it is installed.

        Raises:
            ModelError: A model is missing or broken; the sentence names the remedy.
        """
        try:
            # The best of five beams: a person waits for one recording, not for every sentence.
            whisper = WhisperEngine(resolve(stt_model, "whisper"), beam_size=5)
        except WhisperEngineError as error:
            raise ModelError(str(error)) from None
        has_encoder = is_available(ENCODER)
        return cls(whisper, SpeakerEncoder(resolve(ENCODER, "speaker")) if has_encoder else None)

    def close(self) -> None:
        """Lets the models go."""
        self._whisper.close()

    def examine(self, recording: Recording, text: str | None = None) -> Examined:
        """Listens to a recording from beginning to end.

        Args:
            recording: As it was read.
            text: What is said in it, to be compared with what is heard; None if nobody said.

        Raises:
            WhisperEngineError: Whisper is overloaded, closed, or failed.
        """
        mono = recording.mono()
        flaw = checks.check_sound(sound.peak(mono))
        if flaw is None and recording.duration_s < checks.SHORTEST_S:
            flaw = checks.check_length(recording.duration_s)
        if flaw is not None:
            return Examined(mono, (), (flaw,))
        # Silero hears a quiet recording better when it is louder.
        audible, _ = sound.levelled(mono, SAMPLE_RATE_HZ)
        whole = map_speech(resampled(audible, SAMPLE_RATE_HZ, LISTENING_HZ))
        findings = [checks.check_speech(whole.speech_s, whole.share)]
        if findings[-1].grade == "refused":
            return Examined(mono, (), tuple(findings))
        trimmed, trimming = _trimmed(mono, *whole.bounds_s)
        audio, gain_db = sound.levelled(trimmed, SAMPLE_RATE_HZ)
        steps = (trimming, _levelling(gain_db), f"made {SAMPLE_RATE_HZ:,} Hz, mono")
        findings.append(checks.check_length(len(audio) / SAMPLE_RATE_HZ))
        if findings[-1].grade == "refused":
            return Examined(audio, steps, tuple(findings))
        return self._listen(recording, audio, steps, findings, text)

    def compare(self, examined: Examined, other: Examined, name: str) -> Finding | None:
        """Whether two recordings are of one person; None where nobody can tell.

        Args:
            examined: The recording in question.
            other: One that counts as the persona's.
            name: What the other is called.
        """
        if examined.voice is None or other.voice is None:
            return None
        return checks.check_same_voice(float(examined.voice @ other.voice), name)

    def nearest(self, examined: Examined, voices: Sequence[NDArray[np.float32]]) -> int | None:
        """Which of some recordings, float32 [samples] at 24 kHz, is most like it."""
        if examined.voice is None or self._encoder is None:
            return None
        likeness = [
            float(
                examined.voice
                @ voice_of(
                    self._encoder.embed(resampled(voice, SAMPLE_RATE_HZ, LISTENING_HZ), hop_s=1.6)
                )
            )
            for voice in voices
        ]
        return int(np.argmax(likeness)) if likeness else None

    def _listen(
        self,
        recording: Recording,
        audio: NDArray[np.float32],
        steps: tuple[str, ...],
        findings: list[Finding],
        text: str | None,
    ) -> Examined:
        heard = map_speech(resampled(audio, SAMPLE_RATE_HZ, LISTENING_HZ))
        findings += [
            checks.check_clipping(sound.clipped_share(recording.samples)),
            checks.check_bandwidth(sound.bandwidth_hz(audio, SAMPLE_RATE_HZ)),
            checks.check_noise(heard.snr_db),
        ]
        voice = None
        if self._encoder is None:
            findings.append(
                Finding(
                    "warning",
                    "Whether one person speaks was not checked; for that, run "
                    f"`csm-agent models fetch {ENCODER}`.",
                )
            )
        else:
            windows = self._encoder.embed(heard.voice)
            voice = voice_of(windows)
            findings.append(checks.check_one_voice(likeness_of_parts(windows)))
        by_ear = listen_in_company if self._in_company() else listen
        said = by_ear(self._whisper, heard)
        findings.append(checks.check_understood(said.text, said.avg_logprob, said.is_speech))
        if text is not None:
            findings.append(checks.check_words(compare(text, said.text)))
        return Examined(audio, steps, tuple(findings), said.text, voice)


def _trimmed(
    audio: NDArray[np.float32], begin_s: float, end_s: float
) -> tuple[NDArray[np.float32], str]:
    """From a little before the first word to a little after the last."""
    begin = max(0, int((begin_s - _KEPT_S) * SAMPLE_RATE_HZ))
    end = min(len(audio), int((end_s + _KEPT_S) * SAMPLE_RATE_HZ))
    cut = {"before the first word": begin, "after the last": len(audio) - end}
    cuts = [
        f"{samples / SAMPLE_RATE_HZ:.1f} s {where}"
        for where, samples in cut.items()
        if samples >= _WORTH_SAYING_S * SAMPLE_RATE_HZ
    ]
    return audio[begin:end], f"cut {' and '.join(cuts)}" if cuts else "no silence to cut"


def _levelling(gain_db: float) -> str:
    if abs(gain_db) < 0.5:
        return "as loud as it should be"
    return f"made {abs(gain_db):.0f} dB {'louder' if gain_db > 0 else 'quieter'}"
