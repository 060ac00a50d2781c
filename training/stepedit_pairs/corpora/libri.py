"""LibriSpeech and LibriTTS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from stepedit_core.pairs import CorpusItem
from stepedit_core.storage.tables import text_lines
from stepedit_pairs.corpora.walking import NamedFiles, first_text, item_id, split_of

__all__ = ["LibriSpeech", "LibriTts"]

_LICENCE = "CC BY 4.0"


class LibriSpeech(NamedFiles):
    """LibriSpeech: ``train-clean-100/19/198/19-198-0001.flac``, words in ``19-198.trans.txt``.

    Words are in capitals, as published. Source: Panayotov et al. 2015, ICASSP (openslr.org/12).
    """

    name = "librispeech"
    pattern = re.compile(r"(\d+)-(\d+)-(\d{4})")

    def item(self, root: Path, file: Path, match: re.Match[str]) -> CorpusItem | None:
        """Return the item of a recording by its name and its chapter's transcripts."""
        speaker, chapter, _ = match.groups()
        words = _chapter(file.parent / f"{speaker}-{chapter}.trans.txt")
        return CorpusItem(
            item_id(root, file),
            str(file),
            words.get(file.stem),
            f"librispeech_{speaker}",
            "en",
            split=split_of(root, file),
            licence=_LICENCE,
            corpus="librispeech",
        )


@lru_cache(maxsize=2)
def _chapter(path: Path) -> Mapping[str, str]:
    if not path.is_file():
        return {}
    lines = (line.partition(" ") for _, line in text_lines(path))
    return {name: text for name, _, text in lines}


class LibriTts(NamedFiles):
    """LibriTTS: ``train-clean-100/103/1241/103_1241_000000_000001.wav`` and its text files.

    The normalised text beside a recording is used, the original one where that is missing.
    Source: Zen et al. 2019, Interspeech (openslr.org/60); LibriTTS-R has the same layout.
    """

    name = "libritts"
    pattern = re.compile(r"(\d+)_(\d+)_(\d{6})_(\d{6})")

    def item(self, root: Path, file: Path, match: re.Match[str]) -> CorpusItem | None:
        """Return the item of a recording by its name and its text files."""
        return CorpusItem(
            item_id(root, file),
            str(file),
            first_text(
                file.with_suffix(".normalized.txt"),
                file.with_suffix(".original.txt"),
            ),
            f"libritts_{match[1]}",
            "en",
            split=split_of(root, file),
            licence=_LICENCE,
            corpus="libritts",
        )
