"""Words as phones, for small models: nobody learns English spelling from a few hours of speech."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from stepedit_core.errors import CheckpointError

__all__ = ["COMMENT", "PHONES", "WORD", "Pronunciations"]

PHONES = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH",
    "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH",
    "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
"""ARPAbet without stress, as in the CMU Pronouncing Dictionary."""
COMMENT = "#"
"""Begins a line of a dictionary that is no word."""
WORD = re.compile(r"(?<![^\W_])[A-Za-z]+(?:['’][A-Za-z]+)*(?![^\W_])")
"""What is looked up: a run of letters, with apostrophes inside. Parts of words with other letters
or digits (``naïve``, ``7th``) are not."""


MAX_BYTES = 1 << 25
"""Most bytes of a dictionary; CMUdict has 4 MB."""


class Pronunciations:
    """A pronouncing dictionary: word to phones.

    The file is gzip-compressed UTF-8 text with a word and its phones in each line, parted by
    spaces; lines that begin with ``#`` are remarks. It is read when the first word is looked up.
    """

    def __init__(self, path: str | Path) -> None:
        """Name the file.

        Raises:
            CheckpointError: if it is missing.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise CheckpointError(f"{self.path} is missing: the text tokenizer spells words by it")
        self._words: Mapping[str, str] | None = None

    def phones(self, word: str) -> tuple[str, ...] | None:
        """Return the phones of a word in any case, or None if it is not known.

        Raises:
            CheckpointError: if the file is damaged.
        """
        if self._words is None:
            self._words = self._read()
        found = self._words.get(word.lower().replace("’", "'"))
        return None if found is None else tuple(found.split())

    def _read(self) -> Mapping[str, str]:
        try:
            with gzip.open(self.path) as file:
                raw = file.read(MAX_BYTES + 1)
            if len(raw) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES >> 20} MB unpacked")
            text = raw.decode()
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise CheckpointError(f"{self.path}: no pronouncing dictionary ({error})") from error
        lines = (line for line in text.splitlines() if not line.startswith(COMMENT))
        parted = (line.partition(" ") for line in lines)
        words = {word: spelled.strip() for word, _, spelled in parted}
        # A word without phones would be left out of what is to be said.
        strange = {phone for spelled in words.values() for phone in spelled.split() or [""]}
        if not words or not strange <= set(PHONES):
            raise CheckpointError(f"{self.path}: no pronouncing dictionary, or of other phones")
        return words
