"""A decoder that begins as an inverse cosine transform."""

from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from transformers.models.mimi.modeling_mimi import MimiDecoder

from scripts.mini_training.codec.model import mimi_config
from scripts.mini_training.codec.start import as_cosine_transform, hold
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
    coefficients = torch.from_numpy(blocks[:, :128]).float()
    with torch.no_grad():
        first = net.layers[0].conv
        first.weight[:128, :128, -1] = torch.eye(128)
        first.weight[128:256, :128, -1] = -torch.eye(128)
        given = torch.nn.functional.pad(coefficients.T, (0, 0, 0, 128))[None]
        made = net(given)[0, 0].numpy()
    assert np.corrcoef(made, sound)[0, 1] > 0.99


def test_what_is_held_stays_the_transform_while_the_other_channels_learn():
    torch.manual_seed(0)
    net: Any = MimiDecoder(mimi_config(SIZES["small"].codec))
    latents = torch.randn(1, 256, 4)
    as_cosine_transform(net, latents)
    hold(net)
    _, spreading, *_ = (layer.conv for layer in net.layers if hasattr(layer, "conv"))
    last = net.layers[-1].conv
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    kernel, output = spreading.weight.detach().clone(), last.weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        (net(latents) - 0.1).square().sum().backward()
        optimizer.step()
    assert spreading.weight[:, :120].equal(kernel[:, :120])
    assert not spreading.weight[:, 120:].allclose(kernel[:, 120:])
    assert last.weight[0, 0].equal(output[0, 0])
    assert not last.weight[0, 1:].allclose(output[0, 1:])
    assert net.layers[0].conv.weight.any()  # what loads it learns


def test_one_that_is_too_narrow_stays_as_it_was():
    net = MimiDecoder(mimi_config(SMOKE.codec))
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    as_cosine_transform(net, torch.randn(1, 32, 4))
    hold(net)  # nothing, without complaint
    assert all(weight.equal(before[name]) for name, weight in net.state_dict().items())
