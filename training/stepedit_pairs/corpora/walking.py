"""Walk folders of recordings in a stable order, and recognise a layout by its file names."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar

from stepedit_core.dsp.words import normalised, plain_text, split_words
from stepedit_core.pairs import CorpusItem
from stepedit_core.storage.tables import text_of

__all__ = [
    "AUDIO_SUFFIXES",
    "NamedFiles",
    "audio_files",
    "first_text",
    "item_id",
    "same_words",
    "split_of",
]

AUDIO_SUFFIXES = (
    ".wav", ".opus", ".ogg", ".mp3", ".flac", ".oga", ".m4a", ".aac", ".webm", ".wma", ".amr",
    ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".sph",
)  # fmt: skip
"""Suffixes of recordings, in order of preference where one lies there in several formats.

Films (``.mp4``) are left out: corpora have them beside the sound that was taken from them.
"""
LOOK_AT = 64
"""Recordings whose names are looked at to recognise a layout."""
_SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "evaluation": "dev", "test": "test"}


def audio_files(root: Path) -> Iterator[Path]:
    """Yield the audio files below a folder, sorted within each folder, opening none.

    Links to folders elsewhere are followed, once each; those to folders within are walked anyway.
    """
    top, seen = os.path.realpath(root), set[str]()

    def enters(path: str, name: str) -> bool:
        if name.startswith("."):
            return False
        if not os.path.islink(path):
            return True
        return os.path.commonpath([top, os.path.realpath(path)]) != top

    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = [n for n in sorted(subfolders) if enters(os.path.join(folder, n), n)]
        for name in sorted(files):
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield Path(folder) / name


def item_id(root: Path, path: Path) -> str:
    """Return the id of a file: its path below the corpus, with forward slashes."""
    return path.relative_to(root).as_posix()


def first_text(*paths: Path) -> str | None:
    """Return the text of the first of some files that exists and holds any, in one line.

    Raises:
        StepeditError: if a file cannot be read, or its encoding is not known.
    """
    for path in paths:
        text = plain_text(text_of(path)) if path.is_file() else ""
        if text:
            return text
    return None


def same_words(speaker: str | None, text: str | None) -> str | None:
    """Return the group of recordings with one speaker and one wording, or None if unknown."""
    words = " ".join(normalised(word.text) for word in split_words(text or ""))
    return f"{speaker}|{words}" if speaker and words else None


def split_of(root: Path, path: Path) -> str | None:
    """Return the split that a folder name such as ``train-clean-100`` gives, or None."""
    for part in reversed((root.name, *path.relative_to(root).parts[:-1])):
        for start, split in _SPLITS.items():
            if re.match(rf"{start}(?=-|$)", part.lower()):
                return split
    return None


class NamedFiles(ABC):
    """A corpus whose file names say what each recording is."""

    name: ClassVar[str]
    """Name for ``--layout``."""
    pattern: ClassVar[re.Pattern[str]]
    """What a recording's file name matches as a whole, without its suffix."""

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Return whether most of the first recordings below a folder are named as in this set."""
        root = Path(path)
        if not root.is_dir():
            return False
        seen = [self.matches(file) is not None for file in islice(audio_files(root), LOOK_AT)]
        return 2 * sum(seen) > len(seen)

    def items(self, path: os.PathLike[str]) -> Iterator[CorpusItem]:
        """Yield the recordings that are named as in this set."""
        root = Path(path)
        for file in audio_files(root):
            match = self.matches(file)
            item = self.item(root, file, match) if match else None
            if item is not None:
                yield item

    def matches(self, file: Path) -> re.Match[str] | None:
        """Match a recording's name against the pattern."""
        return self.pattern.fullmatch(file.stem)

    @abstractmethod
    def item(self, root: Path, file: Path, match: re.Match[str]) -> CorpusItem | None:
        """Return the item of a recording by its name, or None to leave it out."""
