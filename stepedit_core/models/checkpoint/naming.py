"""What results call an engine that lies in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from stepedit_core import embedded
from stepedit_core.atomic import write_atomically
from stepedit_core.config import EMBEDDED
from stepedit_core.errors import CheckpointError, StepeditError
from stepedit_core.stored_json import read_json

__all__ = ["ENGINE_FILE", "name_folder", "named"]

ENGINE_FILE = "engine.json"
"""File of a model folder with its name and that of the model that it was trained from."""


def named(folder: Path) -> str:
    """Return the name of an engine's folder: its own, or that of the folder.

    Raises:
        CheckpointError: if the file with its name is damaged.
    """
    path = folder / ENGINE_FILE
    if folder.resolve() == embedded.FOLDER.resolve():
        return EMBEDDED
    if not path.is_file():
        return folder.resolve().name
    cure = "delete it, and the folder's own name is used"
    try:
        name = read_json(path, cure).get("name")
    except StepeditError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(name, str) or not name.strip() or len(name) > 200:
        raise CheckpointError(f"{path}: damaged (no name); {cure}")
    return name


def name_folder(folder: Path, name: str, base: str) -> None:
    """Write what results call a folder, and what it was trained from."""
    text = json.dumps({"name": name, "trained_from": base}, ensure_ascii=False)
    write_atomically(folder / ENGINE_FILE, f"{text}\n".encode())
