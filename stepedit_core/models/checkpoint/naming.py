"""What results call an engine that lies in a folder, and which languages it was taught."""

from __future__ import annotations

import json
from pathlib import Path

from stepedit_core import embedded
from stepedit_core.atomic import write_atomically
from stepedit_core.config import EMBEDDED
from stepedit_core.errors import CheckpointError, StepeditError
from stepedit_core.storage.stored_json import read_json

__all__ = ["ENGINE_FILE", "languages_of", "name_folder", "named"]

ENGINE_FILE = "engine.json"
"""File of a model folder with its name, that of the model that it was trained from, and the
languages that it was taught."""


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
        name = read_json(path, cure).get("name", folder.resolve().name)
    except StepeditError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(name, str) or not name.strip() or len(name) > 200:
        raise CheckpointError(f"{path}: damaged (no name); {cure}")
    return name


def languages_of(folder: Path) -> tuple[str, ...] | None:
    """Return the codes of the languages that a folder's model was taught; None: not said.

    Raises:
        CheckpointError: if the file that says so is damaged.
    """
    path = folder / ENGINE_FILE
    if not path.is_file():
        return None
    try:
        taught = read_json(path, "delete it, and languages are not checked").get("languages")
    except StepeditError as error:
        raise CheckpointError(str(error)) from error
    if taught is None:
        return None
    if not isinstance(taught, list) or not taught or not all(isinstance(x, str) for x in taught):
        raise CheckpointError(f"{path}: languages is a list of codes such as en, not {taught!r}")
    return tuple(taught)


def name_folder(
    folder: Path, name: str, base: str, languages: tuple[str, ...] | None = None
) -> None:
    """Write what results call a folder, what it was trained from, and what languages it knows."""
    facts = {"name": name, "trained_from": base}
    text = json.dumps(facts | ({"languages": languages} if languages else {}), ensure_ascii=False)
    write_atomically(folder / ENGINE_FILE, f"{text}\n")
