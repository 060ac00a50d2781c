"""Where audio ids lie in a model's vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

from stepedit_core.models.text.base import TextTokenizer

__all__ = ["TokenLayout"]


@dataclass(frozen=True)
class TokenLayout:
    """Where audio ids lie in the vocabulary.

    Attributes:
        audio_base: id of ``<audio_0>``.
        eot: id that ends a turn.
    """

    audio_base: int = 65536
    eot: int = 3

    @classmethod
    def of(cls, tokenizer: TextTokenizer) -> TokenLayout:
        """Return the layout of a text tokenizer."""
        return cls(tokenizer.audio_base_id, tokenizer.eot_id)
