"""``stepedit bench cross``: a suite of edits crossed with preparations of the same recordings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepedit_bench.measuring.ears import (
    MOST_SECONDS,
    Known,
    known_recordings,
    of_length,
    reference_texts,
    where_of,
)
from stepedit_bench.measuring.recognisers import Recognisers
from stepedit_bench.own_cases import FILE, RECORDINGS, problem_of
from stepedit_core.atomic import write_atomically
from stepedit_core.chain.notation import format_edit, parse_edit
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError, counted
from stepedit_core.scoring import Case
from stepedit_core.storage.blocks import sound_seconds
from stepedit_core.utterance import Utterance

__all__ = ["cross", "crossed", "preparation", "recordings_of"]

_LOOKED_AT = 6


def preparation(text: str) -> tuple[str, Mapping[str, Any]]:
    """Read ``NAME={JSON}``: a name for the table, and what the scorer does before the edit.

    Raises:
        StepeditError: if the text has no name, or what follows is no JSON object.
    """
    name, _, said = text.partition("=")
    try:
        data = json.loads(said)
    except (json.JSONDecodeError, RecursionError) as error:
        raise StepeditError(f"--prepare {text}: {error}; write NAME={{...}}") from error
    if not name or not isinstance(data, dict):
        raise StepeditError(f"--prepare {text}: write NAME={{...}}, such as hum={{}}")
    return name, data


def crossed(
    known: Sequence[Known],
    edits: Sequence[Edit],
    prepared: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    in_turn: bool = False,
) -> list[dict[str, Any]]:
    """Return cases as JSON data: each recording, prepared in each way, for each edit.

    Every edit gets the very same input, since a preparation has one seed for a recording.

    Args:
        known: the recordings.
        edits: the requests.
        prepared: names and preparations; the name is the class of the case, or the request is.
        in_turn: whether each recording gets one of the edits instead of all.
    """
    cases: list[dict[str, Any]] = []
    for place, one in enumerate(known):
        for kind, (name, data) in enumerate(prepared):
            seeded = {**data, "seed": 1_000 * kind + place} if data else {}
            own = edits[place % len(edits) :][:1] if in_turn else edits
            for number, edit in enumerate(own):
                asked = format_edit(edit)
                cases.append(
                    {
                        "id": f"{one.path.stem}-{name or 'plain'}-{number}",
                        "edit": edit.to_data(),
                        "audio": str(one.path.resolve()),
                        "transcript": one.text,
                        "language": one.language,
                        "prepare": seeded,
                        "meta": {"speaker": one.part, "class": name or asked, "request": asked},
                    }
                )
    return cases


def recordings_of(
    folder: Path, language: str, shortest: float, longest: float, texts: Path | None = None
) -> tuple[list[Known], int]:
    """Return the recordings of a folder with the words said in them, each a part of its own.

    Words are taken from the table, from a text file beside the recording (``take.txt`` for
    ``take.wav``), or else from the recogniser of the bench; what it hears may be corrected in the
    suite that is written.

    Args:
        folder: with recordings; folders in it are not looked into.
        language: BCP 47 tag of all of them.
        shortest: seconds of the shortest one that is taken.
        longest: seconds of the longest one.
        texts: a CSV table with path and ``reference_text`` (or ``text``).

    Returns:
        the recordings, and how many are shorter or longer.

    Raises:
        StepeditError: if there is no recording, or no recogniser for words that nobody gave.
    """
    files = [one for one in sorted(folder.iterdir()) if one.suffix.lower() in RECORDINGS]
    if not files:
        raise StepeditError(f"{folder}: no recordings in it ({' '.join(RECORDINGS)})")
    fit = [
        one for one in files if shortest <= sound_seconds(one, max_seconds=MOST_SECONDS) <= longest
    ]
    listening, better = Recognisers(), {} if texts is None else reference_texts(texts)
    found = []
    for path in fit:
        text = better.get(path.name) or _words_beside(path)
        if text is None:
            text = listening.hear(Utterance.read(path, None, language)).strip()
        found.append(Known(path, text, language, path.stem))
    return found, len(files) - len(fit)


def _words_beside(recording: Path) -> str | None:
    """Return the words in the text file of a recording's name, or None where there are none."""
    path = recording.with_suffix(".txt")
    if not path.is_file():
        return None
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split()) or None
    except UnicodeDecodeError as error:
        raise StepeditError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error


@click.command("cross", short_help="Write a suite of edits of your own recordings.")
@click.argument("recordings", type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the suite.")
@click.option("--edit", "edits", multiple=True, required=True, help="NAME[:key=value,...].")
@click.option("--prepare", "prepared", multiple=True, metavar="NAME={JSON}", help="For the scorer.")
@click.option("--in-turn", is_flag=True, help="One of the edits for a recording instead of all.")
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--language", default="en", show_default=True, help="Of a folder's recordings.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE,VALUE", help="Rows to take.")
@click.option("--by", default="speaker", show_default=True, help="Column that is spread over.")
@click.option(
    "--n",
    "count",
    type=click.IntRange(1),
    help="At most; 8, or all of a folder.",
)
@click.option("--each", type=click.IntRange(1), default=1, show_default=True, help="Of a part.")
@click.option("--shortest", type=float, help="In seconds; 4 by default, 0.5 of a folder.")
@click.option("--longest", type=float, help="In seconds; 8 by default, 60 of a folder.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def cross(
    recordings: Path,
    out: Path,
    edits: tuple[str, ...],
    prepared: tuple[str, ...],
    in_turn: bool,
    each: int,
    **given: Any,
) -> None:
    """Write cases.jsonl: each recording, prepared in each way, for each edit.

    RECORDINGS is a folder of recordings, or a manifest as `bench ears` reads it. In a folder, words
    are read from NAME.txt beside NAME.wav; where there is none, a recogniser hears them, and they
    can be corrected in cases.jsonl. Then: stepedit bench run --suite-path OUT --out RUN.
    """
    asked = [parse_edit(edit) for edit in edits]
    ways = [preparation(text) for text in prepared] or [("", {})]
    kept = _chosen(recordings, each, **given)
    cases = crossed(kept, asked, ways, in_turn=in_turn)
    fit = [case for case in cases if problem_of(Case.model_validate(case)) is None]
    if not fit:
        problem = problem_of(Case.model_validate(cases[0]))
        raise StepeditError(f"no recording can be edited so: {cases[0]['id']}: {problem}")
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in fit)
    write_atomically(out / FILE, lines)
    click.echo(f"{out / FILE}: {counted(len(fit), 'case')} of {counted(len(kept), 'recording')}")
    if len(fit) < len(cases):
        less = counted(len(cases) - len(fit), "case")
        click.echo(f"left out {less}, whose words the edit cannot be asked for", err=True)


def _chosen(
    recordings: Path,
    each: int,
    *,
    count: int | None,
    shortest: float | None,
    longest: float | None,
    where: Sequence[str],
    language: str,
    by: str,
    texts: Path | None,
    seed: int,
) -> list[Known]:
    """Return recordings of the lengths asked for, as many as asked for, drawn by the seed."""
    if recordings.is_dir():
        if where:
            raise StepeditError("--where takes rows of a manifest; a folder has none")
        low, high = shortest or 0.5, longest or 60.0
        taken, others = recordings_of(recordings, language, low, high, texts)
        if others:
            click.echo(
                f"left out {counted(others, 'recording')}, not of {low:g} to {high:g} s", err=True
            )
    else:
        low, high, count = shortest or 4.0, longest or 8.0, count or 8
        known = known_recordings(
            recordings,
            where=where_of(where),
            count=_LOOKED_AT * each,
            by=by,
            texts=texts,
            seed=seed,
        )
        taken = [one for fit in of_length(known, low, high) for one in islice(fit, each)]
    if not taken:
        raise StepeditError(f"{recordings}: no recording of {low:g} to {high:g} s")
    order = np.random.default_rng(seed).permutation(len(taken))[:count]
    return [taken[n] for n in sorted(order)]
