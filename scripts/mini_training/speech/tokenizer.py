"""Words and letters as tokens, with CSM's special ones: the text side of a small CSM.

Each word of the closed vocabulary is a token, so that what it sounds like need not be put together
from its letters; and a text has a third of the rows. Any other word is spelled, a letter a token.
Case is dropped; it is hardly ever heard.
"""

from functools import cache

import tokenizers
from tokenizers import models, normalizers, processors

from scripts.mini_training.data.grammar import Grammar

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"
AUDIO, AUDIO_EOS = "<|AUDIO|>", "<|audio_eos|>"
UNKNOWN = "<unk>"

# The order is that of the ids: `CSMConfig` takes the end to follow the beginning.
_SPECIAL = (BEGIN, END, AUDIO, AUDIO_EOS, UNKNOWN)
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 .,;:!?'\"()[]-$%&+/@"

BEGIN_ID, END_ID, AUDIO_ID, AUDIO_EOS_ID = range(4)
WORDS = tuple(sorted(word for word in Grammar.closed().vocabulary if len(word) > 1))
TOKENS = len(_SPECIAL) + len(_CHARACTERS) + len(WORDS)


@cache
def words() -> tokenizers.Tokenizer:
    """The tokenizer of the checkpoint, which frames a text in begin and end as Llama's does."""
    tokenizer = _spelling()
    # With the blank before it: there is no row for that.
    tokenizer.add_tokens([tokenizers.AddedToken(w, single_word=True, lstrip=True) for w in WORDS])
    return tokenizer


@cache
def letters() -> tokenizers.Tokenizer:
    """The same without words, which spells everything: the same ids for the same letters."""
    return _spelling()


def _spelling() -> tokenizers.Tokenizer:
    vocab = {token: index for index, token in enumerate((*_SPECIAL, *_CHARACTERS))}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=UNKNOWN))
    tokenizer.add_special_tokens([tokenizers.AddedToken(one, special=True) for one in _SPECIAL])
    tokenizer.normalizer = normalizers.Lowercase()  # type: ignore
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, BEGIN_ID), (END, END_ID)]
    )
    return tokenizer
