"""Flow matching from dual-codebook tokens (25 Hz) to mel frames (50 Hz)."""

from __future__ import annotations

from stepedit_core.models.decoder.flow.dit import DiT
from stepedit_core.models.decoder.flow.embedding import (
    DualCodebookEmbedding,
    align_mel,
    pad_mel,
    token_rows,
)
from stepedit_core.models.decoder.flow.encoder import UpsampleConformerEncoderV2
from stepedit_core.models.decoder.flow.matching import CausalConditionalCFM
from stepedit_core.models.decoder.flow.model import (
    CausalMaskedDiffWithXvec,
    FlowInput,
    FlowStreamCache,
)
from stepedit_core.models.decoder.flow.noise import FlowNoise

__all__ = [
    "CausalConditionalCFM",
    "CausalMaskedDiffWithXvec",
    "DiT",
    "DualCodebookEmbedding",
    "FlowInput",
    "FlowNoise",
    "FlowStreamCache",
    "UpsampleConformerEncoderV2",
    "align_mel",
    "pad_mel",
    "token_rows",
]
