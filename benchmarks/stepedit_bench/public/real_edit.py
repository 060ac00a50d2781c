"""RealEdit (VoiceCraft, Peng et al. 2024) as a suite: a table of transcripts before and after.

Its file ``RealEdit.txt`` (or any one ``.txt`` or ``.tsv`` in the folder with its header) holds,
parted by tabs, ``wav_fn``, ``orig_transcript``, ``new_transcript``, ``orig_masked_span``,
``new_masked_span`` and ``type``. Spans are indices of words from 0, both ends included; a
deletion's new span and an insertion's original one name the two neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stepedit_bench.public.items import Item, bounded, inside, phrase_at, shortened
from stepedit_bench.public.targets import Words
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import StepeditError
from stepedit_core.storage.tables import table_rows

__all__ = ["read_items"]

_NEEDED = ("wav_fn", "orig_transcript", "new_transcript", "new_masked_span", "type")
_SPAN = re.compile(r"^\s*(\d{1,6})\s*(?:,\s*(\d{1,6})\s*)?$")


def read_items(folder: Path) -> Iterator[Item]:
    """Yield the rows: a ``delete``, or a ``rewrite`` to the new transcript.

    Raises:
        StepeditError: if there is no such table, or a row lacks a field.
    """
    path = _table(folder)
    for line, row in table_rows(path, set(_NEEDED)):
        missing = [name for name in _NEEDED if not str(row.get(name) or "").strip()]
        if missing:
            raise StepeditError(f"{path}: line {line} lacks {', '.join(missing)}")
        yield _item(row, line, folder, path)


def _table(folder: Path) -> Path:
    named = folder / "RealEdit.txt"
    found = [named] if named.is_file() else sorted([*folder.glob("*.tsv"), *folder.glob("*.txt")])
    if len(found) != 1:
        raise StepeditError(
            f"{folder}: no RealEdit.txt; --suite-path names a folder with it and its recordings"
        )
    return bounded(found[0], "RealEdit")


def _item(row: Mapping[str, Any], line: int, root: Path, path: Path) -> Item:
    where = f"{path}: line {line}"
    before, after = shortened([str(row["orig_transcript"]), str(row["new_transcript"])], where)
    kind = str(row["type"]).split(",")[0].strip().lower() or "unknown"
    item = Item(
        id=f"{line:04d}-{Path(str(row['wav_fn'])).stem}",
        row=f"{len(_spans(str(row['new_masked_span']), where))} {kind}",
        audio=_recording(root, str(row["wav_fn"])),
        language="en",
        requests=(_request(row, before, after, where),),
        transcript=before,
        said=before,
        wanted=after,
        targets=(Words(after, _regions(row, after, where), "en"),),
    )
    return item


def _request(row: Mapping[str, Any], before: str, after: str, where: str) -> dict[str, Any]:
    """Return the edit of a row: one deletion by itself needs no new speech."""
    spans = _spans(str(row.get("orig_masked_span") or ""), where) if _deletes(row) else []
    if len(spans) != 1:
        return {"edit": "rewrite", "to": after}
    place = _words_of(before, spans[0], where)
    if place[0] == place[1]:  # a stop alone
        return {"edit": "rewrite", "to": after}
    phrase, which = phrase_at(before, place)
    return {"edit": "delete", "find": phrase, "occurrence": which}


def _deletes(row: Mapping[str, Any]) -> bool:
    return str(row["type"]).strip().lower().startswith("delet")


def _words_of(text: str, span: tuple[int, int], where: str) -> tuple[int, int]:
    """Return (first, stop) in our words of a span in words that blanks part."""
    blanks = [match.span() for match in re.finditer(r"\S+", text)]
    if span[1] > len(blanks):
        raise StepeditError(f"{where}: a span ends after the last of {len(blanks)} words")
    start, end = (blanks[min(place, len(blanks) - 1)] for place in span)
    words = split_words(text)
    first = sum(word.end <= start[0] for word in words)
    return first, max(first, sum(word.start < end[1] for word in words))


def _recording(root: Path, name: str) -> Path:
    """Return a recording beside the table or in a folder of its own."""
    places = [inside(root, name), inside(root, f"wavs/{name}"), inside(root, f"audio/{name}")]
    return next((place for place in places if place.is_file()), places[0])


def _spans(text: str, where: str) -> list[tuple[int, int]]:
    """Read "10,12" or "19", several parted by "|", both ends included."""
    found = []
    for part in text.split("|"):
        match = _SPAN.match(part)
        if match is None:
            raise StepeditError(f"{where}: {text[:80]!r} is no span of words")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise StepeditError(f"{where}: the span {part.strip()} ends before it begins")
        found.append((first, last))
    return found


def _regions(row: Mapping[str, Any], after: str, where: str) -> tuple[tuple[int, int], ...]:
    """Return the changed words of the new transcript, in our words."""
    regions = []
    for span in _spans(str(row["new_masked_span"]), where):
        begin, stop = _words_of(after, span, where)
        if "delet" in str(row["type"]).lower():
            begin = stop = min(begin + 1, stop)  # between the two neighbours
        regions.append((begin, stop))
    return tuple(regions)
