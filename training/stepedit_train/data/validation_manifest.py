"""Manifests of the validation speakers, for choosing settings without a look at the test.

`stepedit bench figures` measures the speakers that a manifest keeps from training. Pointed at the
folder of this stage, it measures those that training validates on instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import AudioError, StepeditError, counted
from stepedit_core.pairs import CorpusItem
from stepedit_train.data.stage import DataSettings, choose
from stepedit_train.settings import resolve_path

__all__ = [
    "ValidationManifestSettings",
    "write_manifest",
]

MANIFEST = "manifest.jsonl"


class ValidationManifestSettings(DataSettings):
    """Settings of the validation-speech stage: those of the data stage, and where to write."""

    manifests: Path
    """Folder of the manifest."""
    synthetic: tuple[str, ...] = ("kokoro",)
    """Names of corpora of synthetic speech."""


def write_manifest(settings: ValidationManifestSettings) -> Iterator[str]:
    """Write the manifest; yield lines that say what is in it and what could not be read.

    The words are left out: a recogniser may have made them, and the benchmark then asks its own.

    Raises:
        StepeditError: if a corpus cannot be read, or has no validation speakers.
    """
    folder = resolve_path(settings, settings.manifests)
    lines = []
    for selected in choose(settings)[0]:
        if selected.split != "dev":
            continue
        try:
            lines.append(_line(selected.item, settings))
        except AudioError as error:
            yield f"left out: {error}"
    if not lines:
        raise StepeditError("no speaker of these corpora is kept for validation; set dev_share")
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MANIFEST, text)
    speakers = len({line["speaker"] for line in lines})
    yield (
        f"{counted(len(lines), 'recording')} of {counted(speakers, 'speaker')} "
        f"in {folder / MANIFEST}"
    )


def _line(item: CorpusItem, settings: ValidationManifestSettings) -> dict[str, Any]:
    line: dict[str, Any] = {
        "path": str(Path(item.path).resolve()),
        "speaker": item.speaker or item.id,
        "language": item.language,
        "seconds": round(item.read().seconds, 3),
        "suggested_split": "dev",
        "licence": item.licence,
    }
    if item.corpus in settings.synthetic:
        line["voices"] = [item.speaker]
    return line
