"""A small CSM of transformers' modules, while it learns.

Llama layers and a depth decoder as CSM-1B has them, narrower and fewer. What is only for learning
(dropout, noise) is laid over them by hooks, so that what is saved is a CSM and nothing else.
"""

from typing import Any

import torch
from pipecat_csm.model.config import CSMConfig
from torch import Tensor, nn
from transformers import CsmConfig, CsmForConditionalGeneration

from scripts.mini_training.settings import SpeechSize
from scripts.mini_training.speech.tokenizer import (
    AUDIO_EOS_ID,
    AUDIO_ID,
    BEGIN_ID,
    END_ID,
    TOKENS,
)

# Of so many the engine keeps at most 1,152; conversations of up to 1,000 are learned from.
_POSITIONS = 1_536
_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}


def csm_config(size: SpeechSize, codec: Any) -> CsmConfig:
    """The shape of a whole checkpoint.

    Args:
        size: Of the speech model.
        codec: transformers' `MimiConfig`.
    """
    books, vocab = codec.num_quantizers, codec.codebook_size + 3
    # Where the codec lay is a path of the machine that trained it.
    codec_config = {key: of for key, of in codec.to_dict().items() if key != "_name_or_path"}
    config = CsmConfig(
        num_codebooks=books,
        vocab_size=vocab,
        text_vocab_size=TOKENS,
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        head_dim=size.hidden // size.heads,
        max_position_embeddings=_POSITIONS,
        rope_parameters=_ROPE,
        bos_token_id=BEGIN_ID,
        eos_token_id=None,
        pad_token_id=AUDIO_ID,
        audio_token_id=AUDIO_ID,
        audio_eos_token_id=AUDIO_EOS_ID,
        codebook_pad_token_id=vocab - 1,
        codebook_eos_token_id=0,
        depth_decoder_config={
            "num_codebooks": books,
            "backbone_hidden_size": size.hidden,
            "vocab_size": vocab,
            "hidden_size": size.depth_hidden,
            "intermediate_size": size.depth_feed_forward,
            "num_hidden_layers": size.depth_layers,
            "num_attention_heads": size.depth_heads,
            "num_key_value_heads": size.depth_heads,
            "head_dim": size.depth_hidden // size.depth_heads,
            "max_position_embeddings": books + 1,
            "rope_parameters": _ROPE,
        },
        codec_config=codec_config,
    )
    assert config.bos_token_id is not None
    assert config.bos_token_id + 1 == END_ID  # as `CSMConfig` reads it
    return config


def dimensions(config: CsmConfig) -> CSMConfig:
    """The same for the project's own code."""
    return CSMConfig.from_transformers(config.to_dict())


class LearningSpeech(nn.Module):
    """A CSM without its codec."""

    def __init__(self, config: CsmConfig, dropout: float = 0.0) -> None:
        """Makes one with random weights.

        Args:
            config: From `csm_config`.
            dropout: Of what each layer adds to the stream.
        """
        super().__init__()
        csm: Any = CsmForConditionalGeneration(config)
        csm.codec_model = None
        csm.depth_decoder.model.embed_tokens.weight = (
            csm.backbone_model.embed_tokens.embed_audio_tokens.weight
        )
        # The weights of the attention are looked at (see `losses`), which fused kernels keep.
        csm.config._attn_implementation = "eager"
        self.csm = csm
        for layer in (*csm.backbone_model.layers, *csm.depth_decoder.model.layers):
            for adds in (layer.self_attn.o_proj, layer.mlp.down_proj):
                adds.register_forward_hook(
                    lambda module, _, out: dropped(out, dropout) if module.training else out
                )

    def embed(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The rows as the backbone reads them.

        Args:
            tokens: int64 [..., codebooks + 1], as `pipecat_csm.model.prompt` makes them.
            mask: bool, of the same shape.

        Returns:
            [..., hidden]; zeros where nothing counts.
        """
        text = self.csm.embed_text_tokens(tokens[..., -1]) * mask[..., -1:]
        offsets = self.csm.backbone_model.embed_tokens.audio_tokens_offsets
        table = self.csm.backbone_model.embed_tokens.embed_audio_tokens
        codes = (table(tokens[..., :-1] + offsets) * mask[..., :-1, None]).sum(dim=-2)
        return text + codes

    def speech_weights(self) -> dict[str, Tensor]:
        """The weights by the names that they have in a checkpoint."""
        return self.csm.state_dict()

    def load_speech(self, weights: dict[str, Tensor]) -> None:
        """Takes what `speech_weights` gave."""
        self.csm.load_state_dict(weights)


def dropped(rows: Tensor, share: float) -> Tensor:
    """Some of the features of each line of [lines, rows, features] are nought in all its rows.

    A lot for each line, not for each number: a tenth of a step went to drawing those on a CPU.
    """
    kept = torch.rand(rows.shape[0], 1, rows.shape[2], device=rows.device) >= share
    return rows * (kept / (1 - share))
