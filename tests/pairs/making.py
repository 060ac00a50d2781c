"""Corpora on disk, whole and broken, and runs over them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stepedit_pairs import plugin as pairs_plugin
from stepedit_pairs.corpora.manifest import Manifest
from stepedit_pairs.endurance import spoil
from stepedit_pairs.runner import RunTotals, run_pairs
from stepedit_pairs.settings import RunSettings

from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing import speech_like
from tests.pairs import toy_pairs

TOY = Path(toy_pairs.__file__)


@pytest.fixture
def registry() -> Iterator[Registry]:
    """The process's registry holds the toy plugin and the pair machinery alone."""
    found = Registry(disabled=())
    found.register(pairs_plugin, "pairs")
    found.register_file(TOY)
    set_registry(found)
    yield found
    set_registry(None)


def make_corpus(folder: Path, count: int, *, broken: int = 0) -> tuple[Path, list[str]]:
    """Write a manifest of short recordings, the last ``broken`` of every stretch unreadable.

    Returns:
        The manifest, and the paths of the broken recordings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bad: list[str] = []
    every = count // broken if broken else count + 1
    with (folder / "speech.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "text", "speaker", "licence"])
        for number in range(count):
            path = folder / f"{number:04d}.wav"
            speech_like(0.15 + 0.01 * (number % 7), 8000, seed=number % 11).write(path)
            if broken and number % every == every - 1 and len(bad) < broken:
                if len(bad) == 4:
                    speech_like(0.2, 8000).replace(samples=np.zeros(1600, np.float32)).write(path)
                else:
                    spoil(path, len(bad))
                bad.append(str(path))
            table.writerow([path.name, f"words {number}", f"s{number % 3}", "CC0-1.0"])
    return folder / "speech.csv", bad


def run_toy(out: Path, manifest: Path, *, workers: int = 1, **changes: object) -> RunTotals:
    """Build the toy pairs of a manifest."""
    ray_address = changes.pop("ray_address", None)
    given = {
        "edit": "quieter",
        "corpus": str(manifest),
        "layout": "manifest",
        "plugin_files": (str(TOY),),
        "block_size": 4,
        **changes,
    }
    settings = RunSettings.model_validate(given)
    return run_pairs(
        out,
        settings,
        Manifest().items(manifest),
        workers=workers,
        ray_address=str(ray_address) if ray_address else None,
    )


def content(out: Path) -> dict[str, bytes]:
    """Return the bytes of a run's shards and rejects by name."""
    found = sorted([*(out / "shards").iterdir(), *(out / "rejects").iterdir()])
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}
