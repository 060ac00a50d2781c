"""Measure the pair builders on a corpus of real recordings: pairs, margins, accuracy, speed.

    python -m stepedit_pairs.measure --corpus speech/manifest.csv --out DIR [FAMILY...]

The corpus is a manifest with a column ``kind`` (read, emotion_parallel, nonverbal). Processor
time is counted instead of wall-clock time, so that a busy machine gives the same figures; only
the gain from a second process is wall-clock time.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepedit_core.registry.corpora import find_reader
from stepedit_core.registry.registry import get_registry
from stepedit_core.storage.pair_rows import read_rows, row_utterance
from stepedit_pairs.plan import wanted
from stepedit_pairs.report import write_card, write_report
from stepedit_pairs.runner import RunTotals, run_pairs
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.summary import summarise
from stepedit_pairs.work import BlockReport

__all__ = ["FAMILIES", "Family"]

READ = {"kind": "read"}


@dataclass(frozen=True)
class Family:
    """Measurement of a family of pairs.

    Attributes:
        edit: registered name of the edit.
        jobs: how many jobs to do.
        where: which recordings.
        options: settings of the builder.
        check: measures the rows; its result stands in the table.
        steady: settings for timing, where start-up would outweigh the short run.
    """

    edit: str
    jobs: int
    where: Mapping[str, str] = field(default_factory=lambda: READ)
    options: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Path], str] | None = None
    steady: Mapping[str, str] = field(default_factory=dict)


def _speed(folder: Path) -> str:
    """Measure duration ratios against the factor that each edit asks for."""
    errors = []
    for row in read_rows(folder, ["edit_json", "details", "source_seconds", "target_seconds"]):
        asked = json.loads(row["details"])["asked"]
        errors.append(abs(row["source_seconds"] / row["target_seconds"] / asked - 1))
    share = float(np.mean(np.asarray(errors) <= 0.02))
    return f"duration ratio within 2 % in {share:.1%} (worst {max(errors):.2%})"


def _denoise(folder: Path) -> str:
    """Measure the SNR from source and target of the rows against the one recorded."""
    errors = []
    for row in read_rows(folder):
        facts = json.loads(row["details"])
        source, target = row_utterance(row, "source"), row_utterance(row, "target")
        if facts["degradation"] != "noise" or source is None or target is None:
            continue
        clean = target.samples.astype(np.float64)
        noise = source.samples.astype(np.float64) - clean
        measured = 10 * np.log10(np.var(clean) / np.var(noise))
        errors.append(abs(float(measured) - facts["snr_db"]))
    close = float(np.mean(np.asarray(errors) <= 0.5))
    return (
        f"whole-file SNR of the FLAC rows within 0.5 dB of the recorded in {close:.1%} of "
        f"{len(errors)} (median off {np.median(errors):.2f} dB, worst {max(errors):.2f} dB)"
    )


def _silence(folder: Path) -> str:
    """Measure how much of the inserted silence is gone from the target, by durations."""
    gone, n = [], 0
    for row in read_rows(folder, ["details", "source_seconds", "target_seconds"]):
        facts = json.loads(row["details"])
        if facts["kind"] != "inserted":
            continue
        n += 1
        natural = row["source_seconds"] - facts["inserted_seconds"]
        left = max(0.0, row["target_seconds"] - natural)
        gone.append(1 - left / facts["inserted_seconds"])
    return f"inserted silence absent from the target: least {min(gone):.1%} over {n} pairs"


FAMILIES: Mapping[str, Family] = {
    "speed": Family("speed", 60, check=_speed),
    "denoise": Family("denoise", 200, check=_denoise, steady={"rooms": "2"}),
    "trim_silence": Family("trim_silence", 250, check=_silence),
    "emotion": Family("emotion", 700, {"kind": "emotion_parallel", "language": "en"}),
    "style": Family("style", 120, options={"mode": "render", "unlabelled": "neutral"}),
    "paralinguistic": Family("paralinguistic", 1100, {}),
    "masked": Family("masked", 60),
    "clone": Family("clone", 300),
}


def _settings(name: str, corpus: Path, layout: str, **changes: Any) -> RunSettings:
    family, registry = FAMILIES[name], get_registry()
    builder = registry.pair_builder(registry.edit_class(family.edit))
    given = {
        "edit": family.edit,
        "corpus": str(corpus),
        "layout": layout,
        "options": dict(family.options),
        "builder_version": builder.version,
        "margin": builder.default_margin,
        "min_margin": builder.min_margin,
        "where": dict(family.where),
        "limit": family.jobs,
        "block_size": 10,
    }
    return RunSettings.model_validate({**given, **changes})


def _run(out: Path, settings: RunSettings, workers: int) -> tuple[RunTotals, float]:
    """Run, and return the sums and the steady rate: audio over wall-clock time, start-up aside."""
    reader = find_reader(settings.corpus, settings.layout)
    items = wanted(reader.items(Path(settings.corpus)), settings)
    done: list[tuple[float, float]] = []

    def stamp(report: BlockReport) -> None:
        done.append((time.perf_counter(), report.audio_seconds))

    totals = run_pairs(out, settings, items, workers=workers, on_block=stamp)
    # The first blocks of the workers hold their start-up, the last ones leave one idle.
    first, last = workers - 1, len(done) - workers
    seconds = done[last][0] - done[first][0] if last > first else float("nan")
    return totals, sum(audio for _, audio in done[first + 1 : last + 1]) / seconds


def _line(name: str, out: Path, totals: RunTotals) -> str:
    """Return the measurements of a family as a row of a table."""
    summary = summarise(out)
    margins = np.asarray(summary.margins or [np.nan])
    rate = totals.audio_seconds / max(totals.cpu_seconds, 1e-9)
    rejects = ", ".join(f"{count} {why}" for why, count in list(summary.rejects.items())[:3])
    check = FAMILIES[name].check
    checked = check(out) if check and summary.pairs else ""
    return (
        f"| {name} | {totals.kept} | {totals.rejected} ({rejects or 'none'}) "
        f"| {margins.mean():.2f} ({margins.min():.2f} to {margins.max():.2f}) "
        f"| {totals.audio_seconds / 60:.0f} min | {rate:.0f} | {checked} |"
    )


def _scaling(name: str, out: Path, settings: RunSettings) -> str:
    """Time one process against two, each run in fresh processes."""
    options = {**settings.options, **FAMILIES[name].steady}
    changes = {"limit": 3 * FAMILIES[name].jobs, "block_size": 5, "options": options}
    more, found = settings.model_copy(update=changes), []
    for workers in (1, 2):
        # A process of its own, so that nothing is warm from the run before.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            folder = out / f"{name}-{workers}-workers"
            found.append(fresh.submit(_run, folder, more, workers).result())
    (one, alone), (two, both) = found
    return (
        f"{name}: 2 processes {both / alone:.2f} x one by wall clock ({alone:.0f} and {both:.0f} x "
        f"real time), for {two.cpu_seconds / one.cpu_seconds:.2f} x the processor time"
    )


@click.command()
@click.argument("families", nargs=-1, type=click.Choice(list(FAMILIES)))
@click.option("--corpus", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--scaling", is_flag=True, help="Time one process against two instead.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def main(families: tuple[str, ...], corpus: Path, out: Path, scaling: bool, seed: int) -> None:
    """Build pairs of each family and print a table of what was measured."""
    layout = find_reader(corpus).name
    if scaling:
        for name in families or FAMILIES:
            click.echo(_scaling(name, out, _settings(name, corpus, layout, seed=seed)))
        return
    click.echo(
        "| family | pairs | rejected | margin, mean (range) | source audio | x real time per core "
        "| check |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name in families or FAMILIES:
        totals, _ = _run(out / name, _settings(name, corpus, layout, seed=seed), 1)
        write_card(out / name)
        write_report(out / name)
        click.echo(_line(name, out / name, totals))


if __name__ == "__main__":
    main()
