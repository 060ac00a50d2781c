"""``stepedit bench trust``: measure what `Accept` is worth and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from stepedit_bench.trust.units import TrustUnit

__all__ = ["summarise", "trust"]

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
@click.option("--data", required=True, type=click.Path(exists=True), help="Folder of corpora.")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of the run.")
@click.option("--n", default=10, show_default=True, help="Utterances, real and synthetic each.")
@click.option("--lengths", default="medium", show_default=True, help="short, medium, long.")
@click.option("--engine", default="embedded", show_default=True, help="Name, id or folder.")
@click.option("--device", default="auto", show_default=True)
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="Edits.")
@click.option("--accept", type=click.Choice(["normal", "strict"]), default="normal")
@click.option("--part", "parts", multiple=True, help="level, edit, iterations, chain; all.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--seconds", type=float, help="Begin no further unit after so long.")
def trust(**given: Any) -> None:
    """Measure edits, chains and iterations with and without limits; goes on where it stopped."""
    import time

    from stepedit_bench.commands import load_choice
    from stepedit_bench.judging import JudgeChoice
    from stepedit_bench.measuring import MeasureConfig, StandardMeasures
    from stepedit_bench.store import Journal, write_text
    from stepedit_bench.trust.measuring import Bench, is_wrong, measure_trust
    from stepedit_bench.trust.units import PARTS, recordings, units
    from stepedit_core.chain.accept import Accept

    out, begin = Path(given["out"]), time.monotonic()
    measures = StandardMeasures(MeasureConfig(dnsmos="one"), JudgeChoice(), out)
    lengths = [name.strip() for name in given["lengths"].split(",")]
    speech = recordings(
        Path(given["data"]), out / "speech", given["n"], given["seed"], measures, lengths
    )
    work = [
        unit
        for unit in units(speech, EDITS, CHAIN, given["count"])
        if unit.part in (given["parts"] or PARTS)
    ]
    journal = Journal(out / "journal.jsonl")
    engine = load_choice(given["engine"], given["device"])
    limits = Accept.of(given["accept"])
    assert engine is not None and limits is not None
    for unit in work:
        key = f"{unit.part}/{unit.name}"
        late = given["seconds"] is not None and time.monotonic() - begin > given["seconds"]
        if key in journal.entries or late:
            continue

        def keep(name: str, make: Callable[[], Any], key: str = key) -> Any:
            if f"{key}/{name}" not in journal.entries:
                journal.add(f"{key}/{name}", make())
            return journal.entries[f"{key}/{name}"]

        bench = Bench(engine, limits, measures, given["seed"], keep)
        row = measure_trust(unit, bench)
        if unit.part == "edit":
            row["wrong"] = is_wrong(row, len((unit.speech.transcript or "").split()))
        journal.add(key, row)
        click.echo(f"{key}: {json.dumps(row)[:160]}", err=True)
    figures = summarise(work, journal.entries)
    figures["engine"] = dict(engine.describe())
    write_text(out / "trust.json", json.dumps(figures, indent=2) + "\n")
    click.echo(json.dumps({k: v for k, v in figures.items() if k != "engine"}, indent=2))


def summarise(work: Sequence[TrustUnit], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the units that are finished; JSON data."""
    rows: dict[str, list[Any]] = {}
    for unit in work:
        row = entries.get(f"{unit.part}/{unit.name}")
        if row is not None:
            rows.setdefault(unit.part, []).append(row)
    makers = {"level": _level, "edit": _edits, "iterations": _iterations, "chain": _chains}
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
            for recogniser in ("tiny", "sphinx")
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
            for what in ("tiny", "sphinx", "voice", "level")
        }
        for name in ("off", "on")
    }


def _chains(rows: Sequence[Any]) -> dict[str, Any]:
    return {name: _share([row[name]["right"] for row in rows]) for name in ("off", "on")}
