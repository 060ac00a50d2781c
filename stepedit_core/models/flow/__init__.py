"""Flow matching from dual-codebook tokens (25 Hz) to mel frames (50 Hz)."""

from __future__ import annotations

from stepedit_core.models.flow.dit import DiT
from stepedit_core.models.flow.embedding import (
    DualCodebookEmbedding,
    align_mel,
    pad_mel,
    token_rows,
)
from stepedit_core.models.flow.encoder import UpsampleConformerEncoderV2
from stepedit_core.models.flow.matching import CausalConditionalCFM
from stepedit_core.models.flow.model import CausalMaskedDiffWithXvec, FlowInput, FlowStreamCache
from stepedit_core.models.flow.noise import FlowNoise
from stepedit_core.models.flow.referenced import ReferencedMelDecoder

Flow = CausalMaskedDiffWithXvec | ReferencedMelDecoder
"""Every kind of tokens-to-mel network that a decoder may hold."""

__all__ = [
    "CausalConditionalCFM",
    "CausalMaskedDiffWithXvec",
    "DiT",
    "DualCodebookEmbedding",
    "Flow",
    "FlowInput",
    "FlowNoise",
    "FlowStreamCache",
    "ReferencedMelDecoder",
    "UpsampleConformerEncoderV2",
    "align_mel",
    "pad_mel",
    "token_rows",
]
