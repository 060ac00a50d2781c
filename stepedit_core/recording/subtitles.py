"""Subtitles and labels in and out: SRT, WebVTT, ASS, TextGrid, Audacity labels, JSON.

SRT, WebVTT and ASS are read by pysubs2, TextGrids (Praat) by praatio. Audacity's label files
have three columns apart by tabs: start, end (seconds), text.
"""

from __future__ import annotations

import html
import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from stepedit_core.alignment import Alignment
from stepedit_core.errors import AlignmentError, MissingDependencyError, counted
from stepedit_core.storage.encodings import not_utf8
from stepedit_core.storage.stored_json import parse_json

__all__ = [
    "FORMATS",
    "Cue",
    "LabelFormat",
    "check_cues",
    "cues_of",
    "format_alignment",
    "format_cues",
    "label_format",
    "read_cues",
]

LabelFormat = Literal["json", "srt", "vtt", "textgrid", "audacity"]
FORMATS: tuple[LabelFormat, ...] = get_args(LabelFormat)
MAX_BYTES, MAX_JSON_BYTES = 5_000_000, 20_000_000
"""Longest subtitle file that is read: a day of speech has less than 3 MB, as JSON with the times
of its words more."""
LONGEST_CUE = 7.0
"""Sentences that last longer are shown in several subtitles, in seconds (a common rule)."""
_SPEAKER = re.compile(r"^(?:<v(?:\.[\w.]+)?\s+(?P<voice>[^>]+)>|(?P<name>[A-Z][\w .'-]{0,30}):\s+)")
_WHOLE_SECONDS = re.compile(r"(?<=:\d\d)(?=\s|$)")
_NEGATIVE = re.compile(r"(?:^|\s)-\d")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")
_MIN_LAST = 1e-3


@dataclass(frozen=True)
class Cue:
    """One subtitle or label.

    Attributes:
        start: in seconds of the recording.
        end: in seconds.
        text: the words; may be empty for a label without any.
        speaker: who says them, where the file tells.
    """

    start: float
    end: float
    text: str
    speaker: str | None = None


def read_cues(path: str | Path) -> tuple[Cue, ...]:
    """Read subtitles or labels; the suffix tells the format (``.txt`` is Audacity's).

    Args:
        path: ``.srt``, ``.vtt``, ``.ass``, ``.TextGrid``, ``.txt`` or ``.json``.

    Returns:
        The cues by start; markup is taken out, speakers are read from ``<v NAME>`` and
        ``NAME:``.

    Raises:
        AlignmentError: if the file is absent, damaged, empty, in an unknown encoding, or a cue
            ends before it begins; the text names file and cue.
    """
    file = Path(path)
    text = _read_text(file)
    kind = file.suffix.lower()
    try:
        if kind == ".json":
            cues = _json_cues(parse_json(text))
        elif kind == ".textgrid":
            cues = _textgrid_cues(file)
        elif kind in (".txt", ".tsv"):
            cues = _audacity_cues(text)
        else:
            cues = _subtitle_cues(text, kind)
    except AlignmentError as error:
        raise AlignmentError(f"{file}: {error}") from error
    except MissingDependencyError:
        raise
    except Exception as error:
        raise AlignmentError(f"{file}: not readable as {kind or 'subtitles'} ({error})") from error
    if not cues:
        raise AlignmentError(f"{file}: holds no cue; is it the right file?")
    for number, cue in enumerate(cues, start=1):
        if not (math.isfinite(cue.start) and math.isfinite(cue.end)):
            raise AlignmentError(f"{file}: cue {number} has no finite times")
        if cue.start < 0 or cue.end < cue.start:
            raise AlignmentError(
                f"{file}: cue {number} goes from {cue.start:.2f} to {cue.end:.2f} s; mend its times"
            )
    return tuple(sorted(cues, key=lambda cue: (cue.start, cue.end)))


def check_cues(cues: Sequence[Cue], seconds: float) -> list[str]:
    """Return in words what is wrong with cues for a recording of this duration.

    Args:
        cues: by start.
        seconds: duration of the recording.
    """
    notes = []
    overlaps = [n for n, (a, b) in enumerate(pairwise(cues), 1) if b.start < a.end]
    if overlaps:
        notes.append(
            f"{counted(len(overlaps), 'cue overlaps', 'cues overlap')} what "
            "comes next, the first is "
            f"number {overlaps[0]} at {cues[overlaps[0] - 1].start:.2f} s"
        )
    late = [n for n, cue in enumerate(cues, 1) if cue.end > seconds + _MIN_LAST]
    if late:
        notes.append(
            f"{counted(len(late), 'cue ends', 'cues end')} after the "
            f"recording ({seconds:.2f} s), the "
            f"first is number {late[0]} at {cues[late[0] - 1].start:.2f} s"
        )
    silent = sum(not cue.text for cue in cues)
    if silent:
        notes.append(f"{counted(silent, 'cue has', 'cues have')} no words")
    return notes


def cues_of(alignment: Alignment, longest: float = LONGEST_CUE) -> tuple[Cue, ...]:
    """Return the sentences of an alignment as cues; long ones are cut between words."""
    cues = []
    places = alignment.places
    for sentence in alignment.sentences:
        first = sentence.first
        while first < sentence.stop:
            stop = first + 1
            begin = alignment.words[first].start
            while stop < sentence.stop and alignment.words[stop].end - begin <= longest:
                stop += 1
            last = stop == sentence.stop
            start_at = places[first].start
            end_at = places[stop].start if not last else None
            text = (
                alignment.text[start_at:end_at]
                if end_at
                else _tail(alignment, first, sentence.text)
            )
            cues.append(Cue(begin, alignment.words[stop - 1].end, text.strip(), sentence.speaker))
            first = stop
    return tuple(cues)


def _tail(alignment: Alignment, first: int, sentence: str) -> str:
    """Return the rest of a sentence from one of its words on, punctuation included."""
    at = alignment.text.find(sentence)
    start = alignment.places[first].start
    while at >= 0 and at + len(sentence) <= start:
        at = alignment.text.find(sentence, at + 1)
    return alignment.text[start : at + len(sentence)] if at >= 0 else alignment.text[start:]


def format_alignment(alignment: Alignment, kind: LabelFormat, seconds: float | None = None) -> str:
    """Return an alignment as the text of a file.

    Args:
        alignment: what to write; times are in seconds of its utterance.
        kind: ``json`` (words and sentences), ``srt``, ``vtt`` (sentences), ``textgrid`` (tiers
            of words and sentences) or ``audacity`` (a label a word).
        seconds: duration of the recording, for TextGrids; the last word's end by default.
    """
    if kind == "json":
        return json.dumps(alignment.to_data(), ensure_ascii=False, indent=2) + "\n"
    if kind == "audacity":
        rows = (f"{w.start:.6f}\t{w.end:.6f}\t{_flat(w.text)}\n" for w in alignment.words)
        return "".join(rows)
    if kind == "textgrid":
        return _textgrid(alignment, seconds)
    return format_cues(cues_of(alignment), kind)


def format_cues(cues: Sequence[Cue], kind: LabelFormat) -> str:
    """Return cues as the text of a file; a speaker is written as ``<v NAME>`` or ``NAME:``.

    Args:
        cues: in order; times in seconds.
        kind: SRT, WebVTT, Audacity labels, JSON (``segments``), or a TextGrid of one tier.
    """
    if kind == "json":
        data = [{**asdict(c), "start": round(c.start, 4), "end": round(c.end, 4)} for c in cues]
        return json.dumps({"segments": data}, ensure_ascii=False, indent=2) + "\n"
    if kind == "audacity":
        return "".join(f"{c.start:.6f}\t{c.end:.6f}\t{_flat(c.text)}\n" for c in cues)
    if kind == "textgrid":
        rows = {"segments": [(cue.start, cue.end, _flat(cue.text)) for cue in cues]}
        return _grid(rows, max((cue.end for cue in cues), default=0.0))
    blocks = ["WEBVTT\n"] if kind == "vtt" else []
    for number, cue in enumerate(cues, start=1):
        text = _flat(cue.text).replace("-->", "->")
        if kind == "vtt":
            text = text.replace("&", "&amp;").replace("<", "&lt;")
        if cue.speaker:
            name = _flat(cue.speaker).replace(">", " ")
            text = f"<v {name}>{text}" if kind == "vtt" else f"{name}: {text}"
        times = f"{_stamp(cue.start, kind)} --> {_stamp(cue.end, kind)}"
        blocks.append(f"{number}\n{times}\n{text}\n")
    return "\n".join(blocks)


def label_format(path: Path) -> LabelFormat:
    """Return the format that a file's suffix names.

    Raises:
        AlignmentError: if it names none.
    """
    kinds: dict[str, LabelFormat] = {
        ".srt": "srt",
        ".vtt": "vtt",
        ".json": "json",
        ".txt": "audacity",
        ".textgrid": "textgrid",
    }
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise AlignmentError(f"{path}: subtitles are written as {', '.join(kinds)}")
    return kind


def _stamp(second: float, kind: str) -> str:
    """Return a time as ``HH:MM:SS,mmm`` (SRT) or ``HH:MM:SS.mmm`` (WebVTT)."""
    whole = round(second * 1000)
    hours, rest = divmod(whole, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    comma = "," if kind == "srt" else "."
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{comma}{rest % 1000:03d}"


def _flat(text: str) -> str:
    """Return a text in one line, without characters that end a cell."""
    return " ".join(text.split())


def _need(name: str) -> Any:
    """Import a library that reads and writes subtitles."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(f"subtitles need {name}: pip install {name}") from error


def _read_text(file: Path) -> str:
    """Return the text of a file in UTF-8 or UTF-16; others are refused by name."""
    if not file.is_file():
        raise AlignmentError(f"{file}: no such file")
    most = MAX_JSON_BYTES if file.suffix.lower() == ".json" else MAX_BYTES
    if file.stat().st_size > most:
        raise AlignmentError(f"{file}: larger than {most // 10**6} MB; are these subtitles?")
    raw = file.read_bytes()
    if not raw.strip():
        raise AlignmentError(f"{file}: the file is empty")
    for encoding in ("utf-8-sig", "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    # A guess between encodings of one byte would change letters in silence.
    raise AlignmentError(f"{file}: {not_utf8(raw)}")


def _subtitle_cues(text: str, kind: str) -> list[Cue]:
    """Read SRT, WebVTT or ASS by pysubs2."""
    library = _need("pysubs2")
    if kind in (".ass", ".ssa"):
        found = library.SSAFile.from_string(text, format_="ass")
    else:
        timed = "\n".join(map(_timing_line, text.splitlines()))
        found = library.SSAFile.from_string(timed, keep_unknown_html_tags=True)
    cues = []
    for event in found:
        if event.is_comment:
            continue
        raw = event.text.replace("\\N", " ").replace("\\n", " ").replace("\\h", " ")
        match = _SPEAKER.match(raw)
        speaker = event.name or None
        if match is not None:
            speaker = (match["voice"] or match["name"]).strip()
            raw = raw[match.end() :]
        cues.append(Cue(event.start / 1000, event.end / 1000, _flat(_plain(raw)), speaker))
    return cues


def _timing_line(line: str) -> str:
    """Return a line with whole seconds in a cue's times written as pysubs2 reads them.

    Raises:
        AlignmentError: if a time is negative; pysubs2 drops the sign.
    """
    if "-->" not in line:
        return line
    if _NEGATIVE.search(line.replace("-->", " ")):
        raise AlignmentError(f"a cue begins before the recording: {line.strip()[:60]}")
    return _WHOLE_SECONDS.sub(".000", line)


def _plain(text: str) -> str:
    """Return a cue's text without markup."""
    return html.unescape(_MARKUP.sub("", text))


def _audacity_cues(text: str) -> list[Cue]:
    """Read three columns apart by tabs; lines that begin with a backslash hold frequencies."""
    cues = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        cells = line.split("\t")
        try:
            start, end = float(cells[0].replace(",", ".")), float(cells[1].replace(",", "."))
        except (IndexError, ValueError):
            raise AlignmentError(
                f"line {number} is no Audacity label: start, end and text, apart by tabs"
            ) from None
        cues.append(Cue(start, end, _flat(" ".join(cells[2:]))))
    return cues


def _json_cues(data: Any) -> list[Cue]:
    """Read ``sentences``, ``segments`` or a list of objects with start, end and text."""
    rows = data
    if isinstance(data, dict):
        rows = data.get("sentences") or data.get("segments") or data.get("words")
    if not isinstance(rows, list):
        raise AlignmentError("the JSON has no list under 'sentences' or 'segments'")
    cues = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise AlignmentError(f"row {number} is no object")
        start, end, text, speaker = (row.get(key) for key in ("start", "end", "text", "speaker"))
        if not (_is_number(start) and _is_number(end)):
            raise AlignmentError(f"row {number}: start and end are numbers of seconds")
        words = _flat(text if isinstance(text, str) else "")
        known = speaker if isinstance(speaker, str) else None
        cues.append(Cue(float(start), float(end), words, known))
    return cues


def _is_number(value: Any) -> TypeGuard[float]:
    """Say whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _textgrid_cues(file: Path) -> list[Cue]:
    """Read the interval tier with the fewest intervals that hold words: the sentences."""
    grid = _need("praatio.textgrid").openTextgrid(str(file), includeEmptyIntervals=False)
    tiers = [tier for tier in grid.tiers if hasattr(tier, "entries") and len(tier.entries)]
    tiers = [tier for tier in tiers if len(tier.entries[0]) == 3]
    if not tiers:
        raise AlignmentError("the TextGrid has no interval tier with words")
    speakers = len(tiers) > 1 and not any(t.name.lower() in ("words", "phones") for t in tiers)
    chosen = tiers if speakers else [min(tiers, key=lambda tier: len(tier.entries))]
    return [
        Cue(float(start), float(end), _flat(label), tier.name if speakers else None)
        for tier in chosen
        for start, end, label in tier.entries
    ]


def _textgrid(alignment: Alignment, seconds: float | None) -> str:
    """Return tiers of words and sentences in Praat's long text format."""
    last = alignment.words[-1].end if alignment.words else 0.0
    rows = {
        "words": [(w.start, w.end, w.text) for w in alignment.words],
        "sentences": [(s.start, s.end, _flat(s.text)) for s in alignment.sentences],
    }
    return _grid(rows, max(seconds or 0.0, last))


def _grid(rows: Mapping[str, Sequence[tuple[float, float, str]]], seconds: float) -> str:
    """Return named tiers of (start, end, text) as a TextGrid."""
    library = _need("praatio.textgrid")
    total = max(seconds, _MIN_LAST)
    grid = library.Textgrid(0, total)
    for name, entries in rows.items():
        kept, edge = [], 0.0
        for start, end, text in entries:
            start = max(start, edge)
            if end - start > _MIN_LAST:
                kept.append((start, end, text))
                edge = end
        grid.addTier(library.IntervalTier(name, kept, 0, total))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "alignment.TextGrid"
        grid.save(str(file), format="long_textgrid", includeBlankSpaces=True)
        return file.read_text(encoding="utf-8")
