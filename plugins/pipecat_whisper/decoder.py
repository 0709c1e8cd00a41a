"""One decode of one piece of audio, in an encoder window no longer than it needs.

Whisper's encoder is made for 30 s, and most of what it costs on a short utterance is spent on
padding. It also works on fewer frames, as long as the audio is followed by enough padding for the
decoder to see the end; with too little it repeats the sentence for ever. So a decode uses a window
that is `_END_S` longer than the audio, and a text that looks like an accident is decoded again
in the full window.
"""

import time
from functools import lru_cache

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
        if retry and transcript.is_speech() and not transcript.is_sound:
            return self._decode_fully(audio, transcript.language, prompt, hotwords, started)
        return transcript

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
        window_s = min(FULL_WINDOW_S, max(self._min_window_s, duration_s + _END_S))
        encoded = model.encode(_padded(model.feature_extractor(audio), window_s))
        if language is None:
            language = self._detect(encoded)
        tokenizer, suppressed = self._tokenizer(language)
        tokens = model.get_prompt(
            tokenizer,
            tokenizer.encode(f" {prompt.strip()}") if prompt else [],
            without_timestamps=True,
            hotwords=hotwords,
        )
        limit = len(tokens) + _SPARE_TOKENS + int(_TOKENS_PER_S * duration_s)
        limit = min(limit, model.max_length)
        result = model.model.generate(
            encoded,
            [tokens],
            beam_size=self._beam_size,
            max_length=limit,
            suppress_tokens=suppressed,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        ids = result.sequences_ids[0]
        text = tokenizer.decode(ids).strip()
        return Transcript(
            text=text,
            language=language,
            no_speech_prob=result.no_speech_prob,
            # CTranslate2 divides by the tokens written; Whisper also counts the end of the text.
            avg_logprob=result.scores[0] * len(ids) / (len(ids) + 1),
            compression_ratio=get_compression_ratio(text),
            truncated=len(tokens) + len(ids) >= limit,
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
