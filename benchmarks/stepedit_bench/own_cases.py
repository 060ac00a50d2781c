"""A user's own cases as a suite: ``cases.jsonl`` and recordings in a folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.plan import ForeseenUtterance, NotHeardYet
from stepedit_core.scoring import Case, read_cases
from stepedit_core.storage.encodings import not_utf8

__all__ = ["FILE", "OWN", "RECORDINGS", "problem_of", "read_own"]

OWN = "cases"
"""Name for ``--suite``."""
FILE = "cases.jsonl"
MAX_BYTES = 50_000_000
RECORDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aiff", ".aif")
"""Suffixes of files that are taken for recordings of a folder."""
_RATE = 24_000
"""Stands for the sample rate of a recording that was not read; no edit of words depends on it."""


def read_own(edit: type[Edit], folder: str | Path) -> list[Case] | None:
    """Return the cases of an edit class; None where the folder has none for it.

    Each line is a case as plugins write them; ``audio`` is ``speech:NAME`` or a path that may be
    relative to the folder.

    Raises:
        StepeditError: if the file is absent, too large, a line is no case, or a case asks for what
            its transcript does not hold.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        there = [one for one in path.parent.glob("*") if one.suffix.lower() in RECORDINGS]
        how = (
            f"; make one of its recordings: stepedit bench cross {path.parent} --edit "
            f"{edit.name} --out SUITE, then --suite-path SUITE"
        )
        what = how if there else f"; a suite of one's own is a folder with {FILE}"
        raise StepeditError(f"{path}: no such file{what}")
    if path.stat().st_size > MAX_BYTES:
        raise StepeditError(f"{path}: larger than {MAX_BYTES // 10**6} MB; split the suite")
    try:
        cases = read_cases(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise StepeditError(f"{path}: {not_utf8(error.object)}") from error
    except ValueError as error:
        raise StepeditError(f"{path}: {error}") from error
    own = [case for case in cases if type(case.edit) is edit]
    for case in own:
        if problem := problem_of(case):
            raise StepeditError(f"{path}: case {case.id}: {problem}")
    return [_placed(case, path.parent) for case in own] or None


def problem_of(case: Case) -> str | None:
    """Say why the words of a case cannot be edited as it asks, or return None.

    What depends on the recording is not known here and is told when the case is run.
    """
    if not case.transcript:
        return None
    words = ForeseenUtterance(case.transcript, _RATE, case.language)
    with contextlib.suppress(NotHeardYet):
        return case.edit.problem(words)
    return None


def _placed(case: Case, folder: Path) -> Case:
    """Return a case whose recording is found from any working folder."""
    if case.audio.startswith("speech:") or Path(case.audio).is_absolute():
        return case
    return case.model_copy(update={"audio": str((folder / case.audio).resolve())})
