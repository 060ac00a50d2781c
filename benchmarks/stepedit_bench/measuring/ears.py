"""``stepedit bench ears``: the error rate of recognisers on recordings of known words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepedit_bench.measuring.recognisers import Recognisers
from stepedit_bench.measuring.text_error import TextErrors, pooled_error, text_errors
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import parse_edit
from stepedit_core.errors import StepeditError, suggest
from stepedit_core.scoring import Interval
from stepedit_core.storage.blocks import sound_seconds
from stepedit_core.storage.stored_json import json_lines
from stepedit_core.storage.tables import LJ_COLUMNS, lj_columns, table_rows
from stepedit_core.utterance import Utterance

__all__ = [
    "MOST_SECONDS",
    "Heard",
    "Known",
    "ears",
    "error_of",
    "known_recordings",
    "of_length",
    "reference_texts",
    "where_of",
]

MOST_SECONDS = 3600.0
"""Longer recordings are refused."""


_OPTIONAL = frozenset({"language", "speaker"})
"""Columns that commands take by default; rows without them are one part."""


@dataclass(frozen=True)
class Known:
    """A recording whose words are known.

    Attributes:
        path: the file.
        text: what is said.
        language: BCP 47 tag.
        part: what it is counted with.
        is_synthetic: whether a synthesiser speaks.
    """

    path: Path
    text: str
    language: str
    part: str
    is_synthetic: bool = False


@dataclass(frozen=True)
class Heard:
    """The error rate of one recogniser on one part.

    Attributes:
        part: of the recordings.
        recogniser: its name and version.
        unit: ``word`` or ``character``.
        length: expected words or characters.
        error: pooled error rate with a 95 % bootstrap interval over recordings.
        faultless: share of recordings without an error.
        seconds: of audio.
        cpu: CPU seconds per second of audio.
    """

    part: str
    recogniser: str
    unit: str
    length: int
    error: Interval
    faultless: float
    seconds: float
    cpu: float


def of_length(known: Sequence[Known], shortest: float, longest: float) -> Iterator[Iterator[Known]]:
    """Yield the recordings of each part, in order, that last from so many to so many seconds."""
    for part in dict.fromkeys(one.part for one in known):
        yield (
            one
            for one in [other for other in known if other.part == part]
            if shortest <= sound_seconds(one.path, max_seconds=MOST_SECONDS) <= longest
        )


def known_recordings(
    manifest: Path,
    *,
    texts: Path | None = None,
    where: Mapping[str, Sequence[str]] | None = None,
    by: str = "language",
    count: int = 60,
    seed: int = 0,
) -> list[Known]:
    """Return recordings of a manifest whose words a person wrote down, drawn by the seed.

    Args:
        manifest: CSV or JSON lines with the columns path, text, language and, where texts may
            come from a recogniser, text_source, which then is not ``reference``. A column voices
            tells synthetic speech.
        texts: a CSV table with path and ``reference_text`` (or ``text``), which stand for the
            manifest's own.
        where: column to the values that are taken.
        by: column that parts are told apart by.
        count: at most this many of each part.
        seed: of the choice.

    Raises:
        StepeditError: if a file cannot be read, no row has a column or a value that is asked for,
            or no recording is left.
    """
    better = {} if texts is None else reference_texts(texts)
    parts: dict[str, list[Known]] = {}
    rows = _rows(manifest)
    _refuse_names_of_nothing(manifest, rows, where or {}, by)
    for row in rows:
        path, language = str(row.get("path") or ""), str(row.get("language") or "")
        known = better.get(path)
        if known is None and str(row.get("text_source") or "reference") == "reference":
            known = str(row.get("text") or "").strip()
        asked = all(str(row.get(name)) in values for name, values in (where or {}).items())
        if path and known and language and asked:
            part = str(row.get(by) or "unknown")
            is_synthetic = bool(row.get("voices"))
            parts.setdefault(part, []).append(
                Known(manifest.parent / path, known, language, part, is_synthetic)
            )
    if not parts:
        raise StepeditError(f"{manifest}: no recording with a reference text and a language")
    rng = np.random.default_rng(seed)
    return [
        own[place]
        for _, own in sorted(parts.items())
        for place in sorted(rng.permutation(len(own))[:count])
    ]


def _refuse_names_of_nothing(
    manifest: Path, rows: Sequence[Mapping[str, Any]], where: Mapping[str, Sequence[str]], by: str
) -> None:
    """Refuse a column or a value that no row has; raises StepeditError."""
    columns = {name for row in rows for name in row}
    for name in (*where, by):
        if rows and name not in columns and name not in _OPTIONAL:
            hint = suggest(name, columns) or f"; there is {', '.join(sorted(columns)[:20])}"
            raise StepeditError(f"{manifest}: no column {name!r}{hint}")
    for name, values in where.items():
        there = {str(row.get(name)) for row in rows}
        for value in values:
            if value not in there:
                hint = suggest(value, there) or f"; there is {', '.join(sorted(there)[:12])}"
                raise StepeditError(f"--where {name}={value}: no row of {manifest} has it{hint}")


def _rows(manifest: Path) -> list[Mapping[str, Any]]:
    if manifest.suffix == ".jsonl":
        return [row for _, row in json_lines(manifest)]
    return [row for _, row in table_rows(manifest, {"path"})]


def reference_texts(path: Path) -> dict[str, str]:
    """Return the reference texts by path.

    Args:
        path: a table with the columns path and ``reference_text`` (or ``text``), or LJ Speech's
            ``metadata.csv``, which has no header; its normalised text is taken, and its
            recordings are ``wavs/ID.wav`` or, where they lie together, ``ID.wav``.

    Raises:
        StepeditError: if it cannot be read, or has no such columns or no text.
    """
    found: dict[str, str] = {}
    columns: set[str] = set()
    for _, row in table_rows(path, {"path"}, bare=lj_columns):
        columns |= row.keys()
        own = row.get(LJ_COLUMNS[0])
        text = row.get("reference_text") or row.get(LJ_COLUMNS[2]) or row.get("text")
        paths = [str(row.get("path") or "")] if own is None else _of_lj(own.strip())
        found |= {one: str(text) for one in paths if one and text}
    if not found:
        there = f"there is {', '.join(sorted(columns))}" if columns else "it has no row"
        raise StepeditError(f"{path}: no column reference_text or text with a word; {there}")
    return found


def _of_lj(name: str) -> list[str]:
    """Return the paths that LJ Speech's recording of a name may have in a manifest."""
    return [f"{folder}{name}{suffix}" for folder in ("wavs/", "") for suffix in (".wav", ".flac")]


def error_of(
    recordings: Sequence[Known], recogniser: str, seed: int = 0, edit: str | None = None
) -> Heard | None:
    """Return the error rate of a recogniser on one part, or None where it lacks the language.

    Args:
        recordings: of one part and language.
        recogniser: its name.
        seed: of the edit and of the interval.
        edit: in one line; what its dsp route makes is heard instead of the recording.

    Raises:
        StepeditError: if there is no such recogniser, a recording cannot be read, or the edit
            has no dsp route.
    """
    listening = Recognisers(recogniser)
    language = recordings[0].language
    if not listening.hears(language):
        return None
    found: list[TextErrors] = []
    seconds = cpu = 0.0
    listening.hear(Utterance.read(recordings[0].path, None, language))  # loads, outside the time
    chain = None if edit is None else Chain([parse_edit(edit)])
    for one in recordings:
        speech = Utterance.read(one.path, None, one.language)
        if chain is not None:
            speech = chain(speech.replace(transcript=one.text), seed=seed).utterance
        seconds += speech.seconds
        begin = time.process_time()
        found.append(text_errors(one.text, listening.hear(speech), one.language))
        cpu += time.process_time() - begin
    part = recordings[0].part
    return Heard(
        part=part if edit is None else f"{part}, {edit}",
        recogniser=listening.title(language),
        unit=found[0].unit,
        length=sum(one.length for one in found),
        error=pooled_error(found, np.random.default_rng(seed)),
        faultless=float(np.mean([one.errors == 0 for one in found])),
        seconds=round(seconds, 1),
        cpu=cpu / seconds,
    )


def where_of(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read ``COLUMN=VALUE,VALUE``."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name and equals and values):
            raise StepeditError(f"--where {text!r}: write COLUMN=VALUE,VALUE")
        found[name] = tuple(values.split(","))
    return found


@click.command("ears", short_help="Measure recognisers on recordings of known words.")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE,VALUE", help="Rows to take.")
@click.option("--by", default="language", show_default=True, help="Column that parts come from.")
@click.option("--n", "count", type=click.IntRange(1), default=60, show_default=True)
@click.option("--recogniser", "names", multiple=True, help="Which; auto and tiny.en by default.")
@click.option("--edit", metavar="EDIT", help="Hear the recordings after this edit (dsp), too.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ears(
    names: tuple[str, ...],
    as_json: bool,
    where: tuple[str, ...],
    edit: str | None,
    **given: Any,
) -> None:
    """Measure the error rate of recognisers on the recordings of MANIFEST.

    MANIFEST is CSV or JSON lines: path (beside it), text, language. --texts names a CSV table with
    path and reference_text, which stand for the manifest's own texts. Words are counted, or
    characters in languages that are written without spaces.
    """
    known = known_recordings(where=where_of(where), **given)
    parts = dict.fromkeys(one.part for one in known)
    found = []
    for part in parts:
        own = [one for one in known if one.part == part]
        for name in names or ("auto", "tiny.en"):
            for asked in (None,) if edit is None else (None, edit):
                heard = error_of(own, name, given["seed"], asked)
                if heard is not None:
                    found.append(heard)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))
        return
    _print(found)


def _print(found: Sequence[Heard]) -> None:
    """Print a table in Markdown."""
    names = (
        "recordings",
        "heard by",
        "n",
        "error, % [95 %]",
        "of",
        "without error, %",
        "CPU s / s",
    )
    click.echo(f"| {' | '.join(names)} |")
    click.echo(f"|{' --- |' * len(names)}")
    for one in found:
        mean, low, high = (
            f"{100 * x:.1f}" for x in (one.error.mean, one.error.low, one.error.high)
        )
        click.echo(
            f"| {one.part} | {one.recogniser} | {one.error.n} | {mean} [{low}, {high}] "
            f"| {one.length} {one.unit}s | {100 * one.faultless:.0f} | {one.cpu:.2f} |"
        )
