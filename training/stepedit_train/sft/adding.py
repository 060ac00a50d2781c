"""Add edits to a trained model: their pairs, and replay of what it knew before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from stepedit_core import embedded
from stepedit_core.config import EMBEDDED
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_train.settings import apply_changes, check_settings
from stepedit_train.sft.packing import load_examples
from stepedit_train.sft.replay import REPLAY
from stepedit_train.sft.rows import shard_paths
from stepedit_train.sft.stage import SftSettings

__all__ = ["adding_settings", "base_folder", "pair_folders"]

_DEFAULTS: dict[str, Any] = {
    "epochs": 6.0,
    "tokens": 3000,
    "max_tokens": 1200,
    "learning_rate": 4e-4,
    "final_learning_rate": 2e-5,
    "warmup": 20,
    "beta2": 0.98,
    "gradient_checkpointing": False,
    "dev_share": 0.04,
    "save_every": 250,
    "save_minutes": 5,
    "noise": {"replaced": 0.03, "masked": 0.03, "jittered": 0.05, "history": 0.05},
    "free_runs": {"rows": 16, "every": 250},
}
"""For the embedded model on a CPU."""


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
        shard_paths(pairs / name)
        found.append((pairs / name).resolve())
    return found


def adding_settings(
    edits: Sequence[str],
    base: str,
    pairs: Path,
    out: Path,
    given: Iterable[str] = (),
    replay: float = 1.0,
) -> SftSettings:
    """Return the settings of a run that adds edits to a model.

    Args:
        edits: registered names; the pairs of each are in a folder of that name.
        base: folder of the model, or ``embedded``.
        pairs: folder around the folders of `stepedit pairs`.
        out: folder of the run.
        given: changes to the defaults, ``name=value``.
        replay: rows of other edits for each row of the new ones.

    Raises:
        StepeditError: if an edit is unknown, pairs are missing, or the model brings no replay.
    """
    folder = base_folder(base)
    data: list[dict[str, Any]] = []
    rows = 0
    for path in pair_folders(edits, pairs):
        data.append({"path": path})
        rows += sum(pq.read_metadata(shard).num_rows for shard in shard_paths(path))
    if replay > 0:
        path = folder / REPLAY
        if not path.is_file():
            raise StepeditError(
                f"{path} is missing: without rows of its own training the model would forget; "
                "write it with `stepedit train replay`, or say --replay 0"
            )
        known = len(load_examples(path)[0])
        data.append({"path": path, "share": replay * rows / known})
    settings = {**_DEFAULTS, "model": folder, "out": out.resolve(), "data": data}
    apply_changes(settings, given)
    return check_settings(SftSettings, settings, "sft --edits")
