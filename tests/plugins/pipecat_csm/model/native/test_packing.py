"""Matrices in fewer bits: what their numbers and scales are."""

import pytest
import torch
from pipecat_csm.model.native import NativeLinear
from pipecat_csm.model.native.packing import FORMATS, pack, packed_bytes, unpack

PEAKS = (7.0, 7.5, 8.0, 8.5, 9.0)


def matrix(rows=96, columns=256) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.manual_seed(0)).bfloat16()


def in_4_bits(weight: torch.Tensor) -> torch.Tensor:
    """Of a few scales for 32 columns, that with the least squared error."""
    groups = weight.double().unflatten(1, (-1, 32))
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    tried = []
    for peak in PEAKS:
        scale = (-largest.float() / peak).bfloat16().double()
        tried.append((groups / scale).round().clamp(-8, 7) * scale)
    tried = torch.stack(tried)
    best = (tried - groups).square().sum(-1, keepdim=True).argmin(0, keepdim=True)
    return tried.take_along_dim(best.expand_as(tried), 0)[0].flatten(1)


def test_bfloat16_is_kept(kernels):
    weight = matrix(40, 72)
    assert torch.equal(NativeLinear(weight, "bfloat16").dequantized(), weight.float())


def test_8_bits_have_a_scale_for_each_row(kernels):
    weight = matrix()
    scale = (weight.float().abs().amax(1, keepdim=True) / 127).bfloat16().float()
    expected = (weight.float() / scale).round().clamp(-127, 127) * scale
    assert torch.equal(NativeLinear(weight, "int8").dequantized(), expected)


def test_4_bits_have_a_scale_for_32_columns_that_fits_best(kernels):
    weight = matrix()
    found = NativeLinear(weight, "int4").dequantized().double()
    expected = in_4_bits(weight)
    error = (found - weight).square().sum()
    assert error <= (1 + 1e-6) * (expected - weight).square().sum()
    assert (found == expected).double().mean() > 0.999  # but for ties
    assert error.sqrt() < 0.084 * weight.double().norm()


@pytest.mark.parametrize("form", FORMATS)
def test_rows_that_are_constant_or_zero_stay_so(kernels, form):
    weight = torch.full((16, 64), 0.5).bfloat16()
    weight[3], weight[4] = 0, -2
    assert torch.allclose(NativeLinear(weight, form).dequantized(), weight.float(), rtol=5e-3)


@pytest.mark.parametrize("form", FORMATS)
def test_rows_can_be_put_in_another_order(kernels, form):
    weight = matrix(20, 64)
    order = torch.tensor([19, -1, 0, 7])
    packed = torch.empty(packed_bytes(4, 64, form), dtype=torch.uint8)
    pack(weight, form, packed, order)
    found = unpack(packed, form, 4, 64)
    straight = NativeLinear(weight, form).dequantized()
    assert torch.equal(found[[0, 2, 3]], straight[[19, 0, 7]])
    assert not found[1].any()


@pytest.mark.parametrize("form", FORMATS)
def test_a_transposed_matrix_is_packed_as_it_is_meant(kernels, form):
    weight = matrix(64, 48)
    turned = NativeLinear(weight.T, form).dequantized()
    assert torch.equal(turned, NativeLinear(weight.T.contiguous(), form).dequantized())
