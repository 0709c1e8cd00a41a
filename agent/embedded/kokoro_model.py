"""The Kokoro v1.0 network itself: symbols in, audio and phoneme durations out."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from agent.embedded.phonemes import VOCABULARY

SAMPLE_RATE_HZ = 24_000
MAX_SYMBOLS = 510
"""Positions of the model, less the padding at either end."""

STYLE_SHAPE = (510, 1, 256)
"""A voice: one style vector for every length of text."""

_DURATION_FRAME_S = 0.025
# The name that the usual export gives to the rounded phoneme durations.
_DURATIONS = "/encoder/Clip_output_0"
_PADDING_ID = 0


class KokoroError(Exception):
    """Why the voice cannot speak, in one sentence for the person who runs the agent."""


def run_options() -> ort.RunOptions:
    """Options of one run, after which its memory is given back.

    Otherwise the process keeps what the longest sentence took: 770 MB in place of 470. Without
    onnxruntime's arena it is worse, as malloc fragments: up to 2.9 GB.
    """
    options = ort.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


class KokoroModel:
    """One loaded network. `run` keeps nothing, and may be called from several threads."""

    def __init__(self, path: Path, *, threads: int) -> None:
        """Load the network (about half a second).

        Raises:
            KokoroError: The file is missing, or is not a Kokoro ONNX model.
        """
        if not path.is_file():
            raise KokoroError(
                f"There is no Kokoro model at {path}; fetch it with `csm-agent models fetch` or "
                "give the path of a Kokoro v1.0 ONNX file."
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the processor from Whisper and the language model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        self._session = _session(path.read_bytes(), options, path)
        inputs = self._session.get_inputs()
        if len(inputs) != 3 or inputs[1].shape[-1] != STYLE_SHAPE[-1]:
            raise KokoroError(
                f"{path} is an ONNX model but not Kokoro v1.0, which takes tokens, style and "
                "speed; fetch it with `csm-agent models fetch`."
            )
        self._inputs = [entry.name for entry in inputs]
        self.has_durations = len(self._session.get_outputs()) > 1

    def run(
        self,
        symbols: str,
        style: NDArray[np.float32],
        speed: float,
        options: ort.RunOptions,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Speak at most `MAX_SYMBOLS` symbols of the vocabulary.

        Args:
            symbols: Kokoro phonemes, stress, spaces and punctuation.
            style: [510, 1, 256] the voice.
            speed: 1.0 is the voice's own.
            options: From `run_options`. Setting its ``terminate`` from another thread ends the
                call within milliseconds.

        Returns:
            Audio float32 [samples] at 24 kHz, and durations in seconds
            [1 + symbols + 1] with the silence before and after; None if this export has none.

        Raises:
            KokoroError: The run failed or was terminated.
        """
        ids = [_PADDING_ID, *(VOCABULARY[symbol] for symbol in symbols), _PADDING_ID]
        values = (
            np.array([ids], np.int64),
            style[len(symbols) - 1],
            np.array([speed], np.float32),
        )
        try:
            outputs = self._session.run(None, dict(zip(self._inputs, values, strict=True)), options)
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            raise KokoroError(f"The voice model failed on a piece of text: {error}") from error
        audio = np.asarray(outputs[0], np.float32).reshape(-1)
        if not self.has_durations:
            return audio, None
        return audio, np.asarray(outputs[1], np.float32).reshape(-1) * _DURATION_FRAME_S


def _session(data: bytes, options: ort.SessionOptions, path: Path) -> ort.InferenceSession:
    """Open the network with its phoneme durations as a second output, where it has them."""
    for model in (data + _extra_output(_DURATIONS), data):
        try:
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            failure = error
    raise KokoroError(
        f"{path} is not a Kokoro ONNX model that can be loaded (half a download, or another "
        "file); fetch it again with `csm-agent models fetch`."
    ) from failure


def _extra_output(tensor: str) -> bytes:
    """Make the bytes that, appended to an ONNX file, declare a float tensor as an output.

    A protobuf message may be cut in two: a second ``graph`` field is merged with the first, and
    its repeated fields are concatenated. So no ONNX library is needed to add one output.
    """
    float_tensor = _field(1, b"\x08\x01")  # TypeProto.tensor_type { elem_type: FLOAT }
    value_info = _field(1, tensor.encode()) + _field(2, float_tensor)
    return _field(7, _field(12, value_info))  # ModelProto.graph { output { ... } }


def _field(number: int, payload: bytes) -> bytes:
    """Encode a length-delimited protobuf field of fewer than 128 bytes."""
    return bytes([number << 3 | 2, len(payload)]) + payload
