"""The one folder whose files tools may read and write, and how writing is undone."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from stepedit_core import StepeditError, Utterance, language_tag, printable

__all__ = ["Folder"]

MOST_BYTES = 256 * 2**20
"""Largest file that is read."""
MOST_UNDONE = 50
"""Most writings that are remembered."""
WRITABLE = (".wav", ".flac", ".ogg", ".mp3", ".opus")
"""Suffixes of the sound files that can be written."""


class FolderError(StepeditError):
    """A path outside the folder, or a file there that may not be touched."""


@dataclass(frozen=True)
class _Written:
    """One writing of a file.

    Attributes:
        digest: of what was written.
        earlier: a copy of what was there before, or None.
    """

    digest: str
    earlier: Path | None


class Folder:
    """Files below a root, by relative path; links and special files are refused."""

    def __init__(self, root: Path) -> None:
        """Take the root.

        Raises:
            FolderError: if it is no folder.
        """
        if not root.is_dir():
            raise FolderError(f"{root}: no folder; --root names the one whose files may be used")
        self.root = root.resolve()
        self._written: dict[Path, list[_Written]] = defaultdict(list)
        self._copies = tempfile.TemporaryDirectory(prefix="stepedit-undo-")

    def close(self) -> None:
        """Forget how to undo, and remove the copies."""
        self._written.clear()
        self._copies.cleanup()

    def read(self, name: str, transcript: str | None, language: str | None) -> Utterance:
        """Return a recording of the folder; raises StepeditError."""
        content = self._content(self._inside(name), name)
        if "\0" in (transcript or ""):
            raise FolderError("text: there is a zero byte in it")
        tag = language_tag(language) if language else None
        return Utterance.from_bytes(content, transcript or None, tag, name=name)

    def write(self, name: str, speech: Utterance, *, overwrite: bool) -> None:
        """Write a recording, and remember what was there; raises StepeditError."""
        path = self.target(name, overwrite=overwrite)
        earlier = None
        if path.exists():
            handle, copy = tempfile.mkstemp(dir=self._copies.name)
            with os.fdopen(handle, "wb") as file:
                file.write(self._content(path, name))
            earlier = Path(copy)
        speech.write(path)
        self._written[path].append(_Written(_digest(self._content(path, name)), earlier))
        self._forget()

    def target(self, name: str, *, overwrite: bool) -> Path:
        """Return the path of a file that may be written; raises FolderError."""
        path = self._inside(name)
        if path.suffix.lower() not in WRITABLE:
            raise FolderError(f"{printable(name)}: its suffix is none of {' '.join(WRITABLE)}")
        if not path.parent.is_dir():
            raise FolderError(f"{printable(name)}: its folder does not exist")
        if path.exists():
            self._regular(path, name)
            if not overwrite:
                raise FolderError(f"{printable(name)} exists; set overwrite, or name another file")
        return path

    def undo(self, name: str) -> bool:
        """Take the last writing of a file back.

        Returns:
            True if its earlier content is there again, False if it was removed, as it was not
            there before.

        Raises:
            FolderError: if nothing was written there, or it has changed since.
        """
        path = self._inside(name)
        if not self._written.get(path):
            raise FolderError(f"{printable(name)}: no edit of this session wrote it")
        last = self._written[path][-1]
        if _digest(self._content(path, name)) != last.digest:
            raise FolderError(f"{printable(name)} has changed since it was written; left as it is")
        if last.earlier is None:
            path.unlink()
        else:
            self._restore(last.earlier, path)
        self._written[path].pop()
        return last.earlier is not None

    def _restore(self, copy: Path, path: Path) -> None:
        """Put a copy in a file's place, at once."""
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".undo-", delete=False) as file:
            file.write(copy.read_bytes())
        os.chmod(file.name, stat.S_IMODE(path.stat().st_mode))
        os.replace(file.name, path)
        copy.unlink()

    def _forget(self) -> None:
        """Drop the oldest writings beyond the limit."""
        every = [(path, one) for path, done in self._written.items() for one in done]
        for path, one in every[: max(0, len(every) - MOST_UNDONE)]:
            self._written[path].remove(one)
            if one.earlier is not None:
                one.earlier.unlink(missing_ok=True)

    def _inside(self, name: str) -> Path:
        """Return the path of a name below the root, no link on the way; raises FolderError."""
        shown = printable(name, 120)
        if not name or "\0" in name:
            raise FolderError("a path is empty, or has a zero byte in it")
        path = Path(name)
        parts = path.relative_to(self.root).parts if path.is_relative_to(self.root) else path.parts
        if Path(*parts).is_absolute() or not parts or ".." in parts or "~" in parts[0][:1]:
            raise FolderError(f"{shown}: outside the folder; give a path relative to it")
        at = self.root
        for part in parts:
            at = at / part
            try:
                if at.is_symlink():
                    raise FolderError(f"{shown}: a symbolic link; links are not followed")
            except OSError as error:
                raise FolderError(f"{shown}: {error.strerror}") from error
        return at

    def _regular(self, path: Path, name: str) -> None:
        """Hold that a path is a plain file; raises FolderError."""
        if not path.is_file():
            raise FolderError(f"{printable(name)}: no plain file")

    def _content(self, path: Path, name: str) -> bytes:
        """Return the bytes of a plain file; its last component may not become a link meanwhile."""
        shown = printable(name, 120)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            handle = os.open(path, flags)
        except FileNotFoundError as error:
            raise FolderError(f"{shown}: no such file") from error
        except OSError as error:
            raise FolderError(f"{shown}: {error.strerror}") from error
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise FolderError(f"{shown}: no plain file")
            if facts.st_size > MOST_BYTES:
                raise FolderError(f"{shown}: {facts.st_size} bytes; {MOST_BYTES} are the most")
            return file.read()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
