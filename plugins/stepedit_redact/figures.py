"""Figures of the redact edit: how many of many secrets are heard again."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_core import (
    AlignmentError,
    Case,
    Chain,
    StepeditError,
    Utterance,
    counted,
    read_cases,
    transcribe,
)
from stepedit_core.dsp.words import normalised, split_words
from stepedit_redact.edit import Redact
from stepedit_redact.hearing import heard_again
from stepedit_redact.scorer import secrets_of
from stepedit_redact.text import hidden_text

__all__ = ["Listening", "chosen_cases", "measured", "stored_rows", "summary"]

_SHORTEST, _LONGEST = 3.0, 12.0
_RECOGNISERS = {"en": ("whisper", "tiny.en"), "zh": ("whisper",)}
_MASKS = ("silence", "bleep", "noise")


def chosen_cases(manifest: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Return cases that hide one to three words in a row of real recordings.

    Args:
        manifest: CSV with path, text, language, seconds.
        count: how many.
        seed: draws recordings and words.

    Raises:
        StepeditError: if the manifest cannot be read.
    """
    rng = np.random.default_rng(seed)
    try:
        with manifest.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if _is_fit(row)]
    except (OSError, KeyError, ValueError) as error:
        raise StepeditError(f"{manifest}: not a readable manifest ({error})") from error
    order = rng.permutation(len(rows))
    mandarin = [rows[int(n)] for n in order if rows[int(n)]["language"] == "zh"]
    english = [rows[int(n)] for n in order if rows[int(n)]["language"] == "en"]
    few = min(count // 5, len(mandarin))
    cases: list[dict[str, Any]] = []
    for row in [*mandarin[:few], *english]:
        if len(cases) == count:
            break
        phrase = _phrase(row["text"], rng)
        if phrase is None:
            continue
        number = len(cases)
        by = _MASKS[number % 3]
        edit = {"edit": "redact", "words": [phrase], "patterns": [], "names": "off", "by": by}
        audio = os.fspath((manifest.parent / row["path"]).resolve())
        case = {"id": f"{number:03d}-{row['language']}", "edit": edit, "audio": audio}
        meta = {"private": [phrase], "kind": f"words {row['language']}"}
        cases.append({**case, "transcript": row["text"], "language": row["language"], "meta": meta})
    return cases


def _is_fit(row: dict[str, str]) -> bool:
    """Return whether a recording is read speech of a good length in a language with recognisers."""
    fits = _SHORTEST <= float(row["seconds"] or 0) <= _LONGEST
    return fits and row["language"] in _RECOGNISERS and len(split_words(row["text"] or "")) >= 5


def _phrase(text: str, rng: np.random.Generator) -> str | None:
    """Return words in a row that are said once and amid others, or None."""
    words = split_words(text)
    for _ in range(20):
        count = int(rng.integers(1, 4))
        if len(words) < count + 3:
            continue
        first = int(rng.integers(1, len(words) - count))
        inside = words[first : first + count]
        phrase = text[inside[0].start : inside[-1].end]
        own = [normalised(word.text) for word in inside]
        said = [normalised(word.text) for word in words]
        single = all(said.count(word) == 1 for word in own)
        long = max(len(word) for word in own) > 3 or (not phrase.isascii() and count > 1)
        if single and long:
            return phrase
    return None


@dataclass(frozen=True)
class Listening:
    """Settings of the measurement: which transcript is used, and what is heard.

    Attributes:
        given: whether a case's own transcript is used, or what Whisper base hears.
        before: whether the recording is heard before the edit, too, by one recogniser.
        threads: for the recognisers.
    """

    given: bool = True
    before: bool = True
    threads: int = 1


def measured(
    folder: Path, listening: Listening, limit: int | None = None, done: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield one row of facts for each case of a folder.

    Args:
        folder: with a ``cases.jsonl``.
        listening: how.
        limit: the first so many cases.
        done: ids of cases that are left out.

    Raises:
        StepeditError: if the folder has no readable cases, or a recogniser is missing.
    """
    try:
        cases = read_cases((folder / "cases.jsonl").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StepeditError(f"{folder / 'cases.jsonl'}: {error}") from error
    for case in cases[:limit]:
        if case.id not in done:
            yield _row(case, folder, listening)


def stored_rows(file: Path | None) -> list[dict[str, Any]]:
    """Return the rows that an earlier call wrote; a torn last line counts as nothing."""
    if file is None or not file.is_file():
        return []
    rows = []
    for line in file.read_text(encoding="utf-8").split("\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _row(case: Case, folder: Path, how: Listening) -> dict[str, Any]:
    """Return the facts of one case."""
    said = Utterance.read(folder / case.audio, case.transcript, case.language)
    edit = case.edit
    if not isinstance(edit, Redact):
        raise StepeditError(f"case {case.id} is about {edit.name}, not redact")
    text = case.transcript or ""
    hits = secrets_of(case, edit, said)
    words = split_words(text)
    secrets = [text[words[hit.first].start : words[hit.stop - 1].end] for hit in hits]
    public = hidden_text(text, hits)
    recognisers = _RECOGNISERS.get(case.language or "en", ("whisper",))
    fact: dict[str, Any] = {"id": case.id, "kind": case.meta.get("kind"), "by": edit.by}
    fact |= {"secrets": len(secrets), "error": None, "again": {}, "rest_error": {}}
    # One recogniser says what was heard before; the slower one where its words are needed.
    first, before = (recognisers[-1] if how.given else recognisers[0]), None
    if how.before or not how.given:
        before = _hear(said, first, how.threads)
    source = said if how.given else said.replace(transcript=before)
    try:
        result = Chain([edit])(source)
    except (StepeditError, AlignmentError) as error:
        return {**fact, "error": str(error)}
    if before is not None:
        known = sum(bool(heard_again(secret, before or "", public)) for secret in secrets)
        fact |= {"before": known, "before_by": first, "missed_before": _missed(public, before)}
    for recogniser in recognisers:
        heard = _hear(result.utterance, recogniser, how.threads)
        again = [part for secret in secrets for part in heard_again(secret, heard, public)]
        if again:
            fact["again"][recogniser] = again
        fact["rest_error"][recogniser] = _missed(public, heard)
    changed = np.mean(result.utterance.samples != said.samples)
    return {**fact, "share_changed": round(float(changed), 4), "words": len(split_words(public))}


def _hear(utterance: Utterance, recogniser: str, threads: int) -> str:
    """Return a recogniser's transcript."""
    return transcribe(utterance.replace(transcript=None), recogniser, threads=threads).text


def _missed(public: str, heard: str) -> int:
    """Return the number of public words that are not heard."""
    said = [normalised(word.text) for word in split_words(heard)]
    missed = 0
    for word in split_words(public):
        if normalised(word.text) in said:
            said.remove(normalised(word.text))
        else:
            missed += 1
    return missed


def summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the figures as lines of text."""
    done = [row for row in rows if not row["error"]]
    lines = [f"{len(done)} of {counted(len(rows), 'recording')} edited"]
    for recogniser in dict.fromkeys(row["before_by"] for row in done if "before_by" in row):
        mine = [row for row in done if row.get("before_by") == recogniser]
        count = max(1, sum(row["words"] for row in mine))
        missed = 100 * sum(row["missed_before"] for row in mine) / count
        lines.append(
            f"before, by {recogniser}: {sum(row['before'] for row in mine)} of "
            f"{counted(sum(row['secrets'] for row in mine), 'secret')} "
            f"heard; {missed:.1f} % of the other "
            "words missed"
        )
    for recogniser in dict.fromkeys(recogniser for row in done for recogniser in row["rest_error"]):
        mine = [row for row in done if recogniser in row["rest_error"]]
        total = sum(row["secrets"] for row in mine)
        again = sum(recogniser in row["again"] for row in mine)
        missed = sum(row["rest_error"][recogniser] for row in mine)
        count = max(1, sum(row["words"] for row in mine))
        lines.append(
            f"{recogniser}: of {counted(total, 'secret')} in "
            f"{counted(len(mine), 'recording')}, some of {again} is heard "
            f"again; {100 * missed / count:.1f} % of the other words are missed"
        )
    for kind in dict.fromkeys(str(row["kind"]) for row in done):
        mine = [row for row in done if str(row["kind"]) == kind]
        lines.append(f"{kind}: {sum(bool(row['again']) for row in mine)} of {len(mine)} again")
    return lines
