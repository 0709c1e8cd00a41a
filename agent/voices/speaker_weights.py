"""The weights of Resemblyzer's voice encoder, read without torch.

The file is torch's of before 2020: five pickles (magic number, protocol, machine, objects, names of
storages), then each storage as its length and its numbers. Only what such a file needs can be
unpickled; a file is nevertheless to be trusted by its hash first (see `agent.models`).
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from agent.models import ModelError

_MAGIC = 0x1950A86A20F9469CFC6C
_LENGTH_BYTES = 8
_FLOAT_BYTES = 4


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of the model's state, by name.

    Raises:
        ModelError: The file is not such a file.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (OSError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} is not the weights of a voice encoder ({error}).") from None


def _read(file: BinaryIO) -> dict[str, NDArray[np.float32]]:
    if _Unpickler(file).load() != _MAGIC:
        raise ValueError("it does not begin as torch's files do")
    for _ in ("protocol", "machine"):
        _Unpickler(file).load()
    objects = _Unpickler(file)
    state: dict[str, _Tensor] = objects.load()["model_state"]
    storages: dict[str, NDArray[np.float32]] = {}
    for key in _Unpickler(file).load():
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        storages[key] = np.frombuffer(file.read(length * _FLOAT_BYTES), "<f4")
    return {name: tensor.read(storages) for name, tensor in state.items()}


class _Tensor:
    """A view of a storage that is read later."""

    def __init__(self, storage: str, offset: int, shape: tuple[int, ...], *_: Any) -> None:
        self._storage, self._offset, self._shape = storage, offset, shape

    def read(self, storages: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        size = int(np.prod(self._shape))
        return storages[self._storage][self._offset : self._offset + size].reshape(self._shape)


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): "float32",
}


class _Unpickler(pickle.Unpickler):
    """Makes dictionaries and tensors, and nothing else that a pickle may ask for."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it wants {module}.{name}")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> str:
        # ("storage", kind, key, device, length, view)
        if pid[1] != "float32":
            raise pickle.UnpicklingError("its numbers are not float32")
        return pid[2]
