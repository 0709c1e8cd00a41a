"""The codec has the names and shapes that transformers gives its MimiModel in files."""

import pytest
import torch
from pipecat_csm.model.config import MimiConfig
from pipecat_csm.model.mimi import Mimi
from transformers import MimiConfig as ReferenceConfig
from transformers import MimiModel
from transformers.core_model_loading import revert_weight_conversion

from tests.plugins.pipecat_csm.mimi import reference


def shapes(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "shape", [{}, reference.PLAIN, reference.ODD], ids=["true", "plain", "odd"]
)
def test_names_and_shapes(shape: dict):
    config = ReferenceConfig(**shape)
    with torch.device("meta"):
        theirs, ours = MimiModel(config), Mimi(reference.our_config(config))
    saved = revert_weight_conversion(theirs, theirs.state_dict())  # as save_pretrained writes it
    assert shapes(ours.state_dict()) == shapes(reference.used_by_us(saved))


def test_the_true_shape_is_our_default():
    assert reference.our_config(ReferenceConfig()) == MimiConfig()
    assert MimiConfig().frame_samples == 1920  # 80 ms at 24 kHz


def test_what_is_computed_is_not_saved():
    pair = reference.make_pair(reference.PLAIN, torch.float32)
    before = set(Mimi(pair.ours.config).state_dict())
    assert set(pair.ours.state_dict()) == before


def test_other_weights_take_effect_when_finished_again():
    one = reference.make_pair(reference.PLAIN, torch.float32).ours
    other = reference.make_pair(reference.PLAIN, torch.float32, seed=1)
    codes = other.codes(5)
    before = one.decode(codes)
    one.load_state_dict(other.ours.state_dict())
    one.finish()
    assert torch.equal(one.decode(codes), other.ours.decode(codes))
    assert not torch.equal(one.decode(codes), before)
