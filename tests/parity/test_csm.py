"""transformers' CSM and ours say the same: through the engine that serves live calls."""

import numpy as np
import pytest
import torch
from pipecat_csm.comparison import compare_with_transformers, reference_logits, teacher_forced
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.model.prompt import text_frames
from pipecat_csm.segment import Segment

from tests.plugins.pipecat_csm.tiny import SHAPES, save_tiny, tiny_csm

GREEDY = SamplingOptions(temperature=0)
# Beyond 128 positions, where RoPE's scaling and the caches' spans show.
LONG = (
    "This is a rather long sentence, which goes on beyond a hundred and twenty-eight positions, "
    "as it must, and so it does not end before it is there."
)
FRAMES = 60


def conversation(pair, seed: int) -> list[Segment]:
    """Two Segments of sound, by two speakers."""
    samples = pair.checkpoint.config.codec.frame_samples
    noise = torch.Generator().manual_seed(seed)

    def sound(frames: int) -> torch.Tensor:
        return torch.randn(frames * samples, generator=noise, dtype=torch.float64) * 0.1

    return [
        Segment("What did you do today?", 0, audio=sound(23)),
        Segment("I went to the sea, and swam.", 1, audio=sound(31)),
    ]


def reference_codes(pair, context: list[Segment], text: str, speaker: int, frames: int):
    """What transformers generates greedily, from the sound of the context."""
    config, tokenizer = pair.checkpoint.config, pair.checkpoint.tokenizer
    ids: list[int] = []
    for segment in context:
        ids += tokenizer.encode(f"[{segment.speaker}]{segment.text}").ids
        assert segment.audio is not None
        count = len(segment.audio) // config.codec.frame_samples
        ids += [config.audio_id] * count + [config.audio_eos_id]
    ids += tokenizer.encode(f"[{speaker}]{text}").ids
    sounds = {}
    if context:
        audio = [segment.audio for segment in context if segment.audio is not None]
        ends = torch.tensor([len(a) for a in audio]).cumsum(0)
        sounds = {"input_values": torch.cat(audio)[None, None], "input_values_cutoffs": ends[None]}
    illegal = list(range(config.codec.codebook_size, config.audio_vocab_size))
    with torch.inference_mode():
        return pair.reference.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            depth_decoder_do_sample=False,
            max_new_tokens=frames,
            suppress_tokens=illegal,
            depth_decoder_suppress_tokens=illegal,
            **sounds,
        )[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_context", [False, True])
def test_greedy_codes_are_identical(pair, shape, with_context):
    both = pair(shape)
    context = conversation(both, seed=1) if with_context else []
    expected = reference_codes(both, context, LONG, 0, FRAMES)
    with (
        # With a context, steps are read late as well.
        Engine(
            Runner(both.checkpoint.model, slots=2), both.checkpoint.tokenizer, late=with_context
        ) as engine,
        engine.open_session(GREEDY) as session,
    ):
        speech = session.speak(LONG, 0, context=context, max_frames=FRAMES, watch=False)
        frames = list(speech)
    codes = torch.from_numpy(speech.codes)
    assert len(codes) >= 50
    assert torch.equal(codes, expected[: len(codes)])
    # And they sound the same, past the codec's attention window too.
    audio = torch.from_numpy(np.concatenate([frame.audio for frame in frames]))
    with torch.inference_mode():
        heard = both.reference.codec_model.decode(codes.T[None]).audio_values[0, 0]
    assert heard.square().mean().sqrt() > 0.01
    assert torch.allclose(audio, heard.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_agree_in_float32_under_teacher_forcing(pair, shape):
    """Every logit of 30 frames that neither side chose."""
    both = pair(shape, torch.float32)
    config, model = both.checkpoint.config, both.checkpoint.model
    legal = config.codec.codebook_size
    codes = torch.randint(1, legal, (30, config.codebooks), generator=torch.manual_seed(2))
    prompt = text_frames(both.checkpoint.tokenizer, config, LONG, 1)

    ours = teacher_forced(model, prompt, codes)
    expected = reference_logits(both.reference, prompt, codes)[..., :legal]
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_anybodys_checkpoint_can_be_compared(pair, tmp_path):
    folder = save_tiny(pair("small", torch.float32).reference, tmp_path)
    told: list[str] = []
    result = compare_with_transformers(folder, frames=25, say=told.append)
    assert result.frames == 25
    assert result.same_choice == 1
    assert result.mean <= result.largest < 1e-4
    assert len(told) == 3


def test_a_comparison_notices_a_difference(pair):
    reference = tiny_csm()
    checkpoint = pair("small", torch.float32).checkpoint
    prompt = text_frames(checkpoint.tokenizer, checkpoint.config, "Hello.", 0)
    codes = torch.full((5, 4), -1)
    ours = teacher_forced(checkpoint.model, prompt, codes)
    with torch.no_grad():
        reference.get_parameter("backbone_model.layers.0.self_attn.q_proj.weight").mul_(1.1)
    theirs = reference_logits(reference, prompt, codes)[..., :16]
    assert (ours - theirs).abs().max() > 1e-3
