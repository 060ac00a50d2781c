"""``stepedit bench figures``: the held-out suite, measured by the one runner."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.languages import language_tag

if TYPE_CHECKING:
    from stepedit_bench.conditions import Condition
    from stepedit_bench.heldout.requests import HeldOut
    from stepedit_bench.preservation import BenchMeasures
    from stepedit_core.engine import SpeechEngine

__all__ = ["HeldOutRun", "Settings", "figures", "measure"]

BESIDE = ("dsp", "world", "identity", "target")
OnUnit = Callable[[int, int], None]
_GROWING = ("edits", "cases", "cases_sha256", "code", "protocol", "batch", "versions")
"""Settings of a run that may be extended: the names of units and of the cache tell them apart."""


@dataclass(frozen=True)
class Settings:
    """Settings of a held-out run.

    Attributes:
        data: folder with the manifests of the corpora.
        out: folder of baselines and engines.
        rows: of the figures, in order; empty for all.
        count: utterances of each kind, real and synthetic.
        seed: of selection and generation.
        batch: units that share the engine's batches.
        quick: leave out the second recogniser and the WORLD copy.
        finished: take what was measured before and measure nothing.
        workers: processes that measure.
        lengths: strata of length, by name.
        beside: conditions that are recorded beside the edit.
        language: primary subtag of the speech.
        route: of every edit by an engine: its own, or the one that ``auto`` chooses.
        texts: a table with the words of recordings, by their path in a manifest.
    """

    data: Path
    out: Path
    rows: tuple[str, ...] = ()
    count: int = 40
    seed: int = 0
    batch: int = 8
    quick: bool = False
    finished: bool = False
    workers: int = 1
    lengths: tuple[str, ...] = ("short",)
    beside: tuple[str, ...] = BESIDE
    language: str = "en"
    route: Literal["llm", "auto"] = "llm"
    texts: Path | None = None

    def chosen(self) -> tuple[str, ...]:
        """Return the rows; raises StepeditError for a row or a length that does not exist."""
        from stepedit_bench.heldout.requests import MORE_ROWS, ROWS
        from stepedit_bench.heldout.speech import LENGTHS

        for what, given, known in (
            ("row", self.rows, [*ROWS, *MORE_ROWS]),
            ("length", self.lengths, [*LENGTHS]),
            ("condition", self.beside, [*BESIDE]),
        ):
            unknown = [name for name in given if name not in known]
            if unknown:
                there = ", ".join(known)
                raise StepeditError(f"no {what} {unknown[0]!r} of the figures; there is {there}")
        return self.rows or tuple(ROWS)


@dataclass(frozen=True)
class HeldOutRun:
    """A held-out run: its units and their rows.

    Attributes:
        folder: of the engine, or of the baselines where there is no engine.
        units: what was asked and is finished, in order.
        rows: of the results, in order.
    """

    folder: Path
    units: Sequence[HeldOut]
    rows: Sequence[Mapping[str, Any]] = field(default_factory=list)


def _folder(out: Path, engine: SpeechEngine | None, route: str) -> Path:
    """Return the folder of an engine: its name, a hash of all that describes it, and ``auto``."""
    from stepedit_bench.suites import slug

    if engine is None:
        return out / "baseline"
    described = json.dumps(dict(engine.describe()), sort_keys=True, default=str)
    mark = hashlib.sha256(described.encode()).hexdigest()[:8]
    suffix = "" if route == "llm" else f"-{route}"
    return out / "engines" / f"{slug(engine.name)}-{mark}{suffix}"


def measure(
    settings: Settings,
    engine: SpeechEngine | None,
    *,
    measures: BenchMeasures | None = None,
    on_unit: OnUnit = lambda done, total: None,
) -> HeldOutRun:
    """Measure the held-out suite, or go on where a killed run stopped.

    Args:
        settings: what to measure.
        engine: the column; None measures the baselines alone.
        measures: backends to use instead of the standard ones.
        on_unit: told how many units of how many are finished.

    Raises:
        StepeditError: if there is no data, or a row cannot be asked for.
    """
    from stepedit_bench.heldout.requests import units_of
    from stepedit_bench.heldout.speech import LENGTHS, held_out
    from stepedit_bench.measuring import MeasureConfig, StandardMeasures
    from stepedit_bench.measuring.ears import reference_texts
    from stepedit_bench.produce import Protocol
    from stepedit_bench.runner import BenchConfig, run_bench
    from stepedit_bench.store import RunStore, read_run

    rows, out, seed = settings.chosen(), settings.out, settings.seed
    if "mixed_chain" in rows and engine is not None and settings.route == "llm":
        raise StepeditError(
            "mixed_chain ends with volume, which has no llm route: give --route auto for that row"
        )
    config = BenchConfig(
        suite="heldout",
        seed=seed,
        batch=settings.batch,
        protocol=Protocol(
            route=settings.route if engine is not None else "dsp",
            conditions=_conditions(settings.beside, engine),
        ),
        measures=MeasureConfig(dnsmos="one"),
        workers=settings.workers,
        cache=out,
        recordings=out / "baseline" / "audio",
    )
    heard = measures or StandardMeasures(config.measures, folder=out)
    lengths = [LENGTHS[name] for name in settings.lengths]
    pools = held_out(
        settings.data,
        out / "speech",
        settings.count,
        seed,
        heard,
        lengths,
        settings.language,
        None if settings.texts is None else reference_texts(settings.texts),
    )
    units = [unit for row in rows for unit in units_of(row, pools, seed, settings.quick)]
    folder = _folder(out, engine, settings.route)
    if not settings.finished:
        used = None if settings.workers > 1 and measures is None else heard
        run_bench(
            config,
            folder,
            engine=engine,
            measures=used,
            work=units,
            growing=_GROWING,
            on_unit=on_unit,
        )
    store = RunStore(folder, read_run(folder), _GROWING)
    done = [unit for unit in units if unit.key in store.finished]
    store.finish(unit.key for unit in done)
    return HeldOutRun(folder, done, [row for unit in done for row in store.finished[unit.key]])


def _conditions(beside: Sequence[str], engine: SpeechEngine | None) -> tuple[Condition, ...]:
    """Return the conditions in the usual order: without an engine those that need none."""
    needing = () if engine is None else ("identity", "target", "edit")
    asked = {*beside, "edit"}
    return tuple(name for name in ("dsp", "world", *needing) if name in asked)


@click.command("figures", short_help="Measure every row of the model card for an engine.")
@click.option("--engine", default="embedded", show_default=True, help="Name, folder, or dsp.")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the corpora's manifests.",
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--rows", help="Rows to measure, separated by commas; those with gates by default.")
@click.option(
    "--lengths",
    default="short",
    show_default=True,
    help="Strata: short (1.8-3.7 s), medium (4-10 s), long (10-30 s), separated by commas.",
)
@click.option(
    "--n",
    "count",
    type=click.IntRange(2),
    default=40,
    show_default=True,
    help="Utterances of each kind, real and synthetic.",
)
@click.option(
    "--beside",
    default=",".join(BESIDE),
    show_default=True,
    help="What is recorded beside the edit, separated by commas; fewer are faster.",
)
@click.option(
    "--language",
    default="en",
    show_default=True,
    help="Language of the speech, such as en or zh; requests stay those of the English suites.",
)
@click.option(
    "--route",
    type=click.Choice(["llm", "auto"]),
    default="llm",
    show_default=True,
    help="The engine's own, or what a chain would take (no gates, a folder of its own).",
)
@click.option(
    "--texts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with path and reference_text: words of recordings whose manifest has none.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@click.option("--quick", is_flag=True, help="One recogniser, no WORLD, no pictures, no timing.")
@click.option("--finished", is_flag=True, help="Report what is finished; measure nothing.")
@click.option(
    "--install", is_flag=True, help="Join figures and routes into those of the engine's folder."
)
def figures(
    engine: str,
    rows: str | None,
    lengths: str,
    beside: str,
    language: str,
    install: bool,
    **given: Any,
) -> None:
    """Measure an engine on held-out speakers: real and synthetic speech apart.

    Recordings and measurements that hang on no engine are kept for all engines. A killed run
    goes on with the same command. ``--engine dsp`` measures these baselines alone.
    """
    spoken = language_tag(language).split("-")[0].lower()
    if install and not Path(engine).is_dir():
        raise StepeditError(f"--install: --engine {engine} is not a folder to copy into")
    if install and spoken != "en":
        raise StepeditError(
            f"--install: the figures of an engine's folder are of English, not of {language}"
        )
    if given["route"] != "llm" and (install or engine == "dsp"):
        raise StepeditError("--route auto is for an engine, and its figures are not a model's")
    chosen = tuple(name.strip() for name in rows.split(",")) if rows else ()
    strata = tuple(name.strip() for name in lengths.split(","))
    others = tuple(filter(None, (name.strip() for name in beside.split(","))))
    settings = Settings(rows=chosen, lengths=strata, beside=others, language=spoken, **given)
    settings.chosen()
    page = _measure(settings, engine)
    if install:
        from stepedit_bench.heldout.merging import merge_figures

        for line in merge_figures(page.parent, Path(engine)):
            click.echo(line, err=True)
    click.echo(str(page))


def _measure(settings: Settings, engine: str) -> Path:
    """Measure with a progress bar, write figures and report, and return the page."""
    import torch
    from rich.console import Console

    from stepedit_bench.commands import load_choice, progress
    from stepedit_bench.heldout.figures import write_figures
    from stepedit_bench.report import write_report

    torch.set_num_threads(1)
    loaded = load_choice(engine, "auto")
    with progress("figures", Console(stderr=True)) as show:
        run = measure(settings, loaded, on_unit=show)
    if not run.rows:
        raise StepeditError(f"{run.folder}: nothing is finished yet; run without --finished")
    untimed = settings.quick or loaded is None or settings.route != "llm"
    cost = None if untimed else _cost(run, settings, engine)
    # Whole paths tell of the machine, not of the measurement, and figures travel.
    given = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    command = shlex.join(["stepedit", *given])
    if settings.route == "llm":
        write_figures(run.folder, run.rows, run.units, loaded, cost, settings.seed, command)
    return write_report(run.folder, players=not settings.quick, around=settings.out)


def _cost(run: HeldOutRun, settings: Settings, engine: str) -> dict[str, float] | None:
    """Time whole edits of six of the utterances in a process of its own, once."""
    from stepedit_bench.speed.cost import measure_cost
    from stepedit_bench.store import Journal

    known = Journal(run.folder / "cost.jsonl")
    if "cost" not in known.entries and not settings.finished:
        held = list({unit.held.id: unit.held for unit in run.units}.values())
        step, speech = max(1, len(held) // 6), settings.out / "speech"
        chosen = [
            (speech / f"{one.id}.flac", one.speech.transcript or "") for one in held[::step][:6]
        ]
        known.add("cost", measure_cost(engine, chosen))
    return known.entries.get("cost")
