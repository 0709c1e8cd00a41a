"""Everything that a device remembers of its sessions, at fixed addresses."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.mimi import DecodeState, Mimi
from pipecat_csm.model.sampling import Sampling
from pipecat_csm.model.transformer import KVCache


@dataclass(frozen=True)
class StepState:
    """The slots of a device; slot b's row in every tensor is its own.

    Attributes:
        kv: The backbone's cache: what each slot has read.
        position: [slots] int64, how many positions of `kv` are valid.
        input: [slots, hidden], the embedding that the next step feeds: of the last row of text at
            first, then of the last frame. It is not in `kv` yet.
        running: [slots] bool; a step changes nothing of a slot that is not running.
        frame: [slots] int64, the next frame's number in its Segment.
        last_frame: [slots] int64; a slot stops after as many frames.
        sampling: How each slot samples.
        depth: The depth decoder's cache of one frame.
        codec: Mimi's decoder.
        codes: [slots, codebooks] int64, what the last step made.
        audio: [slots, samples] float32, likewise.
        made: [slots] bool: the last step made a frame here. An end is not a frame.
        ended: [slots] bool: the last step found the end of the Segment here.
    """

    kv: KVCache
    position: Tensor
    input: Tensor
    running: Tensor
    frame: Tensor
    last_frame: Tensor
    sampling: Sampling
    depth: KVCache
    codec: DecodeState
    codes: Tensor
    audio: Tensor
    made: Tensor
    ended: Tensor

    @classmethod
    def empty(
        cls,
        config: CSMConfig,
        mimi: Mimi,
        slots: int,
        positions: int,
        device: torch.device | str,
        dtype: torch.dtype,
        codec_dtype: torch.dtype,
    ) -> "StepState":
        """The state of `slots` slots that have read nothing."""

        def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(shape, device=device, dtype=dtype)

        long, flag = torch.long, torch.bool
        return cls(
            kv=KVCache.empty(config.backbone, slots, positions, device, dtype),
            position=zeros(slots, dtype=long),
            input=zeros(slots, config.backbone.hidden_size, dtype=dtype),
            running=zeros(slots, dtype=flag),
            frame=zeros(slots, dtype=long),
            last_frame=zeros(slots, dtype=long),
            sampling=Sampling.greedy(slots, device),
            depth=KVCache.empty(config.depth, slots, config.codebooks, device, dtype),
            codec=mimi.decode_state(slots, torch.device(device), codec_dtype),
            codes=zeros(slots, config.codebooks, dtype=long),
            audio=zeros(slots, config.codec.frame_samples, dtype=torch.float32),
            made=zeros(slots, dtype=flag),
            ended=zeros(slots, dtype=flag),
        )

    def tensors(self) -> list[Tensor]:
        """Every tensor there is."""
        sampling, codec = self.sampling, self.codec
        caches = [self.kv.keys, self.kv.values, self.depth.keys, self.depth.values]
        counters = [self.position, self.input, self.running, self.frame, self.last_frame]
        how = [sampling.temperature, sampling.top_k, sampling.min_p, sampling.key]
        out = [self.codes, self.audio, self.made, self.ended]
        return [*caches, *counters, *how, *codec.tensors(), *out]

    def rows(self, count: int) -> "StepState":
        """A view of the first slots: a bucket that one step runs."""
        return StepState(
            kv=self.kv.rows(0, count),
            position=self.position[:count],
            input=self.input[:count],
            running=self.running[:count],
            frame=self.frame[:count],
            last_frame=self.last_frame[:count],
            sampling=self.sampling.rows(count),
            depth=self.depth.rows(0, count),
            codec=self.codec.rows(count),
            codes=self.codes[:count],
            audio=self.audio[:count],
            made=self.made[:count],
            ended=self.ended[:count],
        )
