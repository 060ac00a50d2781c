"""``stepedit bench trust``: measure what `Accept` is worth and what it costs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import click

from stepedit_core.errors import StepeditError

if TYPE_CHECKING:
    from stepedit_bench.store import Journal
    from stepedit_bench.trust.cost import CostUnit
    from stepedit_bench.trust.families import FamilyUnit
    from stepedit_bench.trust.measuring import Bench
    from stepedit_bench.trust.units import TrustUnit

    AnyUnit = TrustUnit | FamilyUnit | CostUnit

__all__ = ["summarise", "trust"]

DEFAULT_PARTS = ("level", "edit", "iterations", "chain")
PARTS = (*DEFAULT_PARTS, "family", "cost")

EDITS = (
    "emotion:to=happy",
    "style:to=whisper",
    "emotion:to=sad",
    "style:to=older",
    "emotion:to=angry",
    "style:to=child",
    "emotion:to=excited",
    "style:to=shout",
)
CHAIN = (
    "denoise",
    "emotion:to=happy",
    "paralinguistic:text={tagged}",
    "speed:factor=1.1",
    "volume:db=-3",
)


@click.command("trust", short_help="Measure what --accept is worth and costs.")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the corpora's manifests.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run.",
)
@click.option(
    "--n",
    "held",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Utterances, real and synthetic each.",
)
@click.option("--lengths", default="medium", show_default=True, help="short, medium, long.")
@click.option("--engine", default="embedded", show_default=True, help="Name, id or folder.")
@click.option("--device", default="auto", show_default=True)
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="Edits.")
@click.option("--accept", type=click.Choice(["normal", "strict"]), default="normal")
@click.option("--fallback", type=click.Choice(["dsp"]), help="As of stepedit edit.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(PARTS),
    help="What to measure; may be given several times; all but family and cost by default.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--seconds", type=float, help="Begin no further unit after so long.")
def trust(**given: Any) -> None:
    """Measure edits, chains and iterations with and without limits; goes on where it stopped.

    The part ``family`` asks for edits of all families by both routes with limits, and counts the
    acceptances that two recognisers outside of the limits call wrong. The part ``cost`` times edits
    of all families by the llm route with and without limits.
    """
    from stepedit_bench.commands import load_choice
    from stepedit_bench.judging import JudgeChoice
    from stepedit_bench.measuring import MeasureConfig, StandardMeasures
    from stepedit_bench.store import Journal, write_text
    from stepedit_bench.trust.cost import cost_units
    from stepedit_bench.trust.families import family_units
    from stepedit_bench.trust.measuring import Bench
    from stepedit_bench.trust.units import held_pools, recordings, units
    from stepedit_core.chain.accept import Accept

    out, seed = given["out"], given["seed"]
    other = {} if given["fallback"] is None else {"fallback": given["fallback"]}
    limits = Accept.of(given["accept"], **other)
    engine = load_choice(given["engine"], given["device"])
    if engine is None or limits is None:
        raise StepeditError("--engine dsp: trust compares an engine's edits; name an engine")
    measures = StandardMeasures(MeasureConfig(dnsmos="one"), JudgeChoice(), out)
    lengths = [name.strip() for name in given["lengths"].split(",")]
    journal = Journal(out / "journal.jsonl")
    settings = {"accept": given["accept"], "seed": seed, **other, **engine.describe()}
    _same_settings(journal, settings, out)
    pools = held_pools(given["data"], out / "speech", given["held"], seed, measures, lengths)
    asked = given["parts"] or DEFAULT_PARTS
    work: list[AnyUnit] = [
        unit
        for unit in units(recordings(pools), EDITS, CHAIN, given["count"])
        if unit.part in asked
    ]
    if "family" in asked:
        work += family_units(pools, seed, given["count"])
    if "cost" in asked:
        work += cost_units(pools, seed, given["count"])
    bench = Bench(engine, limits, measures, seed, lambda name, make: make())
    _measure(work, bench, journal, out, given["seconds"])
    figures = summarise(work, journal.entries)
    write_text(
        out / "trust.json",
        json.dumps({**figures, "engine": dict(engine.describe())}, indent=2) + "\n",
    )
    click.echo(json.dumps(figures, indent=2))


def _same_settings(journal: Journal, settings: Mapping[str, Any], out: Path) -> None:
    """Refuse to go on with a run of other settings; a run that tells none is gone on with."""
    now = json.loads(json.dumps(settings, default=str))
    before = journal.entries.get("settings")
    if before is None:
        journal.add("settings", now)
        return
    other = [name for name in now if now[name] != before.get(name)]
    if other:
        raise StepeditError(f"{out} holds a run with another {other[0]}; give --out another folder")


def _measure(
    work: Sequence[AnyUnit],
    bench: Bench,
    journal: Journal,
    out: Path,
    seconds: float | None,
) -> None:
    """Measure what the journal lacks, and keep each unit as soon as it is measured."""
    from stepedit_bench.trust.cost import CostUnit, measure_cost
    from stepedit_bench.trust.families import FamilyUnit, measure_family
    from stepedit_bench.trust.measuring import is_wrong, measure_trust
    from stepedit_bench.trust.timing import warmed

    begin = time.monotonic()
    left = [unit for unit in work if f"{unit.part}/{unit.name}" not in journal.entries]
    if any(unit.part in ("edit", "cost") for unit in left):
        first = next(unit for unit in left if unit.part in ("edit", "cost"))
        speech = first.held.start() if isinstance(first, CostUnit) else first.speech
        warmed(bench.engine, bench.limits, speech)
    for unit in work:
        key = f"{unit.part}/{unit.name}"
        if key in journal.entries:
            continue
        if seconds is not None and time.monotonic() - begin > seconds:
            break

        def keep(name: str, make: Callable[[], Any], key: str = key) -> Any:
            if f"{key}/{name}" not in journal.entries:
                journal.add(f"{key}/{name}", make())
            return journal.entries[f"{key}/{name}"]

        if isinstance(unit, FamilyUnit):
            row = measure_family(unit, bench, out)
        elif isinstance(unit, CostUnit):
            row = measure_cost(unit, bench.engine, bench.limits)
        else:
            row = measure_trust(unit, replace(bench, keep=keep))
            if unit.part == "edit":
                row["wrong"] = is_wrong(row, len((unit.speech.transcript or "").split()))
        journal.add(key, row)
        click.echo(f"{key}: {json.dumps(row)[:160]}", err=True)


def summarise(work: Sequence[AnyUnit], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the units that are finished; JSON data."""
    from stepedit_bench.trust.cost import summarise_costs
    from stepedit_bench.trust.families import summarise_families

    rows: dict[str, list[Any]] = {}
    for unit in work:
        row = entries.get(f"{unit.part}/{unit.name}")
        if row is not None:
            rows.setdefault(unit.part, []).append(row)
    makers = {
        "level": _level,
        "edit": _edits,
        "iterations": _iterations,
        "chain": _chains,
        "family": summarise_families,
        "cost": summarise_costs,
    }
    return {part: {"n": len(found), **makers[part](found)} for part, found in rows.items()}


def _level(rows: Sequence[Any]) -> dict[str, Any]:
    return {
        name: {
            "worst_db": max((row[name] for row in rows), key=abs),
            "mean_abs_db": round(mean(abs(row[name]) for row in rows), 3),
        }
        for name in ("as_is", "hot")
    }


def _share(values: Sequence[bool | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {"of": len(known), "share": round(mean(known), 3) if known else None}


def _edits(rows: Sequence[Any]) -> dict[str, Any]:
    accepted = [row for row in rows if row["on"]["accepted"]]
    added = {
        name: {
            recogniser: round(
                mean(row[name][recogniser] - row["source"][recogniser] for row in found), 3
            )
            for recogniser in ("whisper", "sphinx")
        }
        for name, found in (("off", rows), ("on", accepted))
        if found
    }
    time_off, time_on = (sum(row[name]["seconds"] for row in rows) for name in ("off", "on"))
    return {
        "joint": {name: _share([row[name]["joint"] for row in rows]) for name in ("off", "on")},
        "joint_of_accepted": _share([row["on"]["joint"] for row in accepted]),
        "accepted": len(accepted),
        "word_error_added": added,
        "wrong_acceptance": _share([row["wrong"] for row in rows]),
        "level_db": {
            name: max((row[name]["level"] for row in rows if "level" in row[name]), key=abs)
            for name in ("off", "on")
            if any("level" in row[name] for row in rows)
        },
        "cost": round(time_on / max(time_off, 1e-6), 2),
    }


def _iterations(rows: Sequence[Any]) -> dict[str, Any]:
    return {
        name: {
            what: round(mean(row[name]["4"][what] - row[name]["1"][what] for row in rows), 3)
            for what in ("whisper", "sphinx", "voice", "level")
        }
        for name in ("off", "on")
    }


def _chains(rows: Sequence[Any]) -> dict[str, Any]:
    return {name: _share([row[name]["right"] for row in rows]) for name in ("off", "on")}
