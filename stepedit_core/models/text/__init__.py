"""Text tokenizers and pronunciations."""

from __future__ import annotations

from pathlib import Path

from stepedit_core.models.text.base import TextTokenizer, read_tokenizer_config
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.models.text.sentencepiece import SentencePieceTokenizer

__all__ = ["ByteTokenizer", "SentencePieceTokenizer", "TextTokenizer", "load_tokenizer"]


def load_tokenizer(folder: str | Path) -> TextTokenizer:
    """Load the tokenizer of a language-model folder.

    ``"tokenizer_class": "ByteTokenizer"`` in ``tokenizer_config.json`` means bytes, anything
    else means SentencePiece.

    Raises:
        CheckpointError: if a file is missing, damaged or lacks a needed piece.
    """
    folder = Path(folder)
    config = read_tokenizer_config(folder)
    if config.get("tokenizer_class") == "ByteTokenizer":
        return ByteTokenizer.from_config(config, folder / "tokenizer_config.json")
    return SentencePieceTokenizer(folder / "tokenizer.model")
