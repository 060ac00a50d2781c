"""Compare both routes of each edit on the same cases, for ``routes.json``.

The route ``llm`` is the better one where its joint success is higher and it keeps the words: pooled
over the same cases, its word error may lie above that of signal processing by no more than the
share that preservation accepts in one recording (10 %). Joint success counts how many outputs keep
nearly all words; an engine that spoils the others altogether may lead by it and still lose most of
what is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepedit_bench.heldout.requests import ROWS
from stepedit_bench.preservation import Thresholds

__all__ = ["routes_of"]

Row = Mapping[str, Any]
Counts = tuple[int, int]
"""Errors, and words that ought to be heard."""
_CONDITIONS = {"source": "source", "llm": "edit", "dsp": "dsp"}
_MOST_WORDS = Thresholds().word_share


@dataclass(frozen=True)
class _Pair:
    """Both routes on one case: joint success, and the words of the source and of both."""

    llm: bool
    dsp: bool | None
    words: Mapping[str, Counts]


def routes_of(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return for each edit both routes' joint success and word error, and the better route.

    A tie goes to dsp, and so does an edit whose words the engine loses. An edit without a dsp route
    for any case keeps llm. Cases of the rows with gates alone count.

    Args:
        rows: of the run.
    """
    both: dict[str, list[_Pair]] = {}
    for name, unit in _units(rows):
        if "edit" not in unit or unit["edit"][0]["scorer"] is None:
            continue
        dsp_rows = unit.get("dsp", [{}])
        has_dsp = dsp_rows[-1].get("status") not in (None, "unsupported")
        llm, dsp = unit["edit"][-1]["joint"], dsp_rows[-1].get("joint") if has_dsp else None
        if llm is not None and (dsp is not None or not has_dsp):
            both.setdefault(name, []).append(_Pair(llm, dsp, _words(unit)))
    return {name: _choice(pairs) for name, pairs in sorted(both.items())}


def _units(rows: Sequence[Row]) -> list[tuple[str, dict[str, list[Row]]]]:
    """Return the name of each unit's edit and its rows by condition."""
    found: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        if row["edit"] in ROWS:
            unit = found.setdefault((row["edit"], row["case"]), {})
            unit.setdefault(row["condition"], []).append(row)
    return [(next(iter(unit.values()))[0]["name"], unit) for unit in found.values()]


def _words(unit: Mapping[str, Sequence[Row]]) -> dict[str, Counts]:
    """Return the word errors of the source and of both routes; a route that failed loses all."""
    found: dict[str, Counts] = {}
    for name, condition in _CONDITIONS.items():
        rows = unit.get(condition)
        text = (rows[-1].get("kept") or {}).get("text") if rows else None
        if text is not None and text["unit"] == "word":
            found[name] = text["errors"], text["length"]
        elif rows and rows[-1]["status"] == "failed" and "source" in found:
            length = found["source"][1]
            found[name] = length, length
    return found


def _choice(pairs: Sequence[_Pair]) -> dict[str, Any]:
    """Compare the routes over cases that both can carry out, or over all where dsp has none."""
    known = [pair for pair in pairs if pair.dsp is not None]
    used = known or pairs
    llm = sum(pair.llm for pair in used) / len(used)
    dsp = sum(bool(pair.dsp) for pair in known) / len(known) if known else None
    error = _word_errors(used, ("source", "llm", "dsp") if known else ("source", "llm"))
    loses = "dsp" in error and error["llm"] > error["dsp"] + _MOST_WORDS
    found: dict[str, Any] = {
        "llm": round(llm, 4),
        "dsp": None if dsp is None else round(dsp, 4),
        "n": len(used),
        "route": "llm" if dsp is None or (llm > dsp and not loses) else "dsp",
    }
    if error:
        found["word_error"] = {name: round(value, 4) for name, value in error.items()}
    if loses and dsp is not None and llm > dsp:
        found["reason"] = "llm loses words"
    return found


def _word_errors(pairs: Sequence[_Pair], names: Sequence[str]) -> dict[str, float]:
    """Return pooled word errors, 0..., over the cases where all were counted; empty for none."""
    counted = [pair.words for pair in pairs if all(name in pair.words for name in names)]
    if not counted:
        return {}
    return {
        name: sum(words[name][0] for words in counted) / sum(words[name][1] for words in counted)
        for name in names
    }
