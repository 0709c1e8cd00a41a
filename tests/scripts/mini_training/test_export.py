"""The checkpoint is the same model for transformers and for the project's own engine."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pipecat_csm import Segment, load_csm_1b
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.model.prompt import concat, segment_frames, text_frames
from pipecat_csm.model.sampling import SamplingOptions
from safetensors.torch import load_file
from transformers import CsmForConditionalGeneration, MimiModel

from scripts.mini_training.codec.model import LearningCodec
from scripts.mini_training.data.corpus import Corpus
from scripts.mini_training.errors import TrainingError
from scripts.mini_training.export import TEMPERATURE, TOP_K, adopt, export, write
from scripts.mini_training.learning import load
from scripts.mini_training.settings import SIZES
from scripts.mini_training.speech.model import LearningSpeech, csm_config
from scripts.mini_training.voice import Voicebox, segment_of
from tests.scripts.mini_training.conftest import SMOKE


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, codec: MimiModel) -> Path:
    """Untrained, with logits that are well apart, and exported."""
    torch.manual_seed(1)
    speech = LearningSpeech(csm_config(SMOKE.speech, codec.config))
    with torch.no_grad():
        for name, parameter in speech.named_parameters():
            parameter.normal_(std=1.0 if "embed" in name or "head" in name else 0.2)
    folder = tmp_path_factory.mktemp("export") / "checkpoint"
    write(folder, SMOKE.speech, codec, speech.speech_weights())
    return folder


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Any:
    model: Any = CsmForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    return model.eval()


def test_both_libraries_code_the_same_sound_alike(
    checkpoint: Path, reference: Any, held_out: Corpus
):
    sound = held_out.audio(held_out.utterances[0])
    sound = torch.from_numpy(sound[: len(sound) // 1_920 * 1_920])
    theirs = reference.codec_model.encode(sound[None, None]).audio_codes[0].T
    with load_csm_1b("cpu", checkpoint=checkpoint, compile=False, max_sessions=1) as ours:
        assert ours.engine.encode(sound).tolist() == theirs.tolist()
    assert len({tuple(row) for row in theirs.tolist()}) > 3


def test_both_libraries_say_the_same(checkpoint: Path, reference: Any, codec: MimiModel):
    codes = torch.randint(1, SMOKE.codec.book_size, (5, SMOKE.codec.books))
    with load_csm_1b("cpu", checkpoint=checkpoint, compile=False, max_sessions=1) as ours:
        context = Segment("Hello there.", 1, codes=codes)
        said = ours.generate_frames("Yes, I am.", 0, [context], max_frames=8, temperature=0)
        tokenizer, config = ours.checkpoint.tokenizer, ours.checkpoint.config
    rows = concat(
        [
            segment_frames(tokenizer, config, context),
            text_frames(tokenizer, config, "Yes, I am.", 0),
        ]
    )
    speech = LearningSpeech(reference.config)
    speech.csm.load_state_dict(reference.state_dict(), strict=False)
    embedded = speech.embed(rows.tokens[None], rows.mask[None])
    found = greedy(reference, embedded, len(said))
    assert len(said) == 8
    assert said.tolist() == found


@torch.no_grad()
def greedy(model: Any, rows: torch.Tensor, frames: int) -> list[list[int]]:
    """What transformers' modules say, without the caches and the sampling of `generate`."""
    size, found = model.config.codec_config.codebook_size, []
    for _ in range(frames):
        hidden = model.backbone_model(inputs_embeds=rows).last_hidden_state[:, -1]
        frame = [int(model.lm_head(hidden)[0, :size].argmax())]
        while len(frame) < model.config.num_codebooks:
            ids = torch.tensor([[0, *frame]])
            logits = model.depth_decoder(input_ids=ids, backbone_last_hidden_state=hidden).logits
            frame.append(int(logits[0, -1, :size].argmax()))
        found.append(frame)
        read = model.backbone_model.embed_tokens(torch.tensor([[frame]]))
        rows = torch.cat([rows, read], dim=1)
    return found


def test_it_speaks_after_a_recording(checkpoint: Path, held_out: Corpus):
    one, before = held_out.utterances[:2]
    with Voicebox(checkpoint, temperature=0.6, top_k=5) as voicebox:
        reply = voicebox.speak(one.text, [segment_of(held_out, before)], 0)
        again = voicebox.speak(one.text, [segment_of(held_out, before)], 0)
    assert reply.audio.dtype == np.float32
    assert len(reply.audio) % 1_920 == 0
    assert reply.audio.tolist() == again.audio.tolist()


def test_weights_are_in_half_precision(checkpoint: Path):
    from safetensors.torch import load_file

    (file,) = checkpoint.glob("*.safetensors")
    kinds = {tensor.dtype for tensor in load_file(file).values() if tensor.is_floating_point()}
    assert kinds == {torch.float16}


def test_it_says_how_it_is_best_drawn_from(checkpoint: Path):
    assert load_checkpoint(checkpoint).sampling == SamplingOptions(TEMPERATURE, TOP_K)


def test_its_card_stays(tmp_path: Path, checkpoint: Path, codec: MimiModel):
    (tmp_path / "README.md").write_text("A card.")
    speech = LearningSpeech(csm_config(SMOKE.speech, codec.config))
    write(tmp_path, SMOKE.speech, codec, speech.speech_weights())
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {path.name for path in checkpoint.iterdir()} | {"README.md"}


def test_a_missing_stage_is_said(tmp_path: Path):
    with pytest.raises(TrainingError, match="run the speech stage first"):
        export(tmp_path, SMOKE.speech, tmp_path / "checkpoint")


def test_what_knows_other_words_is_not_adopted(tmp_path: Path, checkpoint: Path):
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    tokenizer = other / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text("utf-8").replace('"bread"', '"broad"'), "utf-8")
    with pytest.raises(TrainingError, match="knows other words"):
        adopt(other, SMOKE, tmp_path / "work")


def test_what_was_exported_can_be_adopted_and_exported_again(tmp_path: Path, checkpoint: Path):
    adopt(checkpoint, SMOKE, tmp_path)
    export(tmp_path, SMOKE.speech, tmp_path / "again")
    first, again = (
        load_file(folder / "model.safetensors") for folder in (checkpoint, tmp_path / "again")
    )
    assert first.keys() == again.keys()
    assert all(weight.equal(again[name]) for name, weight in first.items())
    # The codes are settled; what comes after them may be tuned on.
    codec = LearningCodec(SMOKE.codec)
    codec.load_state_dict(load(tmp_path / "codec-codes.pt")["model"])


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_checkpoint_of_another_size_is_not_adopted(tmp_path: Path, checkpoint: Path, size: str):
    with pytest.raises(TrainingError, match="another --size"):
        adopt(checkpoint, SIZES[size], tmp_path)
    with pytest.raises(TrainingError, match="no checkpoint"):
        adopt(tmp_path, SMOKE, tmp_path)
    (tmp_path / "codes").mkdir()
    with pytest.raises(TrainingError, match="another run"):
        adopt(checkpoint, SMOKE, tmp_path)
