"""Step1: the causal language model of Step-Audio-EditX, as a transformers model.

Importing this package registers ``model_type`` ``step1`` with ``AutoConfig``, ``AutoModel``
and ``AutoModelForCausalLM``, so no remote code is ever needed to load a checkpoint.
"""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from stepedit_core.models.step1.alignment import DEFAULT_ALIGNMENT, Alignment, alignment_tensor
from stepedit_core.models.step1.configuration import Step1Config
from stepedit_core.models.step1.loading import load_step1, load_weights, read_safetensors
from stepedit_core.models.step1.modeling import Step1ForCausalLM, Step1Model

__all__ = [
    "DEFAULT_ALIGNMENT",
    "Alignment",
    "Step1Config",
    "Step1ForCausalLM",
    "Step1Model",
    "alignment_tensor",
    "load_step1",
    "load_weights",
    "read_safetensors",
]

AutoConfig.register("step1", Step1Config, exist_ok=True)
AutoModel.register(Step1Config, Step1Model, exist_ok=True)
AutoModelForCausalLM.register(Step1Config, Step1ForCausalLM, exist_ok=True)
