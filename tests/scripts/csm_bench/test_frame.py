"""What a frame of CSM-1B must read, from its shape alone."""

import torch
from pipecat_csm.model.config import CSMConfig

from scripts.csm_bench.frame import bytes_per_frame, bytes_per_position
from scripts.csm_bench.shapes import empty_model

MODEL = empty_model(CSMConfig.csm_1b(), torch.bfloat16)


def test_the_depth_decoder_is_read_for_every_code_and_all_else_once():
    backbone, codebook0_head, depth = 973_146_112, 4_200_448, 111_158_272
    projection, heads = 2_097_152, 65_106_944
    weights = backbone + codebook0_head + projection + heads + 31 * depth
    assert bytes_per_frame(MODEL, 0, codec=False) == 2 * weights


def test_the_codec_is_a_small_part_of_it():
    codec = bytes_per_frame(MODEL, 0) - bytes_per_frame(MODEL, 0, codec=False)
    assert 0 < codec < 0.03 * bytes_per_frame(MODEL, 0)


def test_a_position_that_is_resident_is_read_too():
    assert bytes_per_position(MODEL) == 32_768
    assert bytes_per_frame(MODEL, 500) - bytes_per_frame(MODEL, 0) == 500 * 32_768
