"""Encode rows of pairs that were built without codes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from stepedit_core.errors import AudioError
from stepedit_core.models.tokenizer.audio_tokenizer import AudioTokenizer
from stepedit_core.storage.pair_rows import row_details, row_utterance

__all__ = ["needs_codes", "with_codes"]

_ROLES = ("source", "target")


@lru_cache(maxsize=1)
def _tokenizer(folder: Path) -> AudioTokenizer:
    return AudioTokenizer.load(folder, threads=1)


def needs_codes(row: Mapping[str, Any]) -> bool:
    """Return whether one side of a row has no codes."""
    return not row["source_codes"] or not row["target_codes"]


def with_codes(row: Mapping[str, Any], folder: Path) -> dict[str, Any] | str:
    """Return a row with the codes of an audio tokenizer, or why it gets none.

    Args:
        row: with the audio, the texts and the details of a pair.
        folder: of the tokenizer; it is loaded once.

    Raises:
        CheckpointError: if a file of the tokenizer is missing or damaged.
    """
    if row_details(row).get("free_groups"):
        # Its codes must be the source's own but in one part: that is the pair tools' work.
        return "a pair of a masked edit has no codes (stepedit pairs-encode gives them)"
    try:
        sides = [row_utterance(row, role) for role in _ROLES]
        heard = [(side.samples, side.sample_rate) for side in sides if side is not None]
        if len(heard) < len(_ROLES):
            return "the row has neither codes nor audio"
        found = _tokenizer(folder).encode(heard)
    except AudioError as error:
        return f"cannot be encoded ({error})"
    codes = {f"{role}_codes": one.token_string() for role, one in zip(_ROLES, found, strict=True)}
    starts = {f"{role}_start": one.start for role, one in zip(_ROLES, found, strict=True)}
    return {**row, **codes, **starts}
