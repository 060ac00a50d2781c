"""Step1: the causal language model of Step-Audio-EditX.

``Step1ForCausalLM`` and ``Step1Model`` are transformers models, and ``Step1Config`` is their
configuration; they are imported, and registered with transformers' auto classes, on first use,
because that takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepedit_core.models.lm.step1.alignment import DEFAULT_ALIGNMENT, Alignment, alignment_tensor
from stepedit_core.models.lm.step1.loading import (
    load_network,
    load_step1,
    load_weights,
    read_safetensors,
)
from stepedit_core.models.lm.step1.network import Step1Network

if TYPE_CHECKING:
    from stepedit_core.models.lm.step1.configuration import Step1Config
    from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM, Step1Model

__all__ = [
    "DEFAULT_ALIGNMENT",
    "Alignment",
    "Step1Config",
    "Step1ForCausalLM",
    "Step1Model",
    "Step1Network",
    "alignment_tensor",
    "load_network",
    "load_step1",
    "load_weights",
    "read_safetensors",
]


def __getattr__(name: str) -> Any:
    """Import the transformers models on first use."""
    if name not in ("Step1Config", "Step1ForCausalLM", "Step1Model"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stepedit_core.models.lm.step1 import modeling

    return getattr(modeling, name)
