"""What the network needs of a Step1 configuration.

``Step1Config`` says the same to transformers, whose import takes longer than loading a small
model; inference does without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch

from stepedit_core.models.lm.step1.alignment import check_rule

__all__ = ["ALIASES", "MODEL_TYPE", "Step1Shape", "Step1Sizes", "check_sizes"]

MODEL_TYPE = "step1"
ALIASES = {
    "num_key_value_heads": "num_attention_groups",
    "max_position_embeddings": "max_seq_len",
}
"""Other names of fields, as transformers' own models have them."""


class Step1Shape(Protocol):
    """Sizes of a model; ``Step1Config`` tells what each is."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_attention_groups: int
    max_seq_len: int
    rms_norm_eps: float
    pad_token_id: int | None

    @property
    def source_alignment(self) -> Sequence[Mapping[str, Any] | None] | None:
        """Position priors of the heads."""
        ...

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        ...


@dataclass
class Step1Sizes:
    """The sizes by themselves; the defaults are those of the public 3B checkpoint.

    Raises:
        ValueError: if they do not fit each other.
    """

    vocab_size: int = 74752
    hidden_size: int = 3072
    intermediate_size: int = 8192
    num_hidden_layers: int = 32
    num_attention_heads: int = 48
    num_attention_groups: int = 4
    max_seq_len: int = 32768
    rms_norm_eps: float = 1e-5
    pad_token_id: int | None = 0
    source_alignment: Sequence[Mapping[str, Any] | None] | None = None
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        """Check that the sizes fit each other."""
        check_sizes(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Step1Sizes:
        """Read what ``config.json`` holds; other fields of it are left out.

        Raises:
            ValueError: if the sizes do not fit each other, or the dtype does not exist.
        """
        given = {ALIASES.get(name, name): value for name, value in raw.items()}
        name = given.get("dtype", given.get("torch_dtype"))
        dtype = getattr(torch, name, None) if isinstance(name, str) else name
        if (dtype is not None and not isinstance(dtype, torch.dtype)) or (name and dtype is None):
            raise ValueError(f"dtype {name!r} is none that torch has")
        known = {one.name for one in fields(cls)}
        kept = {key: value for key, value in given.items() if key in known}
        return cls(**{**kept, "dtype": dtype})

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden_size // self.num_attention_heads


def check_sizes(sizes: Step1Shape) -> None:
    """Check that sizes fit each other.

    Raises:
        ValueError: if they do not.
    """
    if sizes.hidden_size % sizes.num_attention_heads:
        raise ValueError(
            f"hidden_size {sizes.hidden_size} is not a multiple of "
            f"num_attention_heads {sizes.num_attention_heads}"
        )
    if sizes.num_attention_heads % sizes.num_attention_groups:
        raise ValueError(
            f"num_attention_heads {sizes.num_attention_heads} is not a multiple of "
            f"num_attention_groups {sizes.num_attention_groups}"
        )
    if sizes.source_alignment is not None:
        check_rule(sizes.source_alignment, sizes.num_attention_heads)
