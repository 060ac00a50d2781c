"""``stepedit bench cross``: a suite of edits crossed with preparations of the same recordings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepedit_bench.measuring.ears import Known, known_recordings, of_length, where_of
from stepedit_bench.own_cases import FILE
from stepedit_core.atomic import write_atomically
from stepedit_core.chain.notation import format_edit, parse_edit
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError

__all__ = ["cross", "crossed", "preparation"]

_LOOKED_AT = 6


def preparation(text: str) -> tuple[str, Mapping[str, Any]]:
    """Read ``NAME={JSON}``: a name for the table, and what the scorer does before the edit.

    Raises:
        StepeditError: if the text has no name, or what follows is no JSON object.
    """
    name, _, said = text.partition("=")
    try:
        data = json.loads(said)
    except json.JSONDecodeError as error:
        raise StepeditError(f"--prepare {text}: {error.msg}; write NAME={{...}}") from error
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
        prepared: names and preparations; the name is the class of the case.
        in_turn: whether each recording gets one of the edits instead of all.
    """
    cases: list[dict[str, Any]] = []
    for place, one in enumerate(known):
        for kind, (name, data) in enumerate(prepared):
            seeded = {**data, "seed": 1_000 * kind + place} if data else {}
            own = edits[place % len(edits) :][:1] if in_turn else edits
            for number, edit in enumerate(own):
                cases.append(
                    {
                        "id": f"{one.path.stem}-{name}-{number}",
                        "edit": edit.to_data(),
                        "audio": str(one.path.resolve()),
                        "transcript": one.text,
                        "language": one.language,
                        "prepare": seeded,
                        "meta": {"speaker": one.part, "class": name, "request": format_edit(edit)},
                    }
                )
    return cases


@click.command("cross", short_help="Cross edits with preparations of the same recordings.")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the suite.")
@click.option("--edit", "edits", multiple=True, required=True, help="NAME[:key=value,...].")
@click.option("--prepare", "prepared", multiple=True, metavar="NAME={JSON}", help="For the scorer.")
@click.option("--in-turn", is_flag=True, help="One of the edits for a recording instead of all.")
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE,VALUE", help="Rows to take.")
@click.option("--by", default="speaker", show_default=True, help="Column that is spread over.")
@click.option("--n", "count", type=click.IntRange(1), default=8, show_default=True)
@click.option("--each", type=click.IntRange(1), default=1, show_default=True, help="Of a part.")
@click.option("--shortest", default=4.0, show_default=True, help="Shortest recording in seconds.")
@click.option("--longest", default=8.0, show_default=True, help="Longest one.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def cross(
    out: Path,
    edits: tuple[str, ...],
    prepared: tuple[str, ...],
    in_turn: bool,
    count: int,
    each: int,
    shortest: float,
    longest: float,
    where: tuple[str, ...],
    **given: Any,
) -> None:
    """Write cases.jsonl: each recording, prepared in each way, for each edit.

    MANIFEST is read as by `bench ears`. Then: stepedit bench run EDIT --suite cases --suite-path
    OUT.
    """
    asked = [parse_edit(edit) for edit in edits]
    ways = [preparation(text) for text in prepared] or [("plain", {})]
    known = known_recordings(where=where_of(where), count=_LOOKED_AT * each, **given)
    taken: list[Known] = []
    for fit in of_length(known, shortest, longest):
        taken += islice(fit, each)
    if not taken:
        raise StepeditError(f"no recording of {shortest:g} to {longest:g} s")
    order = np.random.default_rng(given["seed"]).permutation(len(taken))[:count]
    kept = [taken[n] for n in sorted(order)]
    cases = crossed(kept, asked, ways, in_turn=in_turn)
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases)
    write_atomically(out / FILE, lines)
    click.echo(f"{out / FILE}: {len(cases)} cases of {len(kept)} recordings")
