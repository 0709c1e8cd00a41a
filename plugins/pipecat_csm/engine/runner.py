"""Runs the model's step and prefill on the slots of one device. No threads, no policy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipecat_csm.errors import ContextError
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.prompt import Prompt
from pipecat_csm.model.sampling import SamplingOptions, segment_key
from pipecat_csm.model.state import StepState
from pipecat_csm.model.step import prefill, step

# Prefills are padded to one of these, so that few shapes are ever traced.
_CHUNKS = (16, 64, 256)
# Attention reads so many positions, or twice, four, ... times as many.
_SPAN = 256
# Codes that are sorted when top-k allows it; else all of them.
_FEW_CODES = 64


@dataclass(frozen=True)
class Made:
    """What one step made, by slot; tensors that the next step overwrites.

    Attributes:
        codes: [slots, codebooks] int64.
        audio: [slots, samples] float32.
        made: [slots] bool, whether there is a frame.
        ended: [slots] bool, whether the Segment's end was found.
        running: [slots] bool, whether a next step makes more.
    """

    codes: Tensor
    audio: Tensor
    made: Tensor
    ended: Tensor
    running: Tensor


Step = Callable[..., None]


class Runner:
    """The slots of one device. Call it from one thread at a time."""

    def __init__(
        self,
        model: CSMModel,
        *,
        slots: int,
        positions: int | None = None,
        step: Step = step,
    ) -> None:
        """Allocates the state of all slots at once.

        Args:
            model: Loaded and finished.
            slots: Sessions at once.
            positions: Of each slot; the model's own maximum if None.
            step: The step function, or what a compiler made of it.
        """
        weight = model.audio_embeddings.weight
        self.model = model
        self.slots = slots
        self.positions = positions or model.config.backbone.max_positions
        self.device = weight.device
        codec_dtype = next(model.mimi.parameters()).dtype
        with torch.inference_mode():  # as all that runs on it, so that compilers see one kind
            self.state = StepState.empty(
                model.config,
                model.mimi,
                slots,
                self.positions,
                self.device,
                weight.dtype,
                codec_dtype,
            )
        self._step = step
        self._views: dict[int, StepState] = {}
        # The host's own account, so that nothing need be read back to choose a bucket.
        self._position = [0] * slots
        self._top_k = [0] * slots
        self._running: set[int] = set()
        self.prefilled_rows = 0
        """Rows of prompts read since the start, without padding."""

    @torch.inference_mode()
    def warm_up(
        self, sessions: int | None = None, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Runs once, without a trace, all that a compiler would otherwise build during a call.

        Every kind of step for up to so many sessions, and every size of prompt; call it before
        anybody speaks. Samplings of more than 64 codes are built when they are first used.

        Args:
            sessions: As many may speak at once; all slots by default.
            progress: Called with how many things are done, and how many there are.
        """
        spans = sorted({min(span, self.positions) for span in _powers(_SPAN, self.positions)})
        buckets = {_bucket(size, self.slots) for size in _powers(1, sessions or self.slots)}
        # The largest first: graphs share their memory, and what suffices for it does for all.
        work = [
            partial(self._idle_step, bucket, span)
            for bucket in sorted(buckets, reverse=True)
            for span in reversed(spans)
        ]
        work += [partial(self._idle_prefill, min(size, self.positions)) for size in _CHUNKS]
        for done, item in enumerate(work):
            if progress is not None:
                progress(done, len(work))
            item()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if progress is not None:
            progress(len(work), len(work))

    def _idle_step(self, bucket: int, span: int) -> None:
        self._step(self.model, self._view(bucket), span=span, most=_FEW_CODES)

    def _idle_prefill(self, size: int) -> None:
        # Rows that are hidden altogether are padding.
        rows = torch.zeros(
            size, self.model.config.codebooks + 1, dtype=torch.long, device=self.device
        )
        at = torch.zeros((), dtype=torch.long, device=self.device)
        span = self._span(size)
        prefill(self.model, self.state, 0, rows, torch.zeros_like(rows, dtype=torch.bool), at, span)

    def prefill(self, slot: int, prompt: Prompt, at: int) -> Iterator[None]:
        """Has a slot read a prompt from position `at` on; what stood there is forgotten.

        Yields after each chunk but the last, so that others can make a frame in between.

        Raises:
            ContextError: The prompt does not fit.
        """
        end = at + len(prompt.tokens)
        if end > self.positions:
            raise ContextError(
                f"The context takes {end:,} positions; there are {self.positions:,}. Leave out its "
                "oldest Segments."
            )
        self.truncate(slot, at)
        for begin in range(0, len(prompt.tokens), _CHUNKS[-1]):
            if begin:
                yield
            rows = slice(begin, begin + _CHUNKS[-1])
            self._prefill_chunk(slot, prompt.tokens[rows], prompt.mask[rows], at + begin)

    @torch.inference_mode()
    def truncate(self, slot: int, position: int) -> None:
        """Forgets what a slot has read from `position` on; costs nothing."""
        self.state.position[slot] = position
        self._position[slot] = position

    @torch.inference_mode()
    def copy(self, source: int, target: int, positions: int) -> None:
        """Has a slot that is not running know what another has read up to `positions`.

        A copy on the device: of 1,024 positions of CSM-1B 33 MB in bfloat16.
        """
        self.state.kv.copy_slot(source, target, positions)
        self.truncate(target, positions)

    @torch.inference_mode()
    def begin(
        self, slot: int, last_row: Prompt, how: SamplingOptions, *, segment: int, frames: int
    ) -> None:
        """Starts a Segment in a slot that has read everything but the last row of its text.

        Args:
            slot: Not running.
            last_row: One row; the first step feeds it.
            how: How its codes are drawn.
            segment: The Segment's number in its session: a part of the randomness.
            frames: It is ended after as many.
        """
        state, sampling = self.state, self.state.sampling
        tokens, mask = (x.to(self.device) for x in (last_row.tokens, last_row.mask))
        state.input[slot] = self.model.embed_rows(tokens[None], mask[None])[0, 0]
        sampling.temperature[slot] = how.temperature
        sampling.top_k[slot] = how.top_k
        sampling.min_p[slot] = how.min_p
        sampling.key[slot] = torch.tensor(segment_key(how.seed, segment), device=self.device)
        state.frame[slot] = 0
        state.last_frame[slot] = frames
        fresh = torch.zeros(self.slots, dtype=torch.bool, device=self.device)
        fresh[slot] = True
        self.model.mimi.reset(state.codec, fresh)
        self._top_k[slot] = how.top_k
        self.resume(slot)

    @torch.inference_mode()
    def pause(self, slot: int) -> None:
        """Stops a slot between two frames; what it has read stays.

        `resume` has it go on as if nothing had been; a new `begin` starts another Segment.
        """
        self.state.running[slot] = False
        self._running.discard(slot)

    @torch.inference_mode()
    def resume(self, slot: int) -> None:
        """Has a paused slot go on."""
        self.state.running[slot] = True
        self._running.add(slot)

    @torch.inference_mode()
    def step(self) -> Made:
        """Makes one frame in every running slot.

        The caller pauses a slot whose Segment has ended, so that the bucket can shrink; until
        then it counts as if it went on, and nothing of it changes.
        """
        bucket = _bucket(max(self._running) + 1, self.slots)
        for slot in self._running:
            self._position[slot] = min(self._position[slot] + 1, self.positions)
        span = max(self._position[slot] for slot in self._running)
        few = all(0 < self._top_k[slot] <= _FEW_CODES for slot in self._running)
        self._step(
            self.model,
            self._view(bucket),
            span=self._span(span),
            most=_FEW_CODES if few else self.model.config.codec.codebook_size,
        )
        state = self.state
        return Made(state.codes, state.audio, state.made, state.ended, state.running)

    @torch.inference_mode()
    def _prefill_chunk(self, slot: int, tokens: Tensor, mask: Tensor, at: int) -> None:
        size = next(size for size in _CHUNKS if size >= len(tokens))
        padding = (0, 0, 0, size - len(tokens))
        prefill(
            self.model,
            self.state,
            slot,
            torch.nn.functional.pad(tokens, padding).to(self.device),
            torch.nn.functional.pad(mask, padding).to(self.device),
            torch.tensor(at, device=self.device),
            self._span(at + len(tokens)),
        )
        self.truncate(slot, at + len(tokens))
        self.prefilled_rows += len(tokens)

    def _span(self, wanted: int) -> int:
        return min(_powers(_SPAN, wanted)[-1], self.positions)

    def _view(self, bucket: int) -> StepState:
        if bucket not in self._views:
            self._views[bucket] = self.state.rows(bucket)
        return self._views[bucket]


def _bucket(wanted: int, slots: int) -> int:
    return min(_powers(1, wanted)[-1], slots)


def _powers(first: int, last: int) -> list[int]:
    """`first`, twice, four times that, ... up to the first that is not below `last`."""
    powers = [first]
    while powers[-1] < last:
        powers.append(2 * powers[-1])
    return powers
