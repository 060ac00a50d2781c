"""``stepedit edit``: edit recordings by a chain of edits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from stepedit_core.atomic import is_outlet
from stepedit_core.chain.accept import Accept
from stepedit_core.chain.chain import Chain, ChainResult
from stepedit_core.chain.notation import shown_edit
from stepedit_core.chain.result import (
    DEFAULT_CARRY,
    SCHEMA_VERSION,
    Carry,
    RouteChoice,
    Step,
    Until,
)
from stepedit_core.cli.accepting import accept_options, acceptance, limits_of, tried
from stepedit_core.cli.console import (
    echo_line,
    engine_options,
    language_option,
    write_text,
)
from stepedit_core.cli.interpreting import interpreter_option, long_setting, say_chain
from stepedit_core.cli.listening import with_words_heard
from stepedit_core.cli.marking import check_marks, how_written, mark_long, write_output
from stepedit_core.cli.plan import (
    Job,
    build_chain,
    check_apart,
    check_inputs,
    check_target,
    needed_engine,
    plan_jobs,
    stdout_is_taken,
)
from stepedit_core.cli.recordings import RecordingOptions, edit_long, is_long, recording_options
from stepedit_core.cli.resuming import Journal, request_digest
from stepedit_core.cli.waiting import progress
from stepedit_core.errors import EditError, InvalidChainError, StepeditError, counted
from stepedit_core.storage.sound import is_stream
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.engine import SpeechEngine

__all__ = ["edit_command"]


@dataclass
class Run:
    """One call of ``stepedit edit``: the settings and results of all its recordings.

    Attributes:
        chain: what to do.
        engine: for the llm route.
        route: forced route, or ``auto``.
        carry: what a step hands to the next.
        seed: same seed, same result.
        keep_steps: write every step's audio too.
        say: prints a line; to standard error where the audio goes to standard output.
        journal: what an interrupted call has finished.
        rows: one JSON record per recording, for ``--report``.
        failures: one line per recording that failed.
        accept: limits that each step must keep, or None.
        marks: names of the marks that each output gets.
        until: when iterations end before their number.
    """

    chain: Chain
    engine: SpeechEngine | None
    route: RouteChoice
    carry: Carry
    seed: int
    keep_steps: bool
    say: Callable[[str], None] = echo_line
    journal: Journal = field(default_factory=lambda: Journal(None))
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    accept: Accept | None = None
    marks: tuple[str, ...] = ()
    until: Until | None = None

    def validate(self, jobs: Sequence[Job]) -> None:
        """Check the chain against every recording before the first one is edited."""
        for job in jobs:
            try:
                self.chain.validate(job.read(), self.engine, route=self.route)
            except InvalidChainError as error:
                raise InvalidChainError(f"{job.source}: {error}") from error

    def _request(self, job: Job, source: Utterance) -> str:
        """Return the hash of what is asked of a recording."""
        asked: dict[str, Any] = {
            "chain": self.chain.to_data(),
            "engine": None if self.engine is None else self.engine.name,
            "route": self.route,
            "carry": self.carry,
            "seed": self.seed,
            "keep_steps": self.keep_steps,
        }
        if self.marks:
            asked["marks"] = list(self.marks)
        if self.accept is not None:
            asked["accept"] = self.accept.model_dump()
        if self.until is not None:
            asked["until"] = self.until
        return request_digest(asked, job, source)

    def one(self, job: Job) -> None:
        """Edit one recording; a failing step keeps the finished ones and says so."""
        say = self.say
        source = job.read()
        request = self._request(job, source)
        done = self.journal.finished(request, job)
        if done is not None:
            say(f"{job.source}: {job.target} is finished already")
            self.rows.append(dict(done))
            return
        for note in source.notes:
            say(f"{job.source}: {note}")
        if job.words_from not in (None, "--text"):
            say(f"{job.source}: words from {job.words_from}")
        finished: list[Step] = []

        def on_step(step: Step) -> None:
            before = finished[-1].utterance if finished else source
            finished.append(step)
            for line in (_step_line(len(finished), step, before), *tried(step.failed_tries)):
                say(line)
            for note in step.details.get("notes", ()):
                say(f"step {len(finished)}: {note}")
            if self.keep_steps:
                step.utterance.write(job.step_target(len(finished), step.edit.name))

        try:
            result = self.chain(
                source,
                self.engine,
                seed=self.seed,
                route=self.route,
                carry=self.carry,
                on_step=on_step,
                accept=self.accept,
                until=self.until,
            )
        except EditError as error:
            self._keep(job, source, error)
            return
        shown = {note for step in result.steps for note in step.details.get("notes", ())}
        for note in result.notes:
            if note not in shown:
                say(f"{job.source}: {note}")
        target = write_output(self.marks, job, result)
        how = how_written(result.utterance, target)
        say(f"wrote {target} ({result.utterance.seconds:.2f} s, {how})")
        notes = [*source.notes, *result.notes]
        record = {"input": str(job.source), "notes": notes, "output": str(target)}
        self.rows.append({**record, **result.report()})
        self.journal.add(request, job, self.rows[-1])

    def in_pieces(self, job: Job, asked: RecordingOptions) -> None:
        """Edit a recording of any length in pieces; raises StepeditError."""
        facts = {"seed": self.seed, "route": self.route, "carry": self.carry, "accept": self.accept}
        row = edit_long(job, self.chain, self.engine, asked, self.say, **facts)
        mark_long(self.marks, job, self.chain, row)
        self.rows.append(row)
        failed = [piece for piece in row["pieces"] if piece["details"].get("failed")]
        if failed:
            many = counted(
                len(failed),
                "piece failed and is left as it was",
                "pieces failed and are left as they were",
            )
            self.failures.append(
                f"{job.source}: {many}, the first "
                f"at {failed[0]['start']:.2f} s: {failed[0]['left']}"
            )

    def _keep(self, job: Job, source: Utterance, error: EditError) -> None:
        """Write what was finished beside the target's name, and remember the failure."""
        partial = ChainResult(source, error.steps, self.seed, self.engine)
        kept = None
        if error.steps and not is_outlet(job.target):
            kept = job.step_target(len(error.steps), error.steps[-1].edit.name)
            partial.utterance.write(kept)
        ending = f"kept the audio after step {len(error.steps)} in {kept}" if kept else ""
        self.failures.append(f"{job.source}: {error}; {ending or 'nothing was written'}")
        hides = self.chain.hides_words()
        record: dict[str, Any] = {
            "input": str(job.source),
            "notes": list(source.notes),
            "output": None,
            "error": str(error),
        }
        if error.tries and not hides:
            record["failed_tries"] = [dict(one) for one in error.tries]
            for line in tried(error.tries):
                self.say(line)
        told = partial.report(hides=hides)
        self.rows.append({**record, "kept": str(kept) if kept else None, **told})


def _step_line(number: int, step: Step, before: Utterance) -> str:
    """Return a step's line: edit, route, engine, duration."""
    engine = f"engine {step.engine}" if step.engine else "no engine"
    return (
        f"step {number}: {shown_edit(step.edit)} | route {step.route} ({engine}) | "
        f"{step.plugin.distribution} {step.plugin.version} | "
        f"{before.seconds:.2f} s -> {step.utterance.seconds:.2f} s | took {step.seconds:.2f} s"
        f"{acceptance(step)}"
    )


def _finish(run: Run, jobs: Sequence[Job], report: Path | None) -> None:
    """Write the report and end with the failures, if any."""
    if report is not None:
        data = {
            "schema_version": SCHEMA_VERSION,
            "chain": run.chain.public_data(),
            "runs": run.rows,
        }
        write_text(report, json.dumps(data, ensure_ascii=False, indent=2) + "\n")
        run.say(f"wrote {report}")
    run.journal.close(run.failures)
    for text in run.failures[:-1]:
        echo_line(f"error: {text}", err=True)
    if run.failures:
        more = f" ({len(run.failures)} of {len(jobs)} recordings failed)" if len(jobs) > 1 else ""
        raise EditError(f"{run.failures[-1]}{more}")


def _said(
    sentences: Sequence[str],
    jobs: Sequence[Job],
    yes: bool,
    interpreter: str,
    say: Callable[[str], None],
    *,
    long: bool,
) -> Chain:
    """Return the chain that sentences ask for; they speak of one recording, which may be long."""
    if len(jobs) > 1:
        raise click.UsageError("--say speaks of one recording; give one IN, or a chain")
    (job,) = jobs
    is_held = not long or is_stream(job.source)
    about = job.read() if is_held else long_setting(job.source, job.transcript)
    return say_chain(sentences, about, yes=yes, interpreter=interpreter, say=say)


_EXAMPLES = """\b
Examples:
  stepedit edit in.wav -o out.wav -e speed:rate=slower
  stepedit edit in.wav -o out.wav --text "Hello there." -e emotion:to=happy -e denoise
  stepedit edit in.wav -o out.wav -e "masked:inner=(speed:factor=1.2),spans=[[0.4,1.2]]"
  stepedit edit talk.mp3 -o out.wav -e denoise --workers 2
  stepedit edit talk.wav -o out.wav -e speed:factor=1.1 --subtitles talk.srt --segments 3-7
  stepedit edit in.wav -o out.wav --say "take out the hum, then slow it down a little"
  stepedit edit a.wav b.wav -o folder/ --chain chain.json --report report.json
  cat in.m4a | stepedit edit - -o - -e denoise | play -
"""


@click.command("edit", epilog=_EXAMPLES)
@click.argument("inputs", nargs=-1, required=True, metavar="IN...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="A file, or a folder for several inputs; '-' is standard output, as IN it is input.",
)
@click.option(
    "-e",
    "--edit",
    "edits",
    multiple=True,
    metavar="NAME[:param=value,...]",
    help="An edit; may be repeated. Values are JSON or text; an edit inside an edit stands in "
    "round brackets.",
)
@click.option(
    "--chain",
    "chain_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A chain as JSON, or one edit.",
)
@click.option(
    "--say",
    "sentences",
    multiple=True,
    metavar="SENTENCE",
    help="What to do, in English or Mandarin; the chain is shown before it runs. A later one "
    "corrects an earlier one.",
)
@click.option("--yes", is_flag=True, help="Run the chain read from --say without asking.")
@interpreter_option
@click.option(
    "--iterations", type=click.IntRange(min=1), default=1, help="Run it all N times over."
)
@click.option("--text", help="The words spoken in the input.")
@click.option(
    "--text-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file with the words; IN.txt beside an input is found by itself.",
)
@language_option
@engine_options
@click.option(
    "--route",
    type=click.Choice(["auto", "llm", "dsp"]),
    default="auto",
    show_default=True,
    help="Force one route for all steps.",
)
@click.option(
    "--carry",
    type=click.Choice(get_args(Carry)),
    default=DEFAULT_CARRY,
    show_default=True,
    help="What one llm step hands to the next.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@accept_options
@click.option(
    "--until",
    type=click.Choice(get_args(Until)),
    help="End --iterations, and those of a chain, where one brings no gain by the edits' scorers.",
)
@click.option(
    "--mark",
    "marks",
    multiple=True,
    metavar="NAME",
    help="Mark the output as edited: sidecar, c2pa, watermark; may be repeated.",
)
@click.option("--keep-steps", is_flag=True, help="Write the audio of every step too.")
@click.option(
    "--report", metavar="FILE", type=click.Path(path_type=Path), help="Write a JSON report."
)
@recording_options
def edit_command(
    inputs: tuple[Path, ...],
    output: str,
    edits: tuple[str, ...],
    chain_file: Path | None,
    iterations: int,
    text: str | None,
    text_file: Path | None,
    language: str | None,
    engine: str | None,
    device: str,
    report: Path | None,
    route: RouteChoice,
    carry: Carry,
    seed: int,
    keep_steps: bool,
    **options: Any,
) -> None:
    """Edit recordings by one edit or a chain of them.

    A chain file comes first, then each -e in order, then what --say asks for. Everything is
    checked before the first step runs. The route and the engine of every step are printed.
    Without --engine, signal processing does what it can; a step that only a model can carry out
    takes the embedded one.

    Recordings longer than five minutes, and those with --subtitles, are edited in pieces, cut in
    pauses: what is not chosen stays as it is, and a call that was killed goes on where it was.
    """
    sentences, yes = options.pop("sentences"), options.pop("yes")
    interpreter = options.pop("interpreter")
    check_inputs([*inputs, chain_file, text_file, options["subtitles"]])
    chain = build_chain(edits, chain_file, iterations, optional=bool(sentences))
    jobs = plan_jobs(inputs, output, text=text, text_file=text_file, language=language)
    limits, until = limits_of(options), options.pop("until")
    marks = options.pop("marks")
    asked = RecordingOptions(**options)
    asked.check(len(jobs))
    say = partial(echo_line, err=stdout_is_taken(jobs, report, keep_steps))
    if report is not None:
        check_target(report, "--report")
    targets = [("-o", job.target) for job in jobs]
    check_apart(
        [*targets, ("--report", report), ("--subtitles-out", asked.subtitles_out)],
        [*inputs, chain_file, text_file, asked.subtitles],
    )
    long = {job.target for job in jobs if is_long(job, asked)}
    short = [job for job in jobs if job.target not in long]
    if long and keep_steps:
        raise click.UsageError("--keep-steps is for recordings of up to five minutes")
    if long and until is not None:
        raise click.UsageError("--until is for recordings of up to five minutes")
    check_marks(marks, jobs, long)
    for job in short:
        job.read()
    if sentences:
        chain += _said(sentences, jobs, yes, interpreter, say, long=bool(long)) * iterations
    loaded = needed_engine(engine, device, chain, route, limits, say, short)
    journal = Journal(jobs[0].target.parent if len(jobs) > 1 else None)
    run = Run(
        chain,
        loaded,
        route,
        carry,
        seed,
        keep_steps,
        say,
        journal,
        accept=limits,
        marks=marks,
        until=until,
    )
    heard = {j.target: with_words_heard(j, chain, loaded, route, say) for j in short}
    jobs = [heard.get(job.target, job) for job in jobs]
    run.validate([job for job in jobs if job.target not in long])
    with progress(len(jobs)) as advance:
        for job in jobs:
            try:
                if job.target in long:
                    run.in_pieces(job, asked)
                else:
                    run.one(job)
            except StepeditError as error:
                if job.target in long and len(jobs) == 1:
                    raise
                run.failures.append(f"{job.source}: {error}")
            advance()
    _finish(run, jobs, report)
