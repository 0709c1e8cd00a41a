"""Matrices in fewer bits for GPUs."""

import pytest
import torch
from pipecat_csm.model.quantize_cuda import CUDAInt4Linear, CUDAInt8Linear
from pipecat_csm.model.rounding import to_int4
from torch import nn

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def matrix(rows: int = 64, columns: int = 256) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.manual_seed(5)).bfloat16()


def error_of(ours: torch.Tensor, exact: torch.Tensor) -> float:
    return float((ours.float() - exact).norm() / exact.norm())


def test_eight_bits_lose_less_than_a_hundredth():
    weight, x = matrix(), torch.randn(3, 5, 256, generator=torch.manual_seed(6))
    linear = CUDAInt8Linear(weight.float())
    product = linear(x)
    assert product.shape == (3, 5, 64)
    assert error_of(product, x @ weight.float().T) < 0.01
    assert linear.weight.dtype == torch.int8


def test_four_bits_are_numbers_with_a_scale_and_a_zero():
    weight = matrix()
    numbers, both = to_int4(weight)
    assert (int(numbers.min()), int(numbers.max())) == (0, 15)
    scale, zero = both.float().repeat_interleave(32, dim=1).unbind(-1)
    again = (numbers - 8) * scale + zero
    assert error_of(again, weight.float()) < 0.1
    # No number is more than half a step away, but for bfloat16's rounding of the zero.
    assert ((again - weight.float()).abs() <= 0.51 * scale + 0.01).all()


def test_a_constant_matrix_stays_what_it_is():
    numbers, both = to_int4(torch.full((8, 64), 0.25).bfloat16())
    scale, zero = both.float().repeat_interleave(32, dim=1).unbind(-1)
    assert torch.allclose((numbers - 8) * scale + zero, torch.full((8, 64), 0.25), atol=1e-3)


@pytest.mark.parametrize(("columns", "rows", "fits"), [(2048, 3072, True), (96, 64, False)])
def test_shapes_that_torchs_kernel_takes(columns, rows, fits):
    assert CUDAInt4Linear.fits(nn.Linear(columns, rows, bias=False, device="meta")) is fits


@on_a_gpu
@pytest.mark.parametrize("rows", [1, 2, 16, 256])
def test_the_packed_product_is_that_of_the_rounded_matrix(rows):
    weight = matrix().cuda()
    numbers, both = to_int4(weight)
    scale, zero = both.float().repeat_interleave(32, dim=1).unbind(-1)
    x = torch.randn(rows, 256, device="cuda").bfloat16()
    exact = x.float() @ ((numbers - 8) * scale + zero).T
    assert error_of(CUDAInt4Linear(weight)(x[None])[0], exact) < 0.01
