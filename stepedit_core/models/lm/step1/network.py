"""Step1's network by itself: what inference needs, without transformers' model classes.

Importing those takes longer than loading a small model, so the engine does without them;
``modeling`` wraps the same parts for the Trainer and for ``from_pretrained``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor, nn

from stepedit_core.models.lm.step1.alibi import AlibiBias, BlockBias
from stepedit_core.models.lm.step1.alignment import AlignmentRule
from stepedit_core.models.lm.step1.fused import FusedLinear
from stepedit_core.models.lm.step1.layers import (
    Step1Attention,
    Step1DecoderLayer,
    Step1MLP,
    Step1RMSNorm,
)
from stepedit_core.models.lm.step1.sizes import Step1Shape

if TYPE_CHECKING:
    from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM

__all__ = [
    "WIDEST_ON_CPU",
    "CausalLM",
    "StackParts",
    "Step1Network",
    "Step1Stack",
    "fuse_projections",
    "make_head",
]

WIDEST_ON_CPU = 1024
"""Hidden size of the largest models that a CPU spends more calls than arithmetic on."""

CausalLM: TypeAlias = "Step1Network | Step1ForCausalLM"
"""What generates: the network by itself, or wrapped for transformers."""


def make_head(config: Step1Shape) -> nn.Linear:
    """Return the output head, which is not tied to the embedding."""
    return nn.Linear(config.hidden_size, config.vocab_size, bias=False)


class StackParts(nn.Module):
    """Embedding, layers and last norm, and how they are run."""

    config: Step1Shape

    def make_parts(self, config: Step1Shape) -> None:
        """Make embedding, layers and the last norm."""
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            Step1DecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = Step1RMSNorm(config.hidden_size, config.rms_norm_eps)

    def bias(
        self,
        rows: int,
        start: int | Tensor,
        key_valid: Tensor | None = None,
        alignment: Tensor | None = None,
    ) -> AlibiBias:
        """Return the attention bias of ``rows`` queries, the first one at slot ``start``.

        Raises:
            ValueError: if ``alignment`` is given to a model without the prior, or the reverse.
        """
        weight = self.embed_tokens.weight
        heads = self.config.num_attention_heads
        setting = self.config.source_alignment
        if (setting is None) != (alignment is None):
            raise ValueError(
                "the model has no source_alignment: leave alignment out"
                if setting is None
                else "the model has a source_alignment: give alignment (see alignment_tensor)"
            )
        rule = None
        if setting is not None:
            rule = AlignmentRule.of(setting, weight.device)
        return AlibiBias(
            heads,
            self.config.num_attention_groups,
            start=start,
            rows=rows,
            dtype=weight.dtype,
            device=weight.device,
            key_valid=key_valid,
            rule=rule,
            records=alignment,
        )

    def run(
        self, ids: Tensor, bias: BlockBias, past_key_values: Any = None, last: int | None = None
    ) -> Tensor:
        """Return the normed hidden states of ``ids``: the plain path for generation loops.

        Args:
            ids: int64 ``(batch, rows)``.
            bias: of the rows.
            past_key_values: gets the keys and values of all rows.
            last: how many of the last rows' states are wanted, at least one; None: all. Of the
                top layer nothing but keys and values is computed for the others.
        """
        x: Tensor = self.embed_tokens(ids)
        *lower, top = self.layers
        for layer in lower:
            x = layer(x, bias, past_key_values)
        x = top(x, bias, past_key_values, last)
        normed: Tensor = self.norm(x)
        return normed


class Step1Stack(StackParts):
    """The decoder stack without the output head."""

    def __init__(self, config: Step1Shape) -> None:
        """Make the stack."""
        super().__init__()
        self.config = config
        self.make_parts(config)


class Step1Network(nn.Module):
    """Stack and output head; parameter names are those of the public checkpoint."""

    def __init__(self, config: Step1Shape) -> None:
        """Make both."""
        super().__init__()
        self.config = config
        self.model = Step1Stack(config)
        self.lm_head = make_head(config)


def fuse_projections(model: nn.Module) -> None:
    """Join query, key and value, and gate and up, of all layers that are plain and frozen.

    On a CPU that pays for small models alone: steps of larger ones are bound by reading weights.
    """
    for module in list(model.modules()):
        if isinstance(module, Step1Attention):
            own: tuple[nn.Linear, ...] = (module.q_proj, module.k_proj, module.v_proj)
        elif isinstance(module, Step1MLP):
            own = (module.gate_proj, module.up_proj)
        else:
            continue
        if any(type(layer) is not nn.Linear for layer in own):
            continue
        weight = own[0].weight
        is_large = weight.device.type == "cpu" and weight.shape[1] > WIDEST_ON_CPU
        if not is_large and weight.device.type != "meta":
            module.fused = FusedLinear(*own)
