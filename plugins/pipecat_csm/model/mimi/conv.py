"""Causal convolutions that continue where the last step stopped."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipecat_csm.model.mimi.project import Finished, project
from pipecat_csm.model.mimi.state import keep

_FEW = 16  # outputs in time, up to which a convolution is mostly the reading of its weights


class StreamingModule(nn.Module):
    """A layer that takes its part of the state from the stream of `tails`, in the layers' order."""

    def tails(self, batch: int, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        """What this layer remembers of `batch` streams that have not begun: zeros."""
        raise NotImplementedError

    def step(self, x: Tensor, tails: Iterator[Tensor], active: Tensor | None) -> Tensor:
        """The layer's output for `x` [batch, channels, time], which follows what it saw before.

        Where `active` (bool [batch]; None: everywhere) is false, nothing is remembered.
        """
        raise NotImplementedError


class StreamingConv1d(StreamingModule):
    """A convolution that sees the past only: its tail holds the last inputs, at first zeros."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            in_channels, out_channels, kernel_size, stride, dilation=dilation, bias=bias
        )
        self.reach = (kernel_size - 1) * dilation + 1 - stride

    def tails(self, batch: int, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        if self.reach == 0:
            return []
        shape = (batch, self.conv.in_channels, self.reach)
        return [torch.zeros(shape, device=device, dtype=dtype)]

    def step(self, x: Tensor, tails: Iterator[Tensor], active: Tensor | None) -> Tensor:
        return self._step(x, next(tails), active) if self.reach else self.conv(x)

    def _step(self, x: Tensor, tail: Tensor, active: Tensor | None) -> Tensor:
        x = torch.cat((tail, x), dim=-1)
        keep(tail, x[..., -self.reach :], active)
        conv, (kernel,), (stride,) = self.conv, self.conv.kernel_size, self.conv.stride
        span = self.reach + stride
        if x.device.type != "cpu" or x.shape[-1] > span + (_FEW - 1) * stride:
            return conv(x)
        # On a CPU torch would first reorder the weights, which takes longer than the rest.
        windows = x.unfold(2, span, stride)[..., :: conv.dilation[0]].transpose(1, 2)
        y = project(windows.flatten(2), conv.weight.view(-1, conv.in_channels * kernel))
        return (y if conv.bias is None else y + conv.bias).transpose(1, 2)


class ReplicatingConv1d(StreamingConv1d):
    """A convolution for which, before the first input, there was that first input already.

    Mimi's step from 25 to 12.5 Hz is of this kind; all its others begin in zeros.
    """

    def begin(self, x: Tensor, tails: Iterator[Tensor], fresh: Tensor) -> Tensor:
        """Like `step`, for every stream; `fresh` (bool [batch]) says which of them begin here."""
        tail = next(tails)
        keep(tail, x[..., :1].expand_as(tail), fresh)
        return self._step(x, tail, None)


class StreamingConvTranspose1d(StreamingModule, Finished):
    """A transposed convolution of kernel 2 * stride, trimmed on the right.

    Written as one matrix product and one sum: an input makes two halves of `stride` outputs, the
    second of which is added to the first of the next input. The last second half waits in the tail.
    """

    matrix: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(
            in_channels, out_channels, 2 * stride, stride, groups=groups, bias=bias
        )
        self.stride = stride
        self.register_buffer("matrix", None, persistent=False)

    def finish(self) -> None:
        """Turns the weight into [outputs * kernel, inputs], as `project` wants it, for both."""
        if self.conv.groups == 1:
            weight = self.conv.weight
            self.matrix = weight.detach().flatten(1).T.contiguous()
            weight.data = self.matrix.T.unflatten(1, weight.shape[1:])

    def tails(self, batch: int, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        shape = (batch, 1, self.conv.out_channels, self.stride)
        return [torch.zeros(shape, device=device, dtype=dtype)]

    def step(self, x: Tensor, tails: Iterator[Tensor], active: Tensor | None) -> Tensor:
        tail = next(tails)
        batch, channels, time = x.shape
        if self.matrix is not None:
            y = project(x.transpose(1, 2), self.matrix)
        else:
            groups = self.conv.groups
            weight = self.conv.weight.view(groups, channels // groups, -1)
            y = torch.einsum("bgit,gio->btgo", x.reshape(batch, groups, -1, time), weight)
        halves = y.reshape(batch, time, -1, 2, self.stride)
        second = torch.cat((tail, halves[:, :, :, 1]), dim=1)
        keep(tail, second[:, -1:], active)
        y = halves[:, :, :, 0] + second[:, :-1]
        if self.conv.bias is not None:
            y = y + self.conv.bias[:, None]
        return y.transpose(1, 2).reshape(batch, -1, time * self.stride)
