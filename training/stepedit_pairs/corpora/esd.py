"""The Emotional Speech Dataset (ESD)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_pairs.corpora.labels import own_spelling
from stepedit_pairs.corpora.walking import NamedFiles, item_id, split_of

__all__ = ["Esd"]

_EMOTIONS = frozenset({"angry", "happy", "neutral", "sad", "surprise"})
_PER_EMOTION = 350
_FIRST_ENGLISH = 11


class Esd(NamedFiles):
    """ESD: ``0011/Angry/train/0011_000401.wav``, words in ``0011/0011.txt``.

    Ten Mandarin (0001-0010) and ten English speakers (0011-0020) say 350 utterances in five
    emotions; numbers run on through the emotions, so that numbers 350 apart share their words.
    The text file holds number, words and emotion, parted by tabs. Folders of splits may be
    missing. Source: Zhou, Sisman, Liu & Li 2021 (arXiv:2105.14762) and
    HLTSingapore/Emotional-Speech-Data. Licence: for research only, on request.
    """

    name = "esd"
    pattern = re.compile(r"(00[012]\d)_(\d{6})")

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Return whether recordings are named as in the set and lie in folders of emotions."""
        return super().recognises(path) and any(
            part.is_dir() and part.name.lower() in _EMOTIONS
            for pattern in ("*", "*/*", "*/*/*")
            for part in Path(path).glob(pattern)
        )

    def item(self, root: Path, file: Path, match: re.Match[str]) -> CorpusItem | None:
        """Return the item of a recording by its name and folders; None outside emotion folders."""
        speaker, number = match.groups()
        folders = file.relative_to(root).parts[:-1]
        emotion = next((part for part in reversed(folders) if part.lower() in _EMOTIONS), None)
        if emotion is None:
            return None
        return CorpusItem(
            item_id(root, file),
            str(file),
            _words(file, speaker).get(file.stem),
            f"esd_{speaker}",
            "en" if int(speaker) >= _FIRST_ENGLISH else "zh",
            {"emotion": own_spelling("emotion", emotion)},
            group=f"esd_{speaker}|{(int(number) - 1) % _PER_EMOTION + 1:03d}",
            split=split_of(root, file),
            licence="ESD licence: research only",
            corpus="esd",
        )


def _words(file: Path, speaker: str) -> Mapping[str, str]:
    """Return the words of a speaker by file name, from the nearest ``<speaker>.txt`` above."""
    for folder in list(file.parents)[:3]:
        path = folder / f"{speaker}.txt"
        if path.is_file():
            return _transcripts(path)
    return {}


@lru_cache(maxsize=2)
def _transcripts(path: Path) -> Mapping[str, str]:
    try:
        lines = _decode(path.read_bytes()).splitlines()
    except UnicodeDecodeError as error:
        raise StepeditError(f"{path}: neither UTF-8, UTF-16 nor GBK; save it as UTF-8") from error
    rows = (re.split(r"\t+", line.strip()) for line in lines)
    return {row[0].strip(): row[1].strip() for row in rows if len(row) >= 2}


def _decode(raw: bytes) -> str:
    """Decode a text file; those of some speakers are in UTF-16 or GBK."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("gb18030")
