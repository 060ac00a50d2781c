"""Corpora with paralinguistic tags in the text: NVSpeech, Emilia-NV and their like."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.storage.stored_json import read_json
from stepedit_pairs.corpora.columns import item_from_row
from stepedit_pairs.corpora.ljspeech import INDEX, is_lj_index
from stepedit_pairs.corpora.manifest import rows_of
from stepedit_pairs.corpora.walking import LOOK_AT, audio_files

__all__ = ["TAGS", "Tagged", "tagged"]

TAGS = (
    "Breathing", "Crying", "Laughter", "Cough", "Sigh", "Uhm", "Shh", "Dissatisfaction-hnn",
    "Surprise-ah", "Surprise-oh", "Surprise-yo", "Surprise-wa", "Question-ah", "Question-oh",
    "Question-ei", "Question-yi", "Question-en", "Confirmation-en",
)  # fmt: skip
"""The 18 categories of NVSpeech (arXiv:2508.04195, table of tags)."""
_SPELLING = {tag.lower(): tag for tag in TAGS}
_MARK = re.compile(r"\[([A-Za-z][\w -]*)\]|\(([A-Za-z][\w-]*)\)|<\|([A-Za-z][\w-]*)\|>")
_INDEXES = ("metadata.jsonl", "metadata.csv", "manifest.jsonl", "manifest.csv")


def tagged(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a text with all tags as ``[Tag]``, and the tags in order.

    Tags in brackets are taken as they are; words in parentheses and ``<|...|>`` only if they
    are one of ``TAGS``.
    """
    found: list[str] = []

    def mark(match: re.Match[str]) -> str:
        word = next(group for group in match.groups() if group)
        if match[1] is None and word.lower() not in _SPELLING:
            return match[0]
        found.append(_SPELLING.get(word.lower(), word))
        return f"[{found[-1]}]"

    return _MARK.sub(mark, text), tuple(found)


@dataclass(frozen=True)
class Tagged:
    """Recordings whose words hold tags such as ``[Laughter]``, in one of two layouts.

    Either a JSON file beside each recording with ``text``, ``speaker`` and ``language``, as the
    shards of Emilia are when unpacked (amphion/Emilia-Dataset; Emilia-NV, Liao et al. 2025,
    arXiv:2508.04195), or a folder of recordings with ``metadata.jsonl`` or ``.csv``, as
    Hugging Face's audio folders are. Packed ``.tar`` shards are to be unpacked first. The label
    ``event`` holds the tags in order, joined by ``+``.

    Attributes:
        encoding: of the index; None to find it.
        delimiter: of the index; None to find it.
    """

    name: ClassVar[str] = "nvspeech"
    encoding: str | None = None
    delimiter: str | None = None

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Return whether recordings have JSON files beside them, or the folder has an index."""
        root = Path(path)
        if not root.is_dir():
            return False
        index = _index(root)
        if index is not None:
            return index.name != INDEX or not is_lj_index(index)
        files = list(islice(audio_files(root), LOOK_AT))
        return 2 * sum(file.with_suffix(".json").exists() for file in files) > len(files)

    def items(self, path: os.PathLike[str]) -> Iterator[CorpusItem]:
        """Yield the recordings with their tags in one notation.

        Raises:
            StepeditError: naming the index line or file that cannot be read.
        """
        root = Path(path)
        for number, row, file in self._rows(root):
            said = row.get("text") or ""
            text, events = tagged(said) if isinstance(said, str) else (said, ())
            facts = {**row, "text": text}
            if events:
                facts["event"] = "+".join(events)
            try:
                item = item_from_row(facts, str(file), number, root.resolve().name)
            except StepeditError as error:
                raise StepeditError(f"{_index(root) or file}, row {number}: {error}") from error
            if item is not None:
                yield item

    def _rows(self, root: Path) -> Iterator[tuple[int, Mapping[str, Any], Path]]:
        """Yield number, facts and recording, from an index or the files beside recordings."""
        index = _index(root)
        if index is not None:
            for number, row in rows_of(index, self.encoding, self.delimiter):
                name = row.get("file_name") or row.get("path") or row.get("wav")
                if not name:
                    raise StepeditError(f"{index}, line {number}: no file_name, path or wav")
                yield number, row, root / str(name)
            return
        number = 0
        for file in audio_files(root):
            beside = file.with_suffix(".json")
            if beside.exists():
                number += 1
                yield number, _facts(beside, file.relative_to(root).as_posix()), file


def _index(root: Path) -> Path | None:
    return next((root / name for name in _INDEXES if (root / name).is_file()), None)


def _facts(beside: Path, name: str) -> Mapping[str, Any]:
    facts = read_json(beside, "write the words of the recording again, or leave the file out")
    lowered = {str(key).lower(): value for key, value in facts.items()}
    return {"id": name, **{key: value for key, value in lowered.items() if key != "wav"}}
