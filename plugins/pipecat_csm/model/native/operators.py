"""The kernels as operators of torch: by their schemas a compiler knows what they read and write."""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipecat_csm.model.native.library import kernels

_long, _pointer = ctypes.c_int64, ctypes.c_void_p


class Stack(ctypes.Structure):
    """`Stack` of `kernels/transformer.h`."""

    _fields_ = (
        *((name, _long) for name in ("format", "layers", "hidden", "intermediate")),
        *((name, _long) for name in ("heads", "kv_heads", "head_dim")),
        ("norm_eps", ctypes.c_double),
        ("weights", _pointer),
        ("weight_bytes", _long),
        ("cos", _pointer),
        ("sin", _pointer),
    )


class Cache(ctypes.Structure):
    """`Cache` of `kernels/attention.h`."""

    _fields_ = (
        *((name, _pointer) for name in ("keys", "values")),
        *((name, _long) for name in ("layer", "slot", "position")),
    )


class Sampling(ctypes.Structure):
    """`Sampling` of `kernels/sample.h`."""

    _fields_ = (
        *((name, _pointer) for name in ("temperature", "top_k", "min_p", "key", "frame")),
        ("most", _long),
    )


class FrameMaker(ctypes.Structure):
    """`FrameMaker` of `kernels/frame.h`."""

    _fields_ = (
        ("depth", ctypes.POINTER(Stack)),
        *((name, _long) for name in ("codebooks", "vocabulary", "legal")),
        *((name, _long) for name in ("backbone_hidden", "format")),
        *((name, _pointer) for name in ("first_head", "projection", "heads", "inputs")),
    )


def stack_of(shape: Sequence[int], eps: float, weights: Tensor, cos: Tensor, sin: Tensor) -> Stack:
    """The C structure; the tensors must outlive it."""
    pointers = weights.data_ptr(), weights.numel(), cos.data_ptr(), sin.data_ptr()
    return Stack(*shape, eps, *pointers)


def cache_of(keys: Tensor, values: Tensor) -> Cache:
    """The C structure of keys and values [layers, slots, positions, kv_heads, head_dim]."""
    return Cache(keys.data_ptr(), values.data_ptr(), *keys.stride()[:3])


class Source(ctypes.Structure):
    """`Source` of `kernels/pack.h`."""

    _fields_ = (
        ("data", _pointer),
        *((name, _long) for name in ("row_stride", "column_stride", "columns")),
        ("order", _pointer),
    )


def room(*shape: int) -> Tensor:
    """uint8 of that shape, uninitialised, in large pages where the system has them."""
    made = torch.empty(shape, dtype=torch.uint8)
    loaded().csm_prefer_large_pages(_pointer(made.data_ptr()), _long(made.numel()))
    return made


def pack(weight: Tensor, form: int, order: Tensor, to: Tensor) -> None:
    """Packs a matrix [rows, columns] in bfloat16.

    Args:
        weight: Of any strides.
        form: A number of `FORMATS`.
        order: int64: which of its rows each packed row is, -1 for zeros; a multiple of 16.
        to: uint8, as long as the packed matrix is.
    """
    source = Source(weight.data_ptr(), *weight.stride(), weight.shape[1], order.data_ptr())
    loaded().csm_pack(
        _long(form),
        _long(len(order)),
        _long(weight.shape[1]),
        ctypes.byref(source),
        _pointer(to.data_ptr()),
        torch.get_num_threads(),
    )


def loaded() -> Any:
    """The library, which must be there."""
    found = kernels()
    if found is None:
        raise RuntimeError("CSM's kernels are not there, though a model was packed for them.")
    return found


@torch.library.custom_op("pipecat_csm::linear", mutates_args=(), device_types="cpu")
def linear(x: Tensor, packed: Tensor, form: int, rows: int) -> Tensor:
    """x [count, columns] bfloat16 times a packed matrix [rows, columns]: float32 [count, rows]."""
    x = x.contiguous()
    out = x.new_empty(len(x), rows, dtype=torch.float32)
    loaded().csm_linear(
        _long(form),
        _long(rows),
        _long(x.shape[1]),
        _pointer(packed.data_ptr()),
        _pointer(x.data_ptr()),
        _long(len(x)),
        _pointer(out.data_ptr()),
        torch.get_num_threads(),
    )
    return out


@linear.register_fake
def _(x: Tensor, packed: Tensor, form: int, rows: int) -> Tensor:
    return x.new_empty(len(x), rows, dtype=torch.float32)


@torch.library.custom_op(
    "pipecat_csm::transformer", mutates_args=("keys", "values"), device_types="cpu"
)
def transformer(
    x: Tensor,
    keys: Tensor,
    values: Tensor,
    positions: Tensor,
    written: Tensor,
    span: int,
    weights: Tensor,
    cos: Tensor,
    sin: Tensor,
    shape: Sequence[int],
    eps: float,
) -> Tensor:
    """Rows x [batch, time, hidden] through all layers and the final norm.

    Args:
        x: bfloat16; row b is of slot b.
        keys: [layers, batch, positions + 1, kv_heads, head_dim], as `values`; changed in place.
        values: Likewise.
        positions: [batch, time] int64; a row sees the cache up to its own.
        written: [batch, time] int64: where a row's key and value go. Rows for the last of the
            cache's positions, its bin, are left out: they cost nothing, and give zeros.
        span: No more than so many positions are seen.
        weights: uint8, as `NativeTransformer` packs them.
        cos: [max_positions, 1, head_dim], as `sin`.
        sin: Likewise.
        shape: The fields of `Stack` up to `head_dim`.
        eps: Of the norms.
    """
    x, positions, written = (t.contiguous() for t in (x, positions, written))
    out = torch.empty_like(x)
    stack = stack_of(shape, eps, weights, cos, sin)
    cache = cache_of(keys, values)
    batch, time, _ = x.shape
    loaded().csm_transformer(
        ctypes.byref(stack),
        ctypes.byref(cache),
        _pointer(x.data_ptr()),
        _pointer(positions.data_ptr()),
        _pointer(written.data_ptr()),
        _long(batch * time),
        _long(time),
        _long(keys.shape[2] - 1),
        _long(span),
        _pointer(out.data_ptr()),
        torch.get_num_threads(),
    )
    return out


@transformer.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("pipecat_csm::frame", mutates_args=("keys", "values"), device_types="cpu")
def frame(
    hidden: Tensor,
    keys: Tensor,
    values: Tensor,
    weights: Tensor,
    cos: Tensor,
    sin: Tensor,
    shape: Sequence[int],
    eps: float,
    first_head: Tensor,
    projection: Tensor,
    heads: Tensor,
    form: int,
    inputs: Tensor,
    legal: int,
    temperature: Tensor,
    top_k: Tensor,
    min_p: Tensor,
    key: Tensor,
    number: Tensor,
    running: Tensor,
    most: int,
) -> Tensor:
    """The codes [batch, codebooks] int64 of a frame; zeros where nothing runs.

    Args:
        hidden: [batch, backbone_hidden] bfloat16.
        keys: The depth decoder's; see `transformer`, as for what follows up to `eps`.
        values: Likewise.
        weights: Likewise.
        cos: Likewise.
        sin: Likewise.
        shape: Likewise.
        eps: Likewise.
        first_head: The packed matrix of the first codebook, in `form`.
        projection: The packed matrix from the backbone's width to the depth decoder's, likewise.
        heads: [codebooks - 1, bytes]: the packed matrices of the other codebooks, likewise.
        form: Of the matrices above.
        inputs: [codebooks - 1, audio_vocab, hidden] bfloat16: what the depth decoder is fed.
        legal: Codes from there on are not drawn.
        temperature: [batch]; see `Sampling`, as for what follows up to `key`.
        top_k: Likewise.
        min_p: Likewise.
        key: Likewise.
        number: [batch] int64, of the frame in its Segment.
        running: [batch] bool.
        most: No row's top-k is larger.
    """
    batch, codebooks = len(hidden), len(heads) + 1
    codes = hidden.new_empty(batch, codebooks, dtype=torch.long)
    read = hidden, temperature, top_k, min_p, key, number, running
    hidden, temperature, top_k, min_p, key, number, running = (t.contiguous() for t in read)
    stack = stack_of(shape, eps, weights, cos, sin)
    cache = cache_of(keys, values)
    drawn = (temperature, top_k, min_p, key, number)
    sampling = Sampling(*(t.data_ptr() for t in drawn), most)
    maker = FrameMaker(
        ctypes.pointer(stack),
        codebooks,
        inputs.shape[1],
        legal,
        hidden.shape[1],
        form,
        *(t.data_ptr() for t in (first_head, projection, heads, inputs)),
    )
    loaded().csm_frame(
        ctypes.byref(maker),
        ctypes.byref(cache),
        ctypes.byref(sampling),
        _pointer(hidden.data_ptr()),
        _pointer(running.data_ptr()),
        _long(batch),
        _pointer(codes.data_ptr()),
        torch.get_num_threads(),
    )
    return codes


@frame.register_fake
def _(hidden: Tensor, keys: Tensor, *rest: Any) -> Tensor:
    heads = rest[8]
    return hidden.new_empty(len(hidden), len(heads) + 1, dtype=torch.long)
