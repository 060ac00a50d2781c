"""``stepedit bench``: run, report, compare."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import StepeditError, suggest
from stepedit_core.recording.hearing import choose_recogniser
from stepedit_core.registry.registry import get_registry, load_engine

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["bench", "load_choice", "progress"]


_LATE = {
    "align": "stepedit_bench.words.align",
    "cross": "stepedit_bench.crossing",
    "draw": "stepedit_bench.words.drawing",
    "ears": "stepedit_bench.measuring.ears",
    "engine": "stepedit_bench.speed.cli",
    "figures": "stepedit_bench.heldout.commands",
    "heard": "stepedit_bench.words.heard",
    "interpret": "stepedit_bench.interpreting.cli",
    "joins": "stepedit_bench.words.joins",
    "judges": "stepedit_bench.judges.commands",
    "memory": "stepedit_bench.speed.cli",
    "merge": "stepedit_bench.heldout.merging",
    "mistaken": "stepedit_bench.words.mistaken",
    "plain": "stepedit_bench.words.plain",
    "recipes": "stepedit_bench.recipes",
    "recording": "stepedit_bench.speed.cli",
    "speakers": "stepedit_bench.words.speakers",
    "trust": "stepedit_bench.trust.commands",
    "table": "stepedit_bench.table",
}


_SECTIONS = {
    "Edits": ("run", "cross", "report", "compare", "table"),
    "An engine": ("figures", "merge", "trust", "engine", "memory"),
    "Words": ("draw", "heard", "joins", "plain"),
    "Scorers and measurements": ("attack", "judges", "recipes", "calibrate"),
    "Recognisers, aligners, interpreters": ("ears", "align", "mistaken", "speakers", "interpret"),
    "Long recordings": ("recording",),
}
"""Heading of the help to commands; a heading of their own has those that are not named."""


class _BenchGroup(click.Group):
    """Takes ``bench EDIT... --out DIR`` for ``bench run EDIT... --out DIR``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``run`` in front unless a command or help is asked for, maybe misspelt."""
        commands = self.list_commands(ctx)
        if args and args[0] not in {*commands, "--help", "-h"}:
            hint = suggest(args[0], commands)
            if hint and "--out" not in args and args[0] not in get_registry().edits():
                raise click.UsageError(f"no command {args[0]!r}{hint}", ctx)
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*self.commands, *_LATE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; the judges' and the engine's are imported when they are needed."""
        if cmd_name in _LATE:
            command = getattr(import_module(_LATE[cmd_name]), cmd_name)
            assert isinstance(command, click.Command)
            return command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under headings, the usual ones first."""
        known = {name for names in _SECTIONS.values() for name in names}
        other = tuple(name for name in self.list_commands(ctx) if name not in known)
        for heading, names in {**_SECTIONS, "More": other}.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            lines = [(name, one.get_short_help_str(80)) for name, one in found if one is not None]
            if lines:
                with formatter.section(heading):
                    formatter.write_dl(lines)


@click.group(
    cls=_BenchGroup, no_args_is_help=True, short_help="Score edits: bench EDIT... --out DIR."
)
def bench() -> None:
    """Score edits on case sets: whether the target was reached and all else kept.

    \b
    Packaged cases, signal processing, no model:
      stepedit bench speed denoise --out RUN
    The same cases by a model, and the difference:
      stepedit bench speed denoise --engine embedded --out OTHER
      stepedit bench compare RUN OTHER
    A folder of your own recordings:
      stepedit bench cross FOLDER --edit speed:factor=1.2 --out SUITE
      stepedit bench run --suite-path SUITE --out RUN

    Each run writes RUN/report.html.
    """  # noqa: D301 -- click reads the backspace as "keep these lines"


def _options(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read ``JUDGE:NAME=VALUE`` settings."""
    options: dict[str, dict[str, str]] = {}
    for text in texts:
        judge, colon, setting = text.partition(":")
        name, equals, value = setting.partition("=")
        if not (judge and colon and name and equals):
            raise StepeditError(f"--judge-option {text!r}: write JUDGE:NAME=VALUE")
        options.setdefault(judge, {})[name] = value
    return options


def load_choice(engine: str, device: str) -> SpeechEngine | None:
    """Load an engine by name or path; ``dsp`` is none."""
    if engine == "dsp":
        return None
    from stepedit_core.config import EngineConfig

    return load_engine(EngineConfig(name_or_path=engine, device=device))


def _there(ctx: click.Context, option: click.Parameter, recogniser: str) -> str:
    """Refuse a recogniser that is not there before anything is measured."""
    if recogniser != "auto":
        choose_recogniser(recogniser)
    return recogniser


_TOLD_EVERY = 30.0
"""Seconds between two lines of progress."""


def _told(name: str, console: Console, clock: Callable[[], float]) -> Callable[[int, int], None]:
    """Return what tells in a line, at most every half minute, how far it is and what is left."""
    start = last = clock()
    known: int | None = None

    def tell(done: int, total: int) -> None:
        nonlocal known, last
        now = clock()
        known = done if known is None else known
        if now - last < _TOLD_EVERY:
            return
        last = now
        # What an earlier run had finished took no time of this one.
        each = (now - start) / (done - known) if done > known else None
        left = "" if each is None else f", {each * (total - done) / 60:.0f} min left"
        console.print(f"{name}: {done} of {total}{left}", highlight=False)

    return tell


@contextmanager
def progress(name: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a bar, and yield what moves it: called with how many of how many are done.

    Where nobody looks on, as in a log file, a line tells the same now and then.
    """
    if not console.is_terminal:
        yield _told(name, console, time.monotonic)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@bench.command("run", short_help="Score edits on a case set, or go on with a run.")
@click.argument("edits", nargs=-1, metavar="EDIT...")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of the run.")
@click.option(
    "--suite",
    help="Case set, or a public test set: see the README.  [default: cases with --suite-path, "
    "otherwise default]",
)
@click.option(
    "--suite-path",
    type=click.Path(exists=True),
    help="Folder with cases.jsonl (`bench cross` writes one), or of a public test set.",
)
@click.option("--engine", default="dsp", show_default=True, help="Name, id, folder, or dsp.")
@click.option("--device", default="auto", show_default=True, help="Where the engine runs.")
@click.option("--route", type=click.Choice(["auto", "llm", "dsp"]), default="auto")
@click.option("--iterations", type=click.IntRange(1, 20), default=1, show_default=True)
@click.option("--prompt-fixed", is_flag=True, help="Ablation: keep iteration 0 as the voice.")
@click.option("--source", type=click.Path(exists=True), help="Iteration 0 from these recordings.")
@click.option("--judge", "chosen_judges", multiple=True, metavar="[TASK=]NAME", help="Who judges.")
@click.option("--judge-option", "judge_options", multiple=True, metavar="JUDGE:NAME=VALUE")
@click.option(
    "--asr", default="auto", show_default=True, callback=_there, help="Recogniser for word error."
)
@click.option(
    "--dnsmos",
    type=click.Choice(["moving", "one"]),
    default="moving",
    show_default=True,
    help="Windows that DNSMOS hears; one costs up to an eighth.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--limit", type=click.IntRange(1), help="At most this many cases per edit.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@click.option("--report/--no-report", "with_report", default=True, help="Write report.html.")
def run(**given: Any) -> None:
    """Score EDIT... (all installed ones where none is named); goes on where it stopped."""
    from stepedit_bench.judging import parse_judges
    from stepedit_bench.measuring import MeasureConfig
    from stepedit_bench.own_cases import OWN
    from stepedit_bench.produce import Protocol
    from stepedit_bench.runner import BenchConfig, check_engine_choice
    from stepedit_bench.suites import SUITE_PATH_VARIABLE

    suite = given["suite"] or (OWN if given["suite_path"] else "default")
    if given["suite_path"]:
        if suite == "default":
            raise StepeditError("--suite default reads no folder; leave out --suite-path")
        os.environ[SUITE_PATH_VARIABLE] = str(Path(given["suite_path"]).resolve())
    engine_name = given["engine"]
    protocol = Protocol(
        route="dsp" if engine_name == "dsp" and given["route"] == "auto" else given["route"],
        iterations=given["iterations"],
        prompt_fixed=given["prompt_fixed"],
        source=given["source"],
    )
    check_engine_choice(engine_name, protocol)
    config = BenchConfig(
        edits=given["edits"],
        suite=suite,
        limit=given["limit"],
        seed=given["seed"],
        batch=given["batch"],
        protocol=protocol,
        measures=MeasureConfig(asr=given["asr"], dnsmos=given["dnsmos"]),
        judges=parse_judges(given["chosen_judges"]),
        judge_options=_options(given["judge_options"]),
        workers=given["workers"],
    )
    _run(config, given["out"], engine_name, given["device"], given["with_report"])


def _run(config: Any, out: str, engine: str, device: str, with_report: bool) -> None:
    """Run with a progress bar, print the table and write the report."""
    from rich.console import Console

    from stepedit_bench.estimate import judge_estimates
    from stepedit_bench.public.work import PUBLIC
    from stepedit_bench.runner import run_bench
    from stepedit_bench.store import read_results
    from stepedit_bench.summary import heard_by, print_table, summarise

    console = Console(stderr=True)
    for line in judge_estimates(config):
        console.print(line, highlight=False, markup=False)
    loaded = load_choice(engine, device)
    with progress("bench", console) as show:
        run_bench(config, out, engine=loaded, on_unit=show)
    rows = read_results(out)
    print_table(summarise(rows, config.seed), Console())
    for language, names in heard_by(rows).items():
        click.echo(f"words of {language} heard by {' and '.join(names)}")
    if config.suite in PUBLIC:
        _write_public(config, Path(out))
    if with_report:
        from stepedit_bench.report import write_report

        click.echo(str(write_report(out)))
    _refuse_nothing(rows, out)


def _refuse_nothing(rows: Sequence[Mapping[str, Any]], out: str) -> None:
    """End with exit code 1 where every edit failed: scripts would take the figures for a result.

    Raises:
        Failure: with the first reason.
    """
    from stepedit_core.cli.root import STEP_FAILED, Failure

    edited = [row for row in rows if row["condition"] not in ("source", "ideal")]
    if edited and all(row["status"] == "failed" for row in edited):
        why = edited[0].get("problem") or "no reason is known"
        raise Failure(f"{out}: all {len(edited)} edits failed: {why}", STEP_FAILED)


def _write_public(config: Any, out: Path) -> None:
    """Print and write the figures of a public test set, and what its judge takes."""
    import json

    from rich.console import Console

    from stepedit_bench.public.counting import count_public, print_counts
    from stepedit_bench.public.submission import write_submission
    from stepedit_bench.store import read_results, write_text

    counts = count_public(read_results(out), config.seed)
    print_counts(counts, Console())
    data = {"suite": config.suite, "rows": [one.to_data() for one in counts]}
    write_text(out / "public.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    if config.suite == "mmae":
        click.echo(str(write_submission(out)))


@bench.command("report", short_help="Write the HTML report, JSON and CSV of a run.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.argument("beside", nargs=-1, type=click.Path(exists=True, file_okay=False))
@click.option("--players/--no-players", default=True, help="Put recordings into the page.")
def report(folder: str, beside: tuple[str, ...], players: bool) -> None:
    """Write report.html, summary.json and CSV files for the run in FOLDER.

    Further runs stand BESIDE it: their shares and recordings, column by column.
    """
    from stepedit_bench.report import write_report

    click.echo(str(write_report(folder, beside=beside, players=players)))


@bench.command("compare", short_help="Print paired differences between two runs.")
@click.argument("first", type=click.Path(exists=True, file_okay=False))
@click.argument("second", type=click.Path(exists=True, file_okay=False))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: str, second: str, seed: int, as_json: bool) -> None:
    """Print paired differences SECOND minus FIRST with their significance."""
    import json

    from rich.console import Console

    from stepedit_bench.compare import compare_runs, print_comparison

    differences = compare_runs(first, second, seed)
    if as_json:
        json.dump([item.to_data() for item in differences], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        print_comparison(differences, Console())


@bench.command("attack", short_help="Test scorers with outputs that must not pass.")
@click.argument("edits", nargs=-1)
@click.option("--cases", type=click.IntRange(1), default=1, show_default=True, help="Per edit.")
@click.option("--asr", default="auto", show_default=True, callback=_there, help="Recogniser.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print every verdict as JSON.")
def attack_command(edits: tuple[str, ...], cases: int, asr: str, seed: int, as_json: bool) -> None:
    """Test the scorers of EDITS, all by default, with outputs that must not pass.

    These are silence, beeps, noise, the source itself, other recordings, and speech that is cut,
    reversed, filtered, clipped or pasted. The edit's own output by signal processing is scored
    beside them. The exit code is 1 where one of them passes.
    """
    import json

    from stepedit_bench.attack import attack, print_attacks
    from stepedit_bench.measuring import MeasureConfig, StandardMeasures

    found = attack(edits, StandardMeasures(MeasureConfig(asr=asr)), limit=cases, seed=seed)
    if as_json:
        click.echo(json.dumps([one.to_data() for one in found], indent=1))
    else:
        print_attacks(found)
    if any(one.fooled for one in found):
        click.get_current_context().exit(1)


@bench.command("calibrate", short_help="Measure the errors of the measurements.")
@click.option("--corpus", type=click.Path(exists=True), help="Clean recordings of known words.")
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True)
@click.option(
    "--asr", default="auto", show_default=True, callback=_there, help="Recogniser to calibrate."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def calibrate(corpus: str | None, limit: int, asr: str, seed: int) -> None:
    """Measure the errors of the measurements on clean speech; packaged speech by default."""
    import json

    from stepedit_bench import calibrate as instruments
    from stepedit_bench.measuring import MeasureConfig, StandardMeasures

    recordings = (
        instruments.packaged_recordings()
        if corpus is None
        else instruments.corpus_recordings(corpus, limit, seed)
    )
    measures = StandardMeasures(MeasureConfig(asr=asr))
    found = instruments.calibrate(recordings, measures, seed)
    click.echo(json.dumps(found.to_data(), indent=2))
