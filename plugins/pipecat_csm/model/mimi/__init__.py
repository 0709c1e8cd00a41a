"""Mimi, the codec of CSM-1B, as a streaming codec: 24 kHz sound to codes and back, frame by frame.

Kyutai's Mimi (arXiv 2410.00037), in the names of transformers' `MimiModel`, so that it loads from
its files.
"""

from pipecat_csm.model.mimi.codec import Mimi
from pipecat_csm.model.mimi.state import DecodeState, EncodeState

__all__ = ["DecodeState", "EncodeState", "Mimi"]
