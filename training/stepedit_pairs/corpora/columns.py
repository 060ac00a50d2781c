"""Columns of manifests under their customary names."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from stepedit_core.dsp.words import plain_text
from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.storage.blocks import sound_seconds
from stepedit_pairs.corpora.labels import NEUTRAL, attribute_of, own_spelling
from stepedit_pairs.corpora.walking import same_words

__all__ = ["KNOWN", "NOT_SPEECH", "PATH_COLUMNS", "TEXT_COLUMNS", "item_from_row"]

PATH_COLUMNS = (
    "path", "audio_path", "audio_filepath", "file_name", "filename", "file", "wav", "wav_path",
    "audio", "audio_file", "file_path", "filepath", "wav_file", "wav_filename", "recording",
)  # fmt: skip
"""Names of the column with the recording, in order of preference."""
_ID = ("id", "utt_id", "utterance_id", "key")
TEXT_COLUMNS = (
    "text", "transcript", "transcription", "normalized_text", "text_normalized", "sentence",
    "words", "txt", "transcripts", "transcript_text", "raw_text", "content", "caption",
)  # fmt: skip
"""Names of the column with the words, in order of preference."""
_SPEAKER = ("speaker", "speaker_id", "speaker_name", "spk", "spk_id", "client_id", "voice")
_LANGUAGE = ("language", "lang", "locale")
_SPLIT = ("split", "suggested_split", "subset")
_LICENCE = ("licence", "license")
_GROUP = ("group", "parallel_group")
_CORPUS = ("corpus", "set", "dataset")
_EVENT = ("event", "events")
_PART = (
    ("start", "end"), ("start_time", "end_time"), ("begin", "end"), ("begin_time", "end_time"),
)  # fmt: skip
"""Columns that name a part of a recording, in seconds."""
_ROUNDED = 0.5
"""Seconds by which a recording may be longer than a manifest says."""
NOT_SPEECH = frozenset({"noise", "rir", "music", "impulse_response"})
"""Values of a column ``kind`` whose rows are no recordings of speech; they are left out."""


KNOWN = frozenset(PATH_COLUMNS)
"""Columns by which the header of a manifest is recognised."""
_ID_OF_LJ = "lj_id"


def _text(row: Mapping[str, Any]) -> str | None:
    """Return the words of a row; LJ Speech's normalised ones are those that are said.

    Raises:
        StepeditError: if they are no text.
    """
    if _ID_OF_LJ in row:
        return _plain(_first(row, ("normalized_text", "text")))
    for name in TEXT_COLUMNS:
        value = row.get(name)
        if value is not None and not isinstance(value, str | int | float):
            kind = "a list" if isinstance(value, list) else "an object"
            raise StepeditError(f"the column {name!r} holds {kind} where a text belongs")
    return _plain(_first(row, TEXT_COLUMNS))


def _plain(text: str | None) -> str | None:
    return plain_text(text) or None if text is not None else None


def _refuse_part(row: Mapping[str, Any], path: str) -> None:
    """Refuse a row that means a part of its recording, as NeMo's ``offset`` does.

    A start and an end may as well say where a recording was cut from: its length tells.

    Raises:
        StepeditError: if there is an offset other than 0, or the recording is longer than the
            part that is named.
    """
    offset = _number(row.get("offset")) or 0.0
    cure = "the row means a part of its recording; cut it into a file first"
    if offset != 0.0:
        raise StepeditError(f"offset {offset:g}: {cure}")
    part = _part_of(row)
    if part is None or part <= 0 or not os.path.isfile(path):
        return
    try:
        seconds = sound_seconds(path, max_seconds=math.inf)
    except StepeditError:
        return  # what cannot be read is rejected with its reason later
    if seconds - part > max(_ROUNDED, 0.2 * part):
        raise StepeditError(f"{part:g} s of a recording of {seconds:.1f} s: {cure}")
    thousandth = part / 1000
    if part > 2 * seconds + _ROUNDED and seconds - thousandth > max(_ROUNDED, 0.2 * thousandth):
        raise StepeditError(
            f"{part:g} s, or {thousandth:g} s if it means milliseconds, of a recording of "
            f"{seconds:.1f} s: {cure}"
        )


def _part_of(row: Mapping[str, Any]) -> float | None:
    """Return how many seconds of a recording a row names, or None where it names none."""
    part = _number(row.get("duration")) if "offset" in row or "start" in row else None
    for begin, end in _PART:
        for unit, factor in (("", 1.0), ("_ms", 1e-3)):
            first, last = _number(row.get(begin + unit)), _number(row.get(end + unit))
            if first is not None and last is not None:
                part = (last - first) * factor
    return part


def _number(value: object) -> float | None:
    """Return a finite number, or None where there is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _first(row: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first named value that holds anything, as text."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int | float) and str(value).strip():
            return str(value).strip()
    return None


def item_from_row(row: Mapping[str, Any], path: str, number: int, corpus: str) -> CorpusItem | None:
    """Return a row of a table as an item, or None where it is no recording of speech.

    Args:
        row: values by column name, in lower case.
        path: the recording.
        number: the row's number, its id where it has none.
        corpus: name of the corpus for rows that name none.

    Raises:
        StepeditError: if the words are no text, or the row means a part of a recording.
    """
    kind = (_first(row, ("kind",)) or "").lower()
    if kind in NOT_SPEECH:
        return None
    _refuse_part(row, path)
    text, speaker = _text(row), _first(row, _SPEAKER)
    return CorpusItem(
        _first(row, (*_ID, _ID_OF_LJ)) or _first(row, PATH_COLUMNS) or f"row-{number:09d}",
        path,
        text,
        speaker,
        _first(row, _LANGUAGE),
        _labels(row, kind),
        _first(row, _GROUP) or same_words(speaker, text),
        _first(row, _SPLIT),
        _first(row, _LICENCE),
        _first(row, _CORPUS) or corpus,
    )


def _labels(row: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Return the labels of a row; a bare ``label`` belongs to what its kind or itself says."""
    found = {"kind": kind} if kind else {}
    emotion, style = _first(row, ("emotion",)), _first(row, ("style", "speaking_style"))
    label, event = _first(row, ("label",)), _first(row, _EVENT)
    if label:
        attribute = attribute_of(label)
        if kind == "style" or attribute == "style":
            style = style or label
        elif kind.startswith("emotion") or attribute == "emotion":
            emotion = emotion or label
        elif kind in ("nonverbal", "event"):
            event = event or label
        else:
            found["label"] = label
    if emotion or style:
        # Who gives one of the two speaks neutrally otherwise.
        found["emotion"] = own_spelling("emotion", emotion or NEUTRAL)
        found["style"] = own_spelling("style", style or NEUTRAL)
    if event:
        found["event"] = event.partition(" (")[0]  # "laughter (mostly)" is still laughter
    for name in ("intensity", "dialect", "gender", "age"):
        value = _first(row, (name,))
        if value:
            found[name] = value
    return found
