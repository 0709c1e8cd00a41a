"""The one step there is: every running slot makes one frame; and the prefill before it.

Both are free of branches on data and of reads by the host, and change the state in place, so that
they run as they stand eagerly, compiled, or replayed as a graph.
"""

import torch
from torch import Tensor

from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.sampling import Draw
from pipecat_csm.model.state import StepState


def step(model: CSMModel, state: StepState, *, span: int, most: int) -> None:
    """Makes one frame in each running slot of `state`, or finds its Segment's end.

    Args:
        model: The weights.
        state: Of one bucket of slots.
        span: Every running slot's position is below it.
        most: No running slot's top-k is larger; see `sample`.
    """
    running = state.running.clone()
    hidden = model.backbone.over_slots(
        state.input[:, None], state.kv, state.position[:, None], running[:, None], span
    )[:, 0]
    draw = Draw(state.sampling, state.frame, running, most)
    codes = model.codes_of_frame(hidden, state.depth, draw)
    # transformers' rule, which leaves the last codebook out.
    end = running & (codes[:, :-1] == 0).all(-1)
    made = running & ~end
    audio = model.mimi.decode_step(codes, state.codec, active=made)

    state.position.add_(running)
    state.input.copy_(torch.where(made[:, None], model.embed_codes(codes), state.input))
    state.frame.add_(made)
    state.running.copy_(made & (state.frame < state.last_frame))
    state.codes.copy_(torch.where(made[:, None], codes, state.codes))
    state.audio.copy_(torch.where(made[:, None], audio.float(), state.audio))
    state.made.copy_(made)
    state.ended.copy_(end)


def prefill(
    model: CSMModel, state: StepState, slot: int, rows: Tensor, mask: Tensor, at: Tensor, span: int
) -> None:
    """Has one slot read rows of a prompt.

    Args:
        model: The weights.
        state: Of all slots.
        slot: Which one reads.
        rows: [time, codebooks + 1] int64.
        mask: The same shape, bool; a row that it hides altogether is padding and leaves no trace.
        at: [] int64, the position of the first row.
        span: The last row's position is below it.
    """
    positions = (at + torch.arange(len(rows), device=rows.device))[None]
    positions = positions.clamp(max=model.config.backbone.max_positions - 1)
    model.backbone.over_slots(
        model.embed_rows(rows[None], mask[None]),
        state.kv.rows(slot, 1),
        positions,
        mask.any(-1)[None],
        span,
    )
