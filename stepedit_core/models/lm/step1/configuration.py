"""Configuration of the Step1 language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import PretrainedConfig

from stepedit_core.models.lm.step1.sizes import ALIASES, MODEL_TYPE, Step1Sizes, check_sizes

__all__ = ["Step1Config"]


class Step1Config(PretrainedConfig):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """Describe a Step1 model; the defaults are the sizes of the public 3B checkpoint.

    Args:
        vocab_size: rows of the embedding and of the output head.
        hidden_size: width of the residual stream.
        intermediate_size: inner width of the gated feed-forward layer.
        num_hidden_layers: decoder layers.
        num_attention_heads: query heads; ``hidden_size`` must be a multiple of it.
        num_attention_groups: key/value heads; must divide ``num_attention_heads``.
        max_seq_len: largest number of tokens in context.
        rms_norm_eps: epsilon of all RMS norms.
        initializer_range: standard deviation of fresh weights.
        use_cache: return the key/value cache from ``forward`` by default.
        bos_token_id: id that starts a sequence.
        eos_token_id: id that ends a turn (``<|EOT|>``).
        pad_token_id: id that fills batches.
        tie_word_embeddings: always False in public checkpoints, whose config lacks the key.
        source_alignment: position priors, one for each head (see ``alignment``): None, or a
            mapping with ``kind``, ``slope`` and ``offset``. None, as in public checkpoints,
            leaves all heads ordinary.
        **kwargs: fields of ``PretrainedConfig``; ``auto_map`` is dropped, as no remote code
            is ever run.

    Raises:
        ValueError: if the sizes do not fit each other.
    """

    model_type = MODEL_TYPE
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache", "past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = ALIASES

    def __init__(
        self,
        vocab_size: int = Step1Sizes.vocab_size,
        hidden_size: int = Step1Sizes.hidden_size,
        intermediate_size: int = Step1Sizes.intermediate_size,
        num_hidden_layers: int = Step1Sizes.num_hidden_layers,
        num_attention_heads: int = Step1Sizes.num_attention_heads,
        num_attention_groups: int = Step1Sizes.num_attention_groups,
        max_seq_len: int = Step1Sizes.max_seq_len,
        rms_norm_eps: float = Step1Sizes.rms_norm_eps,
        initializer_range: float = 0.02,
        use_cache: bool = True,
        bos_token_id: int | None = 1,
        eos_token_id: int | None = 3,
        pad_token_id: int | None = 0,
        tie_word_embeddings: bool = False,
        source_alignment: Sequence[dict[str, Any] | None] | None = None,
        **kwargs: Any,
    ) -> None:
        """Check that the sizes fit each other and keep them."""
        kwargs.pop("auto_map", None)
        self.source_alignment = None if source_alignment is None else list(source_alignment)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_attention_groups = num_attention_groups
        self.max_seq_len = max_seq_len
        self.rms_norm_eps = rms_norm_eps
        self.initializer_range = initializer_range
        self.use_cache = use_cache
        check_sizes(self)
        super().__init__(  # type: ignore[call-arg,unused-ignore]
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
            tie_word_embeddings=tie_word_embeddings,
            **kwargs,
        )

    @property
    def head_dim(self) -> int:
        """Return the width of one head."""
        return int(self.hidden_size // self.num_attention_heads)
