"""The matrix products, in the order of operands that is quick for the few rows of a step."""

from torch import Tensor, nn
from torch.nn.functional import linear


class Finished(nn.Module):
    """A layer that arranges its weights for speed once they are loaded."""

    def finish(self) -> None:
        """Computes what follows from the weights, in buffers that are not saved."""
        raise NotImplementedError


def project(x: Tensor, weight: Tensor) -> Tensor:
    """What torch's `linear` gives for x [..., inputs] and weight [outputs, inputs]: [..., outputs].

    A step has one or two rows a stream, and reading the weights is all the work. In float32 on a
    CPU, MKL reads them for `x @ weight.T` at 7 to 17 GB/s where the memory gives 60, for the same
    product the other way about, with x contiguous, at 38; and one row it reads slower than two
    (torch 2.11 on two cores of an EPYC with AVX-512). The result is then not contiguous.
    """
    if x.device.type != "cpu" or x.dtype.itemsize < 4:
        return linear(x, weight)
    rows = x.reshape(-1, x.shape[-1])
    count = len(rows)
    rows = rows.expand(2, -1).contiguous() if count == 1 else rows.contiguous()
    return (weight @ rows.T).T[:count].view(*x.shape[:-1], -1)
