"""Named voices: a TOML file beside a recording says whose voice it is, and what may be done.

Each ``NAME.toml`` has::

    speaker = "Ada Example"
    language = "en"
    licence = "CC BY 4.0"
    consent = "The speaker agreed to synthetic speech in her voice, 2026-01-31."
    audio = "ada.wav"        # may be left out: NAME.wav or NAME.flac; or "speech:NAME"

``licence`` and ``consent`` are required: a voice is personal data, and one whose owner was not
asked is not offered by name.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stepedit_core import StepeditError, Utterance, packaged_speech

__all__ = ["VOICES_VARIABLE", "NamedVoice", "find_voice", "is_file", "named_voices"]

VOICES_VARIABLE = "STEPEDIT_VOICES"
"""Environment variable with folders of voices, as PATH lists folders."""
_AUDIO = (".wav", ".flac")
_LARGEST_TOML = 64_000


class _Card(BaseModel):
    """What a TOML file says of a voice."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    speaker: str = Field(min_length=1)
    language: str | None = None
    licence: str = Field(min_length=1)
    consent: str = Field(min_length=1)
    source: str | None = None
    audio: str | None = None


@dataclass(frozen=True)
class NamedVoice:
    """A voice that is offered by name.

    Attributes:
        name: what ``Voice(reference=...)`` takes.
        speaker: whose voice it is.
        language: BCP 47 tag of the recording, or None.
        licence: terms of the recording.
        consent: what the speaker agreed to.
        audio: file of the recording, or ``speech:NAME`` for one that ships with the package.
    """

    name: str
    speaker: str
    language: str | None
    licence: str
    consent: str
    audio: str

    def read(self) -> Utterance:
        """Return the recording; raises AudioError if it cannot be read."""
        kind, _, packaged = self.audio.partition(":")
        return packaged_speech(packaged) if kind == "speech" else _read(self.audio)


def named_voices() -> Iterator[NamedVoice]:
    """Yield the voices of the user's folders, then those that ship, by name.

    Raises:
        StepeditError: if a folder is absent, or a TOML file lacks what it must say.
    """
    seen: set[str] = set()
    for folder in _folders():
        for card in sorted(folder.glob("*.toml")):
            if card.stem not in seen:
                seen.add(card.stem)
                yield _voice(card)


def is_file(reference: str) -> bool:
    """Return whether a reference is a file: it has a folder or the suffix of a file in it."""
    return bool(Path(reference).suffix) or any(mark in reference for mark in "/\\:")


def find_voice(reference: str) -> Utterance:
    """Return the recording of a voice, by name or by file.

    What has a folder or the suffix of a file in it is a file, all else is a name.

    Raises:
        StepeditError: if there is no such voice or file.
    """
    if is_file(reference):
        return _read(reference)
    for folder in _folders():
        card = folder / f"{reference}.toml"
        if card.is_file():
            return _voice(card).read()
    known = ", ".join(sorted({card.stem for one in _folders() for card in one.glob("*.toml")}))
    raise StepeditError(
        f"no voice {reference!r}; there are {known}, those in the folders of {VOICES_VARIABLE}, "
        "or the file of a recording"
    )


def _folders() -> list[Path]:
    """Return the folders of voices; raises StepeditError if the user names one that is absent."""
    own = [Path(one) for one in os.environ.get(VOICES_VARIABLE, "").split(os.pathsep) if one]
    for folder in own:
        if not folder.is_dir():
            raise StepeditError(f"{VOICES_VARIABLE}: {folder} is no folder")
    return [*own, Path(__file__).parent / "named"]


def _voice(card: Path) -> NamedVoice:
    """Read the TOML file of a voice."""
    try:
        if card.stat().st_size > _LARGEST_TOML:
            raise StepeditError(f"{card}: larger than {_LARGEST_TOML} bytes, so no card of a voice")
        data: dict[str, Any] = tomllib.loads(card.read_text(encoding="utf-8"))
        said = _Card.model_validate(data)
    except UnicodeDecodeError as error:
        raise StepeditError(f"{card}: not UTF-8; save it as UTF-8") from error
    except (OSError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise StepeditError(f"{card}: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise StepeditError(
            f"{card}: {wrong}; a voice needs speaker, licence and consent as text"
        ) from error
    audio = said.audio or next(
        (card.stem + suffix for suffix in _AUDIO if card.with_suffix(suffix).is_file()), None
    )
    if audio is None:
        raise StepeditError(f"{card}: no {card.stem}.wav or {card.stem}.flac beside it")
    place = audio if audio.startswith("speech:") else str(card.parent / audio)
    return NamedVoice(card.stem, said.speaker, said.language, said.licence, said.consent, place)


def _read(path: str) -> Utterance:
    """Read a recording; one that has not changed is read once."""
    try:
        changed = os.stat(path).st_mtime_ns
    except OSError as error:
        raise StepeditError(f"{path}: {error.strerror or error}; give a recording") from error
    return _read_once(path, changed)


@lru_cache(maxsize=16)
def _read_once(path: str, changed: int) -> Utterance:
    """Read a recording in the state of a time of change."""
    return Utterance.read(path)
