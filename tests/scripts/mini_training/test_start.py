"""A decoder that begins as an inverse cosine transform."""

from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from transformers.models.mimi.modeling_mimi import MimiDecoder

from scripts.mini_training.codec.model import mimi_config
from scripts.mini_training.codec.start import as_cosine_transform
from scripts.mini_training.settings import SIZES
from tests.scripts.mini_training.conftest import SMOKE

BLOCK = 960


def test_the_coefficients_of_a_sound_give_the_sound():
    torch.manual_seed(0)
    net: Any = MimiDecoder(mimi_config(SIZES["small"].codec))
    as_cosine_transform(net, torch.randn(1, 256, 8))
    assert net(torch.randn(1, 256, 5)).abs().max() < 1e-5  # it begins silent
    time_s = np.arange(5 * BLOCK) / 24_000
    sound = 1e-4 * (np.cos(2 * np.pi * 325 * time_s) + np.sin(2 * np.pi * 1_000 * time_s))
    blocks = np.asarray(dct(sound.reshape(5, BLOCK), norm="ortho"))
    coefficients = torch.from_numpy(blocks[:, :192]).float()
    with torch.no_grad():
        first = net.layers[0].conv
        first.weight[:192, :192, -1] = torch.eye(192)
        first.weight[192:, :192, -1] = -torch.eye(192)
        given = torch.nn.functional.pad(coefficients.T, (0, 0, 0, 64))[None]
        made = net(given)[0, 0].numpy()
    assert np.corrcoef(made, sound)[0, 1] > 0.99


def test_one_that_is_too_narrow_stays_as_it_was():
    net = MimiDecoder(mimi_config(SMOKE.codec))
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    as_cosine_transform(net, torch.randn(1, 32, 4))
    assert all(weight.equal(before[name]) for name, weight in net.state_dict().items())
