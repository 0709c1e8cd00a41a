"""Fewer bytes, nearly the same numbers."""

import pytest
import torch
from pipecat_csm.errors import CSMError
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.model.quantize import Int4Linear, Int8Linear, quantize

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

KINDS = {"int8": (Int8Linear, 1.01), "int4": (Int4Linear, 0.53 + 0.13)}


def matrix(rows=96, columns=256) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.manual_seed(0)).bfloat16()


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_is_that_of_the_rounded_matrix(kind):
    weight = matrix()
    quantized = KINDS[kind][0](weight)
    x = torch.randn(2, 3, 256, generator=torch.manual_seed(1)).bfloat16()
    product = quantized(x)
    assert product.shape == (2, 3, 96)
    expected = x.float() @ quantized.dequantized().T
    assert torch.allclose(product.float(), expected, atol=0.02 * float(expected.abs().max()))


@pytest.mark.parametrize(("kind", "steps"), [("int8", 127), ("int4", 7.5)])
def test_rounding_is_within_half_a_step(kind, steps):
    weight = matrix()
    error = (KINDS[kind][0](weight).dequantized() - weight.float()).abs()
    # The scale itself has 8 bits, which counts at the ends of the range.
    assert error.max() <= 1.2 * 0.5 * weight.float().abs().max() / steps


@pytest.mark.parametrize("kind", KINDS)
def test_bytes(kind):
    quantized = KINDS[kind][0](matrix())
    size = sum(b.numel() * b.element_size() for b in quantized.buffers())
    assert size <= KINDS[kind][1] * 96 * 256


def test_constant_rows_stay_what_they_are():
    for make in (Int8Linear, Int4Linear):
        weight = torch.full((16, 64), 0.5).bfloat16()
        weight[3] = 0
        assert torch.allclose(make(weight).dequantized(), weight.float(), atol=5e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tiny_csm(), tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_says_nearly_the_same(folder, kind):
    model = load_checkpoint(folder, dtype=torch.bfloat16).model
    x = torch.randn(1, 1, 32, generator=torch.manual_seed(2)).bfloat16()
    layer = model.backbone.layers[0]
    before = layer.mlp(x)  # type: ignore[operator]
    quantize(model, kind, native=False)
    linears = [m for m in model.modules() if isinstance(m, KINDS[kind][0])]
    assert len(linears) >= 8
    after = layer.mlp(x)  # type: ignore[operator]
    assert not torch.equal(after, before)
    assert (after - before).float().norm() < (
        0.03 if kind == "int8" else 0.35
    ) * before.float().norm()


def test_what_cannot_be_quantised_says_so(folder):
    model = load_checkpoint(folder, dtype=torch.float32).model
    with pytest.raises(
        CSMError, match="in bfloat16 on a CPU or on CUDA, not one on cpu in float32"
    ):
        quantize(model, "int4")
