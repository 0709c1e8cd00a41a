"""What can be heard of a model while it learns: some held-out sentences, by Whisper.

They are heard in a process of their own, which then is gone: after an engine and Whisper had run in
the process that learns, each of its steps took half as long again, to its end.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agent.models import resolve
from scripts.mini_training.data.corpus import Corpus
from scripts.mini_training.export import TEMPERATURE, TOP_K, write
from scripts.mini_training.settings import SpeechSize
from scripts.mini_training.speech.model import LearningSpeech
from scripts.mini_training.voice import Voicebox, segment_of
from scripts.voice_evaluation.judges import for_judges
from scripts.voice_evaluation.words import Listener, compare

Audio = NDArray[np.float32]
Listen = Callable[[nn.Module], dict[str, float]]
Found = TypeVar("Found")

_WHISPER = "tiny.en"


def apart(work: Callable[..., Found], *args: Any) -> Found:
    """Does some work in a new process, and returns what comes of it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *args).result()


def codec_listener(corpus: Corpus, samples: int) -> Listen:
    """Hears held-out sentences that have gone through a `LearningCodec`.

    Raises:
        ModelError: Whisper is not here.
    """
    resolve(_WHISPER, "whisper")
    chosen = corpus.utterances[:samples]
    texts = [one.text for one in chosen]

    def listen(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        audios = []
        for one in chosen:
            audio = torch.from_numpy(corpus.audio(one))
            whole = nn.functional.pad(audio, (0, -len(audio) % 1_920)).to(device)
            audios.append(model(whole[None]).audio[0].cpu().numpy())
        return {"WER": apart(word_error_rate, texts, audios)}

    return listen


def speech_listener(data: Path, samples: int, size: SpeechSize, codec: Any, folder: Path) -> Listen:
    """Hears a `LearningSpeech` speak held-out sentences after one of the same voice.

    It is exported and spoken with by the project's own engine, as it will be when it is done.

    Raises:
        ModelError: Whisper is not here.
    """
    resolve(_WHISPER, "whisper")

    def listen(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, LearningSpeech)
        weights = {name: weight.cpu() for name, weight in model.speech_weights().items()}
        write(folder, size, codec, weights)
        return apart(speak_and_hear, folder, data, samples)

    return listen


def speak_and_hear(checkpoint: Path, data: Path, samples: int) -> dict[str, float]:
    """What is understood of a checkpoint's held-out sentences, and how many do not end."""
    corpus = Corpus(data, "heldout")
    chosen = corpus.utterances[:samples]
    audios, endless = [], 0
    with Voicebox(checkpoint, TEMPERATURE, TOP_K) as voicebox:
        for number, one in enumerate(chosen):
            others = [o for o in corpus.utterances if o.voice == one.voice and o != one]
            context = [segment_of(corpus, other) for other in others[:1]]
            reply = voicebox.speak(one.text, context, number)
            audios.append(reply.audio)
            endless += reply.runaway is not None
    wer = word_error_rate([one.text for one in chosen], audios)
    return {"WER": wer, "endless": endless / len(chosen)}


def word_error_rate(texts: list[str], audios: list[Audio]) -> float:
    """Of all of them together."""
    listener = Listener(_WHISPER)
    try:
        found = [
            compare(text, listener.hear(for_judges(audio)))
            for text, audio in zip(texts, audios, strict=True)
        ]
    finally:
        listener.close()
    return sum(one.errors for one in found) / max(1, sum(len(one.said) for one in found))
