"""Linguistic audio tokenizer: chunk-streaming SANM encoder and k-means codebook."""

from stepedit_core.models.tokenizer.linguistic.encoder import SANMConfig, SANMEncoder
from stepedit_core.models.tokenizer.linguistic.frontend import Cmvn, Frontend, FrontendConfig
from stepedit_core.models.tokenizer.linguistic.tokenizer import (
    LinguisticTokenizer,
    nearest_centroid,
)

__all__ = [
    "Cmvn",
    "Frontend",
    "FrontendConfig",
    "LinguisticTokenizer",
    "SANMConfig",
    "SANMEncoder",
    "nearest_centroid",
]
