"""One decode of one piece of audio, in an encoder window no longer than it needs.

Whisper's encoder is made for 30 s, and most of what it costs on a short utterance is spent on
padding. It also works on fewer frames, as long as the audio is followed by enough padding for the
decoder to see the end; with too little it repeats the sentence for ever. So a decode uses a window
that is `_END_S` longer than the audio, and a text that looks like an accident is decoded again
in the full window. The decoder also writes timestamps, which cost nothing and keep it from
stopping at the first pause; where it stops there all the same, the rest is decoded on its own.
"""

import time
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens

from pipecat_whisper.transcript import Transcript

SAMPLE_RATE_HZ = 16_000
FULL_WINDOW_S = 30.0

_END_S = 3.0
_FRAMES_PER_S = 100
# Nobody says more tokens a second than this; a decode that does is in a loop.
_TOKENS_PER_S = 20
_SPARE_TOKENS = 32
_MAX_INITIAL_TIMESTAMP_S = 1.0
# Sound after the end of the text is a voice when it goes on for so long, this loud at times
# compared with the loudest moment of all.
_REST_S = 1.0
_LEAST_PROGRESS_S = 0.5
_REST_LEVEL = 0.1
_LEVEL_HOP = SAMPLE_RATE_HZ // 20
# One greedy try and one sampled: more of them, as faster-whisper does, can take ten seconds.
_FALLBACK_TEMPERATURES = (0.0, 0.4)


class Decoder:
    """Decodes with one loaded model. Stateless between calls, so threads may share it."""

    def __init__(self, model: WhisperModel, *, beam_size: int, min_window_s: float) -> None:
        """Wraps a loaded model.

        Args:
            model: The model.
            beam_size: Beams of the search; 1 is greedy.
            min_window_s: The shortest encoder window; 30 always uses the full one.
        """
        self._model = model
        self._beam_size = beam_size
        self._min_window_s = min_window_s
        self._tokenizer = lru_cache(maxsize=None)(self._make_tokenizer)

    def decode(
        self,
        audio: np.ndarray,
        *,
        language: str | None,
        prompt: str | None,
        hotwords: str | None,
        retry: bool,
    ) -> Transcript:
        """Transcribes `audio`.

        Args:
            audio: float32 [samples] at 16 kHz, in [-1, 1].
            language: Whisper's code, or None to detect it.
            prompt: Text that the speech continues, or whose style and spelling it shares.
            hotwords: Words to expect.
            retry: Decode again in the full window when the text looks like an accident.
        """
        started = time.perf_counter()
        duration_s = len(audio) / SAMPLE_RATE_HZ
        if duration_s > FULL_WINDOW_S:
            return self._decode_fully(audio, language, prompt, hotwords, started)
        transcript = self._decode_short(audio, language, prompt, hotwords, started)
        if not retry or transcript.is_sound or not transcript.is_speech():
            return transcript
        if transcript.heard_s < duration_s and replace(transcript, truncated=False).is_sound:
            rest = self.decode(
                audio[int(transcript.heard_s * SAMPLE_RATE_HZ) :],
                language=transcript.language,
                prompt=prompt,
                hotwords=hotwords,
                retry=True,
            )
            return _joined(transcript, rest)
        return self._decode_fully(audio, transcript.language, prompt, hotwords, started)

    def find_words(
        self, audio: np.ndarray, text: str, *, language: str
    ) -> tuple[tuple[str, float], ...]:
        """Where the words of a known text begin, by the decoder's attention to the audio.

        Args:
            audio: float32 [samples] at 16 kHz, in [-1, 1], at most 30 s.
            text: What is said in it.
            language: Whisper's code.

        Returns:
            Each word of the text as it is written, with its second.
        """
        model = self._model
        features = model.feature_extractor(audio)
        window_s = self._window_s(len(audio) / SAMPLE_RATE_HZ)
        encoded = model.encode(_padded(features, window_s))
        tokenizer, _ = self._tokenizer(language)
        tokens = tokenizer.encode(f" {' '.join(text.split())}")
        frames = min(features.shape[1] - 1, int(window_s * _FRAMES_PER_S))
        # It takes a batch, whatever it is annotated to take.
        batch: Any = [tokens]
        [parts] = model.find_alignment(tokenizer, batch, encoded, frames)
        starts = [float(part["start"]) for part in parts if part["word"].startswith(" ")]
        # Where attention wanders off the end, the rest begins there.
        words = text.split()
        starts += [len(audio) / SAMPLE_RATE_HZ] * (len(words) - len(starts))
        return tuple(zip(words, starts, strict=False))

    def _window_s(self, duration_s: float) -> float:
        return min(FULL_WINDOW_S, max(self._min_window_s, duration_s + _END_S))

    def _decode_short(
        self,
        audio: np.ndarray,
        language: str | None,
        prompt: str | None,
        hotwords: str | None,
        started: float,
    ) -> Transcript:
        model = self._model
        duration_s = len(audio) / SAMPLE_RATE_HZ
        window_s = self._window_s(duration_s)
        encoded = model.encode(_padded(model.feature_extractor(audio), window_s))
        if language is None:
            language = self._detect(encoded)
        tokenizer, suppressed = self._tokenizer(language)
        tokens = model.get_prompt(
            tokenizer,
            tokenizer.encode(f" {prompt.strip()}") if prompt else [],
            hotwords=hotwords,
        )
        limit = len(tokens) + _SPARE_TOKENS + int(_TOKENS_PER_S * duration_s)
        limit = min(limit, model.max_length)
        result = model.model.generate(
            encoded,
            [tokens],
            beam_size=self._beam_size,
            max_length=limit,
            max_initial_timestamp_index=round(_MAX_INITIAL_TIMESTAMP_S / model.time_precision),
            suppress_tokens=suppressed,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        ids = result.sequences_ids[0]
        text = tokenizer.decode(ids).strip()
        heard_s = duration_s
        if ids and ids[-1] >= tokenizer.timestamp_begin:
            end_s = (ids[-1] - tokenizer.timestamp_begin) * model.time_precision
            if end_s >= _LEAST_PROGRESS_S and _has_voice(audio, int(end_s * SAMPLE_RATE_HZ)):
                heard_s = end_s
        return Transcript(
            text=text,
            language=language,
            no_speech_prob=result.no_speech_prob,
            # CTranslate2 divides by the tokens written; Whisper also counts the end of the text.
            avg_logprob=result.scores[0] * len(ids) / (len(ids) + 1),
            compression_ratio=get_compression_ratio(text),
            truncated=len(tokens) + len(ids) >= limit or heard_s < duration_s,
            heard_s=heard_s,
            duration_s=duration_s,
            window_s=window_s,
            decode_s=time.perf_counter() - started,
        )

    def _decode_fully(
        self,
        audio: np.ndarray,
        language: str | None,
        prompt: str | None,
        hotwords: str | None,
        started: float,
    ) -> Transcript:
        # faster-whisper's own way: 30 s windows, one after another, and other temperatures
        # where a text fails its checks.
        lazy, info = self._model.transcribe(
            audio,
            language=language,
            beam_size=self._beam_size,
            temperature=_FALLBACK_TEMPERATURES,
            best_of=1,
            initial_prompt=prompt,
            hotwords=hotwords,
            condition_on_previous_text=False,
        )
        segments = list(lazy)
        text = " ".join(segment.text.strip() for segment in segments)
        lengths = [len(segment.tokens) for segment in segments]
        return Transcript(
            text=text,
            language=info.language,
            no_speech_prob=min((s.no_speech_prob for s in segments), default=1.0),
            avg_logprob=float(np.average([s.avg_logprob for s in segments], weights=lengths))
            if segments
            else 0.0,
            compression_ratio=max((s.compression_ratio for s in segments), default=0.0),
            truncated=False,
            heard_s=len(audio) / SAMPLE_RATE_HZ,
            duration_s=len(audio) / SAMPLE_RATE_HZ,
            window_s=FULL_WINDOW_S,
            decode_s=time.perf_counter() - started,
        )

    def _detect(self, encoded) -> str:
        if not self._model.model.is_multilingual:
            return "en"
        [(token, _), *_] = self._model.model.detect_language(encoded)[0]
        return token.strip("<|>")

    def _make_tokenizer(self, language: str) -> tuple[Tokenizer, list[int]]:
        tokenizer = Tokenizer(
            self._model.hf_tokenizer,
            self._model.model.is_multilingual,
            task="transcribe",
            language=language,
        )
        return tokenizer, list(get_suppressed_tokens(tokenizer, (-1,)) or ())


def _padded(features: np.ndarray, window_s: float) -> np.ndarray:
    """Log-mel [mels, frames] cut or padded to the window.

    The padding is 0 in the log-mel domain, as faster-whisper pads. Padding with silent audio
    looks the same to the ear, but made the short windows loop.
    """
    frames = int(window_s * _FRAMES_PER_S)
    features = features[:, : min(features.shape[1] - 1, frames)]
    return np.ascontiguousarray(np.pad(features, ((0, 0), (0, frames - features.shape[1]))))


def _has_voice(audio: np.ndarray, begin: int) -> bool:
    """Whether there is speech from sample `begin` on, going by its loudness."""
    if len(audio) - begin < _REST_S * SAMPLE_RATE_HZ:
        return False
    energy = np.square(audio[: len(audio) // _LEVEL_HOP * _LEVEL_HOP])
    energy = energy.reshape(-1, _LEVEL_HOP).mean(axis=1)
    # The first moment of the rest still echoes the last word.
    rest = energy[begin // _LEVEL_HOP + 2 :]
    return bool(rest.max() > _REST_LEVEL**2 * energy.max())


def _joined(first: Transcript, rest: Transcript) -> Transcript:
    """Two transcripts of one piece of audio as one; a rest in which nobody speaks adds nothing."""
    if not rest.is_speech():
        return replace(
            first,
            truncated=False,
            heard_s=first.duration_s,
            decode_s=first.decode_s + rest.decode_s,
        )
    weights = [max(1, len(first.text)), max(1, len(rest.text))]
    logprobs = [first.avg_logprob, rest.avg_logprob]
    return replace(
        rest,
        text=f"{first.text} {rest.text}",
        no_speech_prob=min(first.no_speech_prob, rest.no_speech_prob),
        avg_logprob=float(np.average(logprobs, weights=weights)),
        compression_ratio=max(first.compression_ratio, rest.compression_ratio),
        heard_s=first.duration_s,
        duration_s=first.duration_s,
        window_s=max(first.window_s, rest.window_s),
        decode_s=first.decode_s + rest.decode_s,
    )
