"""What can be heard of a model while it learns: some held-out sentences, by Whisper."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scripts.mini_training.data.corpus import Corpus
from scripts.mini_training.export import TEMPERATURE, TOP_K, write
from scripts.mini_training.settings import SpeechSize
from scripts.mini_training.speech.model import LearningSpeech
from scripts.mini_training.voice import Voicebox, segment_of
from scripts.voice_evaluation.judges import for_judges
from scripts.voice_evaluation.words import Listener, compare

Audio = NDArray[np.float32]
Listen = Callable[[nn.Module], dict[str, float]]


def word_error_rate(listener: Listener, texts: list[str], audios: list[Audio]) -> float:
    """Of all of them together."""
    found = [
        compare(text, listener.hear(for_judges(audio)))
        for text, audio in zip(texts, audios, strict=True)
    ]
    return sum(one.errors for one in found) / max(1, sum(len(one.said) for one in found))


def codec_listener(listener: Listener, corpus: Corpus, samples: int) -> Listen:
    """Hears held-out sentences that have gone through a `LearningCodec`."""
    chosen = corpus.utterances[:samples]

    def listen(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        audios = []
        for one in chosen:
            audio = torch.from_numpy(corpus.audio(one))
            whole = nn.functional.pad(audio, (0, -len(audio) % 1_920)).to(device)
            audios.append(model(whole[None]).audio[0].cpu().numpy())
        return {"WER": word_error_rate(listener, [one.text for one in chosen], audios)}

    return listen


def speech_listener(
    listener: Listener, corpus: Corpus, samples: int, size: SpeechSize, codec: Any, folder: Path
) -> Listen:
    """Hears a `LearningSpeech` speak held-out sentences after one of the same voice.

    It is exported and spoken with by the project's own engine, as it will be when it is done.
    """
    chosen = [
        (one, [other for other in corpus.utterances if other.voice == one.voice and other != one])
        for one in corpus.utterances[:samples]
    ]

    def listen(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, LearningSpeech)
        weights = {name: weight.cpu() for name, weight in model.speech_weights().items()}
        write(folder, size, codec, weights)
        audios, endless = [], 0
        with Voicebox(folder, TEMPERATURE, TOP_K) as voicebox:
            for number, (one, others) in enumerate(chosen):
                context = [segment_of(corpus, other) for other in others[:1]]
                reply = voicebox.speak(one.text, context, number)
                audios.append(reply.audio)
                endless += reply.runaway is not None
        texts = [one.text for one, _ in chosen]
        return {
            "WER": word_error_rate(listener, texts, audios),
            "endless": endless / len(chosen),
        }

    return listen
