"""The model and the pairs that ``train --edits`` names, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepedit_core import embedded
from stepedit_core.config import EMBEDDED
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.storage.pair_rows import finished_shards

__all__ = ["base_folder", "pair_folders"]


def base_folder(base: str) -> Path:
    """Return the folder of a model to start from.

    Raises:
        StepeditError: if this installation ships no embedded model, or the folder is none.
    """
    if base == EMBEDDED:
        if not embedded.is_shipped():
            raise StepeditError(
                "this installation ships no embedded model: name another folder with --base"
            )
        return embedded.FOLDER
    folder = Path(base).expanduser().resolve()
    if not (folder / "config.json").is_file():
        raise StepeditError(f"--base {base}: {folder / 'config.json'} is missing")
    return folder


def pair_folders(edits: Sequence[str], pairs: Path) -> list[Path]:
    """Return the folders of edits' pairs, absolute.

    Args:
        edits: registered names; the pairs of each are in a folder of that name.
        pairs: folder around them.

    Raises:
        StepeditError: if an edit is unknown or its pairs are missing.
    """
    found = []
    for name in edits:
        get_registry().edit_class(name)
        finished_shards(pairs / name)
        found.append((pairs / name).resolve())
    return found
