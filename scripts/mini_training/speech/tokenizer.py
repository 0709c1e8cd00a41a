"""Letters as tokens, with CSM's special ones: the text side of a small CSM.

A letter a token: a closed vocabulary needs nothing longer, an open one is spelled by it, and
because every character has a row of its own it is known which row a frame of sound belongs to
(see `alignment`). Case is dropped; it is hardly ever heard.
"""

import tokenizers
from tokenizers import models, normalizers, processors

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"
AUDIO, AUDIO_EOS = "<|AUDIO|>", "<|audio_eos|>"
UNKNOWN = "<unk>"

# The order is that of the ids: `CSMConfig` takes the end to follow the beginning.
_SPECIAL = (BEGIN, END, AUDIO, AUDIO_EOS, UNKNOWN)
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 .,;:!?'\"()[]-$%&+/@"

BEGIN_ID, END_ID, AUDIO_ID, AUDIO_EOS_ID = range(4)
TOKENS = len(_SPECIAL) + len(_CHARACTERS)


def letters() -> tokenizers.Tokenizer:
    """The tokenizer, which frames a text in begin and end as Llama's does."""
    vocab = {token: index for index, token in enumerate((*_SPECIAL, *_CHARACTERS))}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=UNKNOWN))
    tokenizer.add_special_tokens([tokenizers.AddedToken(one, special=True) for one in _SPECIAL])
    tokenizer.normalizer = normalizers.Lowercase()  # type: ignore
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, BEGIN_ID), (END, END_ID)]
    )
    return tokenizer
