"""The sidecar mark: a JSON file beside the audio with edits, time, software and hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stepedit_core.atomic import is_outlet, write_atomically
from stepedit_core.errors import StepeditError
from stepedit_core.marks.mark import Finding, Mark

__all__ = ["SUFFIX", "Sidecar", "file_hash"]

SUFFIX = ".stepedit.json"
"""What a sidecar's name ends with, after the whole name of its file."""
_MAX_BYTES = 1 << 26


class Sidecar(Mark):
    """``out.wav.stepedit.json``: the record, and the hash of the file that it is about.

    Anyone can part it from its file or write another: it is a statement, no proof.
    """

    name: ClassVar[str] = "sidecar"
    within: ClassVar[bool] = False

    def problem(self, target: Path) -> str | None:
        """Refuse standard output, pipes and devices."""
        if is_outlet(target):
            return f"{target} is no file, so nothing can lie beside it; name a file with -o"
        return None

    def beside(self, target: Path, record: Mapping[str, Any]) -> Path:
        """Write the sidecar of a finished file."""
        about = {"name": target.name, "sha256": file_hash(target), "bytes": target.stat().st_size}
        place = _place(target)
        data = {**record, "output": {**record.get("output", {}), **about}}
        write_atomically(place, json.dumps(data, ensure_ascii=False, indent=2) + "\n")
        return place

    def find(self, path: Path) -> Finding:
        """Compare the file with the hash in its sidecar."""
        place = _place(path)
        if not place.is_file():
            return Finding(self.name, "absent", f"there is no {place.name}")
        try:
            if place.stat().st_size > _MAX_BYTES:
                raise ValueError("it is too large")
            data = json.loads(place.read_text(encoding="utf-8"))
            told = data["output"]["sha256"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            return Finding(self.name, "broken", f"{place.name} cannot be read ({error})")
        facts = {key: data.get(key) for key in ("created", "generator", "by_model", "chain")}
        if told != file_hash(path):
            return Finding(self.name, "broken", f"{place.name} is about another content", facts)
        model = "with a model" if data.get("by_model") else "by signal processing"
        says = (
            f"{place.name} fits: edited {model} by {data.get('generator')}, {data.get('created')}"
        )
        return Finding(self.name, "holds", says, facts)


def _place(path: Path) -> Path:
    """Return the path of a file's sidecar."""
    return path.with_name(path.name + SUFFIX)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        StepeditError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StepeditError(f"{path}: cannot read ({error.strerror})") from error
