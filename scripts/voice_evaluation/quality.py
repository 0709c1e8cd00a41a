"""How good does it sound? A prediction of listeners' opinions, 1 (bad) to 5 (excellent).

DistillMOS (https://arxiv.org/abs/2502.05356, MIT) was taught by listeners' ratings of speech that
was coded, transmitted and synthesised. It hears no words.
"""

import contextlib
import io

import torch
from distillmos import ConvTransformerSQAModel
from numpy.typing import NDArray


class Critic:
    """The loaded model (17 MB, on the CPU)."""

    def __init__(self) -> None:
        """Loads it."""
        with contextlib.redirect_stdout(io.StringIO()):  # it says where it has loaded it from
            self._model = ConvTransformerSQAModel().eval()

    def rate(self, audio: NDArray) -> float | None:
        """Rates float32 [samples] at 16 kHz; None where there are none.

        What is shorter than 7.7 s is followed by silence, as it was when the model was taught.
        """
        if not len(audio):
            return None
        with torch.inference_mode():
            return float(self._model(torch.from_numpy(audio)[None]))
