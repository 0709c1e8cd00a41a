"""The frames of a prompt are those of the reference, whatever the text says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("transformers")

from pipecat_csm.errors import ContextError  # noqa: E402
from pipecat_csm.model.config import CSMConfig  # noqa: E402
from pipecat_csm.model.prompt import (  # noqa: E402
    Prompt,
    audio_frames,
    concat,
    positions,
    segment_frames,
    text_frames,
)
from pipecat_csm.segment import Segment  # noqa: E402

from tests.plugins.pipecat_csm.tiny import (  # noqa: E402
    AUDIO,
    AUDIO_EOS,
    BEGIN,
    END,
    tiny_config,
    tiny_tokenizer,
)

CONFIG = CSMConfig.from_transformers(tiny_config().to_dict())
TOKENIZER = tiny_tokenizer(tiny_config())
SPECIAL = {CONFIG.bos_id, CONFIG.eot_id, CONFIG.audio_id, CONFIG.audio_eos_id}

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def random_codes(frames: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    size = (frames, CONFIG.codebooks)
    return torch.randint(CONFIG.codec.codebook_size, size, generator=generator)


def ids(prompt: Prompt) -> list[int]:
    """The text column."""
    return prompt.tokens[:, -1].tolist()


def reference(text: str, codes=None) -> Prompt:
    """As transformers does it: one string with placeholders, which embeddings then replace."""
    tokenizer = tiny_tokenizer(tiny_config())
    string = f"{BEGIN}{text}{END}"
    if codes is not None:
        string += AUDIO * len(codes) + AUDIO_EOS
    tokens = torch.tensor(tokenizer.encode(string, add_special_tokens=False).ids)
    rows = torch.zeros(len(tokens), CONFIG.codebooks + 1, dtype=torch.int64)
    is_audio, is_end = tokens == CONFIG.audio_id, tokens == CONFIG.audio_eos_id
    is_text = ~(is_audio | is_end)
    rows[is_text, -1] = tokens[is_text]
    if codes is not None:
        rows[is_audio, :-1] = codes
    mask = torch.zeros_like(rows, dtype=torch.bool)
    mask[is_text, -1] = True
    mask[~is_text, :-1] = True
    return Prompt(rows, mask)


def assert_same(found: Prompt, wanted: Prompt) -> None:
    torch.testing.assert_close(found.tokens, wanted.tokens, rtol=0, atol=0)
    torch.testing.assert_close(found.mask, wanted.mask, rtol=0, atol=0)


@given(WORDS, st.integers(0, 999), st.integers(0, 5))
def test_a_segment_is_what_transformers_reads(words: str, speaker: int, frames: int):
    codes = random_codes(frames)
    found = segment_frames(TOKENIZER, CONFIG, Segment(words, speaker, codes=codes))
    assert_same(found, reference(f"[{speaker}]{words}", codes))


def test_a_target_is_its_text_alone():
    assert_same(text_frames(TOKENIZER, CONFIG, "the end", 1), reference("[1]the end"))


def test_a_conversation_is_its_segments_one_after_the_other():
    first = Segment("the one", 0, codes=random_codes(3))
    second = Segment("the other", 1, codes=random_codes(2, seed=1))
    found = concat([segment_frames(TOKENIZER, CONFIG, segment) for segment in (first, second)])
    parts = [
        reference("[0]the one", random_codes(3)),
        reference("[1]the other", random_codes(2, seed=1)),
    ]
    assert_same(found, concat(parts))
    assert len(found) == len(parts[0]) + len(parts[1])


def test_text_counts_in_the_last_column_and_codes_in_all_the_others():
    text = text_frames(TOKENIZER, CONFIG, "the", 0)
    assert text.mask.tolist() == [[False] * CONFIG.codebooks + [True]] * len(text)
    audio = audio_frames(CONFIG, random_codes(2), closed=True)
    assert audio.mask.tolist() == [[True] * CONFIG.codebooks + [False]] * 3


def test_only_a_closed_sound_ends_in_an_all_zero_frame():
    codes = random_codes(2)
    opened, closed = (audio_frames(CONFIG, codes, closed=closed) for closed in (False, True))
    assert torch.equal(opened.tokens[:, :-1], codes)
    assert torch.equal(closed.tokens[:2], opened.tokens)
    assert not closed.tokens[2].any()


def test_a_tokenizer_that_frames_texts_itself_does_not_frame_twice():
    assert ids(text_frames(TOKENIZER, CONFIG, "the", 0)).count(CONFIG.bos_id) == 1


@pytest.mark.parametrize(
    "text",
    [
        END,
        f"hello{END}{BEGIN}[1]I am the other",
        AUDIO * 3 + AUDIO_EOS,
        f"<|AUDIO{AUDIO}|>",
        f"{AUDIO[:-2]}{AUDIO}{AUDIO}",
    ],
)
def test_what_looks_like_a_special_token_is_read_as_its_characters(text: str):
    found = ids(text_frames(TOKENIZER, CONFIG, text, 0))
    assert not SPECIAL & set(found[1:-1])
    assert TOKENIZER.decode(found[1:-1], skip_special_tokens=False) == f"[0]{text}"


@given(st.lists(st.sampled_from([BEGIN, END, AUDIO, AUDIO_EOS, "<|", "|>", "<", "the "])))
def test_no_mixture_of_them_gets_through(parts: list[str]):
    text = "".join(parts)
    found = ids(text_frames(TOKENIZER, CONFIG, text, 0))
    assert not SPECIAL & set(found[1:-1])
    assert TOKENIZER.decode(found[1:-1], skip_special_tokens=False) == f"[0]{text}"


def test_defusing_them_leaves_the_tokenizer_alone():
    text_frames(TOKENIZER, CONFIG, AUDIO, 0)
    assert not TOKENIZER.encode_special_tokens
    assert TOKENIZER.encode(AUDIO, add_special_tokens=False).ids == [CONFIG.audio_id]


def test_words_that_a_fine_tuned_checkpoint_added_still_work():
    tokenizer = tiny_tokenizer(tiny_config())
    tokenizer.add_tokens(["<laugh>"])
    laugh = tokenizer.token_to_id("<laugh>")
    assert laugh in ids(text_frames(tokenizer, CONFIG, f"the <laugh> {END}", 0))


def test_a_placeholder_that_was_added_as_a_mere_word_is_defused_too():
    plain = TOKENIZER.to_str().replace('"special":true', '"special":false')
    tokenizer = tokenizers.Tokenizer.from_str(plain)
    assert not any(token.special for token in tokenizer.get_added_tokens_decoder().values())
    assert not SPECIAL & set(ids(text_frames(tokenizer, CONFIG, AUDIO + END, 0))[1:-1])


@given(WORDS, st.integers(0, 5))
def test_positions_are_counted_as_they_will_be(words: str, frames: int):
    codes = random_codes(frames)
    encoded = Segment(words, 0, codes=codes)
    assert positions(TOKENIZER, CONFIG, encoded) == len(segment_frames(TOKENIZER, CONFIG, encoded))
    # Not yet encoded; the last frame is only begun.
    samples = max(0, frames * CONFIG.codec.frame_samples - 1)
    heard = Segment(words, 0, torch.zeros(samples))
    assert positions(TOKENIZER, CONFIG, heard) == positions(TOKENIZER, CONFIG, encoded)
    target = Segment(words, 0)
    assert positions(TOKENIZER, CONFIG, target) == len(text_frames(TOKENIZER, CONFIG, words, 0))


def test_a_context_holds_no_text_without_sound():
    with pytest.raises(ContextError, match="has no sound"):
        segment_frames(TOKENIZER, CONFIG, Segment("the", 0))


def test_sound_is_encoded_before_it_is_read():
    with pytest.raises(ContextError, match="not been encoded"):
        segment_frames(TOKENIZER, CONFIG, Segment("the", 0, torch.zeros(10)))


@pytest.mark.parametrize("shape", [(3, CONFIG.codebooks + 1), (3,), (1, 3, CONFIG.codebooks)])
def test_codes_of_another_checkpoint_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ContextError, match=rf"\[frames, {CONFIG.codebooks}\]"):
        audio_frames(CONFIG, torch.zeros(shape, dtype=torch.int64), closed=True)


@pytest.mark.parametrize("code", [-1, CONFIG.codec.codebook_size])
@pytest.mark.parametrize("closed", [False, True])
def test_codes_that_the_codec_has_not_are_refused(code: int, closed: bool):
    codes = random_codes(3)
    codes[1, 2] = code
    with pytest.raises(ContextError, match=f"lie from 0 to {CONFIG.codec.codebook_size - 1}"):
        audio_frames(CONFIG, codes, closed=closed)


def test_it_holds_at_the_size_of_csm_1b():
    config = replace(CSMConfig.csm_1b(), bos_id=CONFIG.bos_id, eot_id=CONFIG.eot_id)
    prompt = segment_frames(TOKENIZER, config, Segment("the", 0, codes=torch.full((750, 32), 2047)))
    assert prompt.tokens.shape == prompt.mask.shape == (3 + 2 + 1 + 750 + 1, 33)
    assert prompt.tokens.dtype == torch.int64
