"""Products with packed matrices: what they are of, to the last bits."""

import pytest
import torch
from pipecat_csm.model.native import NativeLinear, operators
from pipecat_csm.model.native.library import load
from pipecat_csm.model.native.packing import FORMATS, packed_bytes

# Whole blocks and groups; and neither.
SHAPES = [(96, 256), (40, 72), (7, 33), (2051, 64)]


def matrix(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.manual_seed(seed)).bfloat16()


def rounded(x: torch.Tensor, form: str) -> torch.Tensor:
    """What a matrix is given instead of x [rows, columns] bfloat16, float64."""
    if form == "bfloat16":
        return x.double()
    missing = -x.shape[1] % 32
    groups = torch.nn.functional.pad(x.float(), (0, missing)).unflatten(1, (-1, 32))
    largest = groups.abs().amax(-1, keepdim=True)
    # (`127 / x` would be torch's reciprocal times 127.)
    inverse = torch.where(largest > 0, torch.full_like(largest, 127) / largest, 0)
    numbers = (groups * inverse).round()
    return (numbers.double() * (largest / 127).double()).flatten(1)[:, : x.shape[1]]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 64])
def test_a_product_is_that_of_the_rounded_numbers(kernels, form, shape, count):
    linear = NativeLinear(matrix(*shape), form)
    x = matrix(count, shape[1], seed=1)
    expected = rounded(x, form) @ linear.dequantized().double().T
    product = linear(x)
    assert product.dtype == torch.float32
    # Sums of float32, in AVX-512's bfloat16 product without subnormals.
    assert (product - expected).abs().max() < 2e-6 * expected.abs().max()


@pytest.mark.parametrize("form", FORMATS)
def test_a_row_is_the_same_whatever_is_beside_it(kernels, form):
    linear = NativeLinear(matrix(96, 256), form)
    x = matrix(21, 256, seed=1)
    alone = torch.cat([linear(row[None]) for row in x])
    for count in (2, 7, 8, 9, 21):
        assert torch.equal(linear(x[:count]), alone[:count])


@pytest.mark.parametrize("form", FORMATS)
def test_threads_change_nothing(kernels, form):
    linear, x = NativeLinear(matrix(96, 256), form), matrix(3, 256, seed=1)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = linear(x)
        torch.set_num_threads(4)
        assert torch.equal(linear(x), alone)
    finally:
        torch.set_num_threads(threads)


def test_without_openmp_there_are_threads_all_the_same(kernels, tmp_path, monkeypatch):
    linear, x = NativeLinear(matrix(96, 256), "int4"), matrix(3, 256, seed=1)
    expected = linear(x)
    alone = load(tmp_path)  # a copy of its own, to which nothing was handed over
    monkeypatch.setattr(operators, "kernels", lambda: alone)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert kernels != "native" or torch.equal(linear(x), expected)
    assert (linear(x) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("form", FORMATS)
def test_rows_of_zeros_are_zeros(kernels, form):
    linear = NativeLinear(matrix(32, 64), form)
    assert not linear(torch.zeros(3, 64).bfloat16()).any()


@pytest.mark.parametrize(("form", "bits"), [("bfloat16", 16), ("int8", 8.01), ("int4", 4.5)])
def test_bytes(kernels, form, bits):
    linear = NativeLinear(matrix(1024, 8192), form)
    assert linear.packed.numel() == packed_bytes(1024, 8192, form)
    assert linear.packed.numel() <= bits / 8 * 1024 * 8192


def test_a_batch_of_more_dimensions(kernels):
    linear, x = NativeLinear(matrix(32, 64), "int4"), matrix(6, 64, seed=1)
    assert torch.equal(linear(x.view(2, 3, 64)).flatten(0, 1), linear(x))
