"""``stepedit bench draw``: a suite of edits of words, drawn from recordings of known words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np

from stepedit_bench.measuring.ears import Known, known_recordings, of_length, where_of
from stepedit_bench.own_cases import FILE
from stepedit_core.atomic import write_atomically
from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.errors import StepeditError, counted

__all__ = ["draw", "drawn_case"]

Kind = Literal["delete", "replace", "insert"]
_EDGE = 2
"""Words at either end that are left alone: they have neighbours on one side only."""
_LEAST_LETTERS = 4
_LOOKED_AT = 6


def drawn_case(
    one: Known, kind: Kind, others: Sequence[str], rng: np.random.Generator
) -> dict[str, Any] | None:
    """Return a case as JSON data, or None where a recording has no word that suits.

    The word is said once, has four letters or more, and is not among the first or last two. What
    stands in its place, or comes after it, is a word of another recording of about its length.

    Args:
        one: the recording.
        kind: name of the edit.
        others: words of other recordings.
        rng: draws both words.
    """
    words = [normalised(word.text) for word in split_words(one.text)]
    inner = words[_EDGE : len(words) - _EDGE]
    fit = [w for w in inner if len(w) >= _LEAST_LETTERS and w.isalpha() and words.count(w) == 1]
    if not fit:
        return None
    word = fit[int(rng.integers(len(fit)))]
    new = [w for w in others if abs(len(w) - len(word)) <= 1 and w not in words]
    if kind != "delete" and not new:
        return None
    edit: dict[str, Any] = {"edit": kind, "find": word}
    if kind != "delete":
        said = new[int(rng.integers(len(new)))]
        edit = (
            {"edit": kind, "find": word, "by": said}
            if kind == "replace"
            else {"edit": kind, "text": said, "after": word}
        )
    tail = "" if kind == "delete" else f"-{said}"
    return {
        "id": f"{one.path.stem}-{word}{tail}",
        "edit": edit,
        "audio": str(one.path.resolve()),
        "transcript": one.text,
        "language": one.language,
        "meta": {"speaker": one.part, "class": "synthetic" if one.is_synthetic else "real"},
    }


@click.command("draw", short_help="Draw a suite of edits of words from recordings.")
@click.argument("kind", type=click.Choice(["delete", "replace", "insert"]))
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the suite.")
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE,VALUE", help="Rows to take.")
@click.option("--by", default="speaker", show_default=True, help="Column that is spread over.")
@click.option("--n", "count", type=click.IntRange(1), default=60, show_default=True)
@click.option("--each", type=click.IntRange(1), default=2, show_default=True, help="Of a part.")
@click.option("--shortest", default=3.0, show_default=True, help="Shortest recording in seconds.")
@click.option("--longest", default=12.0, show_default=True, help="Longest one.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def draw(
    kind: Kind,
    out: Path,
    count: int,
    each: int,
    shortest: float,
    longest: float,
    where: tuple[str, ...],
    **given: Any,
) -> None:
    """Write cases.jsonl with KIND of one word in recordings of MANIFEST (as `bench ears` reads it).

    Then: stepedit bench run KIND --suite cases --suite-path OUT.
    """
    known = known_recordings(where=where_of(where), count=_LOOKED_AT * each, **given)
    rng = np.random.default_rng(given["seed"])
    everything = sorted({normalised(w.text) for one in known for w in split_words(one.text)})
    others = [word for word in everything if len(word) >= _LEAST_LETTERS and word.isalpha()]
    cases: list[dict[str, Any]] = []
    for fit in of_length(known, shortest, longest):
        made = (drawn_case(one, kind, others, rng) for one in fit)
        cases += list(islice((case for case in made if case is not None), each))
    if not cases:
        raise StepeditError(f"no recording of {shortest:g} to {longest:g} s has a word that suits")
    kept = [cases[n] for n in sorted(rng.permutation(len(cases))[:count])]
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in kept)
    write_atomically(out / FILE, lines)
    parts = len({case["meta"]["speaker"] for case in kept})
    click.echo(f"{out / FILE}: {counted(len(kept), 'case')} of {counted(parts, given['by'])}")
