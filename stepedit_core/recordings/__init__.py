"""Recordings that ship with the package, for demos and built-in benchmark cases."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files

from stepedit_core.errors import AudioError
from stepedit_core.utterance import Utterance

__all__ = ["Packaged", "packaged", "packaged_speech"]


@dataclass(frozen=True)
class Packaged:
    """What is known about a shipped recording.

    Attributes:
        name: what ``packaged_speech`` takes.
        file: file name inside the package.
        transcript: the words spoken.
        language: BCP 47 tag.
        speaker: identity of the voice.
        gender: ``F`` or ``M``.
        kind: ``recorded`` or ``synthetic``.
        licence: terms of the recording.
        credit: who made it.
    """

    name: str
    file: str
    transcript: str
    language: str
    speaker: str
    gender: str
    kind: str
    licence: str
    credit: str


@cache
def packaged() -> dict[str, Packaged]:
    """Return all shipped recordings by name."""
    text = files(__package__).joinpath("manifest.jsonl").read_text(encoding="utf-8")
    rows = [Packaged(**json.loads(line)) for line in text.splitlines()]
    return {row.name: row for row in rows}


def packaged_speech(name: str) -> Utterance:
    """Read a shipped recording with its transcript.

    Raises:
        AudioError: if there is none of that name; the text lists them.
    """
    known = packaged()
    if name not in known:
        raise AudioError(f"no packaged speech {name!r}; there is {', '.join(known)}")
    row = known[name]
    with as_file(files(__package__).joinpath(row.file)) as path:
        return Utterance.read(path, row.transcript, row.language)
