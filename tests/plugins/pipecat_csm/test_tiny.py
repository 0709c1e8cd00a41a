"""The tiny models are worth comparing with: nothing of them is idle, and greedy is not a loop."""

from typing import Any

import pytest
import torch

from tests.plugins.pipecat_csm.tiny import SHAPES, tiny_csm, tiny_tokenizer

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def greedy_frames(model: Any, frames: int) -> torch.Tensor:
    """[frames, codebooks], of legal codes only."""
    text = torch.tensor([tiny_tokenizer(model.config).encode("[0]Hello there").ids])
    illegal = list(range(model.config.codec_config.codebook_size, model.config.vocab_size))
    return model.generate(
        text,
        do_sample=False,
        depth_decoder_do_sample=False,
        suppress_tokens=illegal,
        depth_decoder_suppress_tokens=illegal,
        max_new_tokens=frames,
    )[0]


@shapes
def test_greedy_generation_neither_stops_nor_repeats_at_once(shape):
    frames = greedy_frames(tiny_csm(**shape), 60)
    assert frames.shape[0] == 60
    assert len({tuple(frame) for frame in frames.tolist()}) >= 20


@shapes
@torch.no_grad()
def test_each_codebook_changes_the_audio(shape):
    model: Any = tiny_csm(**shape)
    books, size = model.config.num_codebooks, model.config.codec_config.codebook_size
    codes = torch.randint(size, (1, books, 6), generator=torch.Generator().manual_seed(1))
    audio = model.codec_model.decode(codes).audio_values
    assert audio.std() > 0.01
    for book in range(books):
        other = codes.clone()
        other[:, book] = (other[:, book] + 1) % size
        change = model.codec_model.decode(other).audio_values - audio
        assert change.abs().max() > 0.01


@torch.no_grad()
def test_the_codec_hears_differences_with_every_codebook():
    model: Any = tiny_csm()
    noise = 0.1 * torch.randn(1, 1, 3000, generator=torch.Generator().manual_seed(1))
    codes = model.codec_model.encode(noise).audio_codes[0]
    assert all(len(set(book)) >= 5 for book in codes.tolist())


@torch.no_grad()
def test_a_short_codec_window_is_crossed_within_a_generation():
    codes = torch.randint(16, (1, 4, 20), generator=torch.Generator().manual_seed(1))
    models: list[Any] = [tiny_csm(), tiny_csm(**SHAPES["window16"])]
    models[1].load_state_dict(models[0].state_dict())
    wide, narrow = (model.codec_model.decode(codes).audio_values for model in models)
    frame = wide.shape[-1] // 20
    torch.testing.assert_close(wide[..., : 8 * frame], narrow[..., : 8 * frame])
    assert (wide - narrow)[..., 12 * frame :].abs().max() > 1e-3


@shapes
@torch.no_grad()
def test_rope_scaling_changes_backbone_and_depth_decoder(shape):
    plain = {"rope_type": "default", "rope_theta": 500_000.0}
    scaled: Any = tiny_csm(**shape)
    depth = {**shape.get("depth_decoder_config", {}), "rope_parameters": plain}
    overrides = {**shape, "rope_parameters": plain, "depth_decoder_config": depth}
    unscaled: Any = tiny_csm(**overrides)
    frames = torch.randint(16, (1, 40, scaled.config.num_codebooks))
    states = [m.backbone_model(frames).last_hidden_state for m in (scaled, unscaled)]
    assert (states[0] - states[1]).abs().max() > 1e-3
    ids, hidden = frames[:, 0], torch.randn(1, scaled.config.hidden_size)
    logits = [
        m.depth_decoder(ids, backbone_last_hidden_state=hidden).logits for m in (scaled, unscaled)
    ]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_the_same_seed_gives_the_same_weights_in_any_dtype():
    single, double = tiny_csm(3), tiny_csm(3, dtype=torch.float64)
    for name, tensor in single.state_dict().items():
        torch.testing.assert_close(double.state_dict()[name], tensor.to(torch.float64))


def test_the_tokenizer_keeps_every_byte_and_knows_the_special_ids():
    config: Any = tiny_csm().config
    tokenizer = tiny_tokenizer(config)
    text = "[0]The café — there… 你好 🎉"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode("<|AUDIO|><|audio_eos|>", add_special_tokens=False).ids == [
        config.audio_token_id,
        config.audio_eos_token_id,
    ]
    assert tokenizer.encode("a").ids[::2] == [config.bos_token_id, config.bos_token_id + 1]
    assert max(tokenizer.get_vocab().values()) < config.text_vocab_size
