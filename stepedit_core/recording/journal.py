"""Pieces that are finished, kept beside the output until it is complete.

A folder holds the samples of each piece (NumPy arrays without pickle) and a line of JSON for
each: the hash of all that was asked for, the hash of the samples, what is to be said of them.
A call that was killed finds them again; a torn or foreign line counts as nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.atomic import append_line, write_atomically
from stepedit_core.storage.stored_json import parse_json

__all__ = ["Made", "PieceJournal", "request_key"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Made:
    """What was made of one piece.

    Attributes:
        samples: float32 at the recording's rate; empty where the piece is left as it is.
        text: the words after, or None.
        left: why the piece is left as it is, or None.
        anchors: (second of the piece before, second after), in order.
        details: facts for the report; JSON data.
    """

    samples: FloatArray = field(repr=False)
    text: str | None = None
    left: str | None = None
    anchors: tuple[tuple[float, float], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def request_key(facts: Mapping[str, Any]) -> str:
    """Return the hash of what is asked for, given as JSON data."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


class PieceJournal:
    """Finished pieces by key; without a folder, nothing is remembered."""

    def __init__(self, target: Path | None) -> None:
        """Read what an earlier call left beside a target."""
        self._folder: Path | None = None
        self._rows: dict[str, Mapping[str, Any]] = {}
        self.found = 0
        if target is None:
            return
        self._folder = target.absolute().with_name(f".{target.name[:80]}.stepedit-pieces")
        self._lines = self._folder / "journal.jsonl"
        try:
            lines = self._lines.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                row = parse_json(line)
                self._rows[row["key"]] = row
            except (ValueError, KeyError, TypeError):
                continue

    def get(self, key: str) -> Made | None:
        """Return a finished piece whose samples are there unchanged, or None."""
        row = self._rows.get(key)
        if row is None or self._folder is None:
            return None
        try:
            raw = (self._folder / f"{key[:40]}.npy").read_bytes()
            if hashlib.sha256(raw).hexdigest() != row["sha256"]:
                return None
            samples = np.load(io.BytesIO(raw), allow_pickle=False)
            anchors = tuple((float(a), float(b)) for a, b in row["anchors"])
            made = Made(samples, row["text"], row["left"], anchors, row["details"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self.found += 1
        return made

    def add(self, key: str, made: Made) -> None:
        """Keep a finished piece, on disk before the call goes on.

        Raises:
            StepeditError: if the folder cannot be written or the disk is full.
        """
        if self._folder is None:
            return
        buffer = io.BytesIO()
        np.save(buffer, made.samples, allow_pickle=False)
        raw = buffer.getvalue()
        row = {
            "key": key,
            "sha256": hashlib.sha256(raw).hexdigest(),
            "text": made.text,
            "left": made.left,
            "anchors": made.anchors,
            "details": dict(made.details),
        }
        write_atomically(self._folder / f"{key[:40]}.npy", raw)
        append_line(self._lines, json.dumps(row, ensure_ascii=False))

    def close(self) -> None:
        """Remove the folder: the output is complete."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
