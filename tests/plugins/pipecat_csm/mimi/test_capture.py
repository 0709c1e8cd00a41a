"""A decoding step can be one CUDA graph: proven on the CPU, by what it does not do."""

import gc
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.plugins.pipecat_csm.mimi.reference import Pair

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "item"}


class NoWaiting(TorchDispatchMode):
    """Fails where the host would wait for the device, or a shape depend on data."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        assert name not in WAITING, f"{name} waits for the device"
        self.calls += 1
        return func(*args, **(kwargs or {}))


def some(batch: int, step: int) -> Tensor:
    """Now these streams, now those."""
    return (torch.arange(batch) + step) % 3 != 0


def test_a_step_is_one_graph_and_the_same(exact: Pair):
    torch._dynamo.reset()
    compiled = torch.compile(exact.ours.decode_step, fullgraph=True, backend="eager")
    one, other = exact.ours.decode_state(4), exact.ours.decode_state(4)
    clips = torch.stack([exact.codes(20, seed) for seed in range(4)])
    for step in range(20):
        codes, active = clips[:, :, step], some(4, step)
        wanted = exact.ours.decode_step(codes, one, active=active)
        assert torch.equal(compiled(codes, other, active=active), wanted)
    for a, b in zip(one.tensors(), other.tensors(), strict=True):
        assert torch.equal(a, b)


def test_a_step_of_some_rows_is_one_graph(plain: Pair):
    torch._dynamo.reset()
    ours = plain.ours

    @torch.compile(fullgraph=True, backend="eager")
    def step(codes: Tensor, state: Any, active: Tensor) -> Tensor:
        return ours.decode_step(codes, state.rows(2), active=active)

    one, other = ours.decode_state(4), ours.decode_state(4)
    active = torch.ones(2, dtype=torch.bool)
    for frame in plain.codes(20).T:
        codes = frame.expand(2, -1)
        wanted = ours.decode_step(codes, one.rows(2), active=active)
        assert torch.equal(step(codes, other, active), wanted)
    assert other.steps.tolist() == [20, 20, 0, 0]


def test_a_new_beginning_is_one_graph(plain: Pair):
    torch._dynamo.reset()
    state = plain.ours.decode_state(2)
    for tensor in state.tensors():
        tensor.fill_(1)
    reset = torch.compile(plain.ours.reset, fullgraph=True, backend="eager")
    reset(state, torch.tensor([True, False]))
    assert all(not tensor[0].any() and tensor[1].all() for tensor in state.tensors())


def test_fifty_steps_never_wait_for_the_device(exact: Pair):
    state, codes = exact.ours.decode_state(3), exact.codes(50)
    masks = [some(3, step) for step in range(50)]
    with NoWaiting() as watched:
        for step in range(50):
            exact.ours.decode_step(codes[:, step].expand(3, -1), state, active=masks[step])
            exact.ours.reset(state, ~masks[step])
    assert watched.calls > 50


def test_a_thousand_steps_leave_everything_where_it_was(plain: Pair):
    state, codes = plain.ours.decode_state(2), plain.codes(1000)
    places = [(tensor.data_ptr(), tensor.shape) for tensor in state.tensors()]
    alive = 0
    for step in range(1000):
        plain.ours.decode_step(codes[:, step].expand(2, -1), state, active=some(2, step))
        if step == 10:
            alive = tensors_alive()
    assert places == [(tensor.data_ptr(), tensor.shape) for tensor in state.tensors()]
    assert tensors_alive() <= alive


def tensors_alive() -> int:
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def test_the_model_keeps_nothing(plain: Pair):
    before = {name: tensor.clone() for name, tensor in plain.ours.named_buffers()}
    plain.ours.decode(plain.codes(20))
    plain.ours.encode(plain.sound(500))
    after = dict(plain.ours.named_buffers())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
