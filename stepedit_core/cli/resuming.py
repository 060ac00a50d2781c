"""Go on with an interrupted ``stepedit edit`` over many recordings.

A journal in the folder of outputs holds one line per finished recording: the hash of all that
was asked for, the hash of what was written, the report. The same call again takes over what is
finished; the journal goes when all recordings are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import stepedit_core
from stepedit_core.atomic import append_line
from stepedit_core.cli.plan import Job
from stepedit_core.storage.stored_json import parse_json
from stepedit_core.utterance import Utterance

__all__ = ["NAME", "Journal", "request_digest"]

NAME = ".stepedit-edit.jsonl"
"""Name of the journal in the folder of outputs."""


def request_digest(asked: Mapping[str, Any], job: Job, source: Utterance) -> str:
    """Return the hash of a request: what is asked for, the sound, its words, the version.

    Args:
        asked: chain, engine, route, seed and whatever else changes the result, as JSON data.
        job: names the target and holds the words.
        source: what was read.
    """
    facts = {
        "asked": dict(asked),
        "sound": source.digest,
        "subtype": source.subtype,
        "words": [job.transcript, job.language],
        "target": job.target.name,
        "version": stepedit_core.__version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class Journal:
    """Finished recordings of a call; without a folder, nothing is remembered."""

    def __init__(self, folder: Path | None) -> None:
        """Read what an earlier call left; a torn or foreign line counts as nothing."""
        self._path = folder / NAME if folder is not None else None
        self._rows: dict[str, Mapping[str, Any]] = {}
        if self._path is None or not self._path.is_file():
            return
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                row = parse_json(line)
                self._rows[row["request"]] = row
            except (ValueError, KeyError, TypeError):
                continue

    def finished(self, request: str, job: Job) -> Mapping[str, Any] | None:
        """Return the report of a request whose output is there unchanged, or None."""
        row = self._rows.get(request)
        if row is None or row.get("sha256") != _hash(job.target):
            return None
        report = row.get("report")
        return report if isinstance(report, Mapping) else None

    def add(self, request: str, job: Job, report: Mapping[str, Any]) -> None:
        """Remember a finished recording, on disk before the next one begins.

        Raises:
            StepeditError: if the folder cannot be written.
        """
        if self._path is None:
            return
        row = {"request": request, "sha256": _hash(job.target), "report": dict(report)}
        append_line(self._path, json.dumps(row, ensure_ascii=False))

    def close(self, failures: Sequence[str]) -> None:
        """Remove the journal where nothing is left to do."""
        if self._path is not None and not failures:
            self._path.unlink(missing_ok=True)


def _hash(path: Path) -> str | None:
    """Return the SHA-256 of a file, or None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
