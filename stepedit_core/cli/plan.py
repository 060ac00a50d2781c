"""Plan of ``stepedit edit``: input files, output files, transcripts and the chain."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepedit_core.atomic import is_outlet, target_problem
from stepedit_core.chain.accept import Accept
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import parse_edit
from stepedit_core.chain.result import RouteChoice
from stepedit_core.cli.console import (
    WRITABLE,
    check_folder,
    check_format,
    echo_line,
    load_named_engine,
)
from stepedit_core.config import EMBEDDED
from stepedit_core.dsp.words import plain_text
from stepedit_core.edit import ROUTES, Edit
from stepedit_core.errors import AudioError, InvalidChainError, StepeditError
from stepedit_core.storage.encodings import not_utf8
from stepedit_core.storage.sound import is_stream
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.engine import SpeechEngine

__all__ = [
    "Job",
    "build_chain",
    "check_apart",
    "check_inputs",
    "check_target",
    "goes_to_stdout",
    "implied_engine",
    "is_engine_idle",
    "needed_engine",
    "plan_jobs",
    "stdout_is_taken",
    "text_of",
]

MAX_TEXT_BYTES = 1 << 22
"""Most bytes of a chain or a transcript."""

_STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@dataclass(frozen=True)
class Job:
    """One recording to edit.

    Attributes:
        source: the file.
        target: where the result goes.
        transcript: the words spoken, or None.
        words_from: where the words come from, for messages, or None.
        language: BCP 47 tag, or None.
    """

    source: Path
    target: Path
    transcript: str | None = None
    words_from: str | None = None
    language: str | None = None

    def read(self) -> Utterance:
        """Read the recording; raises AudioError if it cannot be."""
        return self._once if is_stream(self.source) else self._read()

    @cached_property
    def _once(self) -> Utterance:
        """What came through a pipe: it comes once."""
        return self._read()

    def _read(self) -> Utterance:
        utterance = Utterance.read(self.source, self.transcript, self.language)
        problem = utterance.problem()
        if problem:
            raise AudioError(f"{self.source}: {problem}")
        return utterance

    def step_target(self, number: int, name: str) -> Path:
        """Return the file of a single step, beside the target."""
        return self.target.with_name(f"{self.target.stem}.step{number}-{name}{self.target.suffix}")


def _kinds(chain: Chain) -> Iterator[Edit]:
    """Yield the edits of a chain, those that repeat once."""
    for item in chain:
        if isinstance(item, Chain):
            yield from _kinds(item)
        else:
            yield item


def implied_engine(
    chain: Chain, route: RouteChoice, say: Callable[[str], None] = echo_line
) -> str | None:
    """Return ``embedded`` where no engine is named, but a step can do without one by no route.

    Steps that signal processing can carry out never load a model.

    Args:
        chain: what is to be done.
        route: as asked for.
        say: prints why.
    """
    from stepedit_core import embedded

    for edit in _kinds(chain) if embedded.is_shipped() and route != "dsp" else ():
        has_dsp = route == "auto" and edit.route_problem("dsp") is None
        if edit.route_problem("llm") is None and not has_dsp:
            some = "these values have" if "dsp" in edit.routes() else "it has"
            why = "--route llm is asked for" if route == "llm" else f"{some} no dsp route"
            say(f"{edit.name} needs an engine ({why}): taking --engine {EMBEDDED}")
            return EMBEDDED
    return None


def is_engine_idle(name: str, chain: Chain, route: RouteChoice) -> bool:
    """Say whether an engine would do nothing, because all edits take the dsp route beside it.

    Loading takes seconds. What a shipped engine or one of a folder prefers is read from its
    ``routes.json``; other names may be anything, and those engines are loaded.

    Args:
        name: of the engine.
        chain: what is to be done.
        route: as asked for.

    Raises:
        CheckpointError: if the folder's ``routes.json`` is damaged.
    """
    from stepedit_core import embedded

    folder = embedded.FOLDER if name == EMBEDDED else Path(name)
    if not (folder / "config.json").is_file():
        return False
    edits = list(_kinds(chain))
    if any(edit.is_composite() or edit.route_problem("dsp") is not None for edit in edits):
        return False
    if route != "auto":
        return route == "dsp"
    open_ones = [edit for edit in edits if edit.route_problem("llm") is None]
    return all(taken == "dsp" for taken in embedded.preferred_routes(folder, open_ones))


def build_chain(
    edits: Sequence[str], file: Path | None, iterations: int, *, optional: bool = False
) -> Chain:
    """Join a chain file and edits in one-line form, in this order.

    Args:
        edits: in one-line form.
        file: a chain as JSON, or None.
        iterations: how often all of it runs.
        optional: it may be empty, because more comes elsewhere.

    Raises:
        InvalidChainError: if a part is wrong; the text says which.
    """
    chain = Chain()
    if file is not None:
        chain += _read_chain(file)
    parsed = []
    for number, text in enumerate(edits, start=1):
        try:
            parsed.append(parse_edit(text))
        except StepeditError as error:
            raise InvalidChainError(f"-e number {number}: {error}") from error
        except RecursionError as error:
            raise InvalidChainError(f"-e number {number}: edits are nested too deeply") from error
    chain += Chain(parsed)
    if not len(chain) and not optional:
        raise click.UsageError(
            "nothing to do: give -e NAME:param=value, --say SENTENCE or --chain FILE"
        )
    return chain * iterations


def text_of(file: Path, what: str) -> str:
    """Return the text of a file, or of standard input (``-``); ``what`` names it in messages.

    Raises:
        AudioError: naming the file, if it cannot be read, is no UTF-8 text or is too large.
    """
    try:
        if str(file) == "-":
            if sys.stdin is None:
                raise AudioError(f"{file}: standard input is closed")
            raw = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
        else:
            with file.open("rb") as opened:
                raw = opened.read(MAX_TEXT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{file}: cannot be read ({reason})") from error
    if len(raw) > MAX_TEXT_BYTES:
        raise AudioError(f"{file}: more than {MAX_TEXT_BYTES >> 20} MB, which is too much text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AudioError(f"{file}: {what} is text in UTF-8; this is {not_utf8(raw)}") from error


def _read_chain(file: Path) -> Chain:
    """Read a chain file; errors name it."""
    try:
        return Chain.from_json(text_of(file, "a chain"))
    except AudioError as error:
        raise InvalidChainError(str(error)) from error
    except StepeditError as error:
        raise InvalidChainError(f"{file}: {error}") from error


def _read_words(file: Path) -> str:
    """Read a transcript file; errors name it."""
    words = plain_text(text_of(file, "a transcript"))
    if not words:
        raise AudioError(f"{file}: the transcript is empty")
    return words


def _words(source: Path, text: str | None, text_file: Path | None) -> tuple[str | None, str | None]:
    """Return the words of a recording and where they come from."""
    if text is not None:
        return plain_text(text), "--text"
    if text_file is not None:
        return _read_words(text_file), str(text_file)
    if is_stream(source) or not source.name:  # "." has no name
        return None, None
    sidecar = source.with_suffix(".txt")
    if sidecar.is_file() and sidecar != source:
        return _read_words(sidecar), str(sidecar)
    return None, None


def _target(source: Path, output: Path, into_folder: bool) -> Path:
    """Return the path of a recording's result."""
    if not into_folder:
        return output
    if is_stream(source):
        return output / "stdin.wav"
    suffix = source.suffix.lower() if source.suffix.lower() in WRITABLE else ".wav"
    return output / f"{source.stem}{suffix}"


def goes_to_stdout(path: str | Path | None) -> bool:
    """Return whether a target is standard output, where messages must not stand."""
    return str(path) in _STDOUT


def stdout_is_taken(jobs: Sequence[Job], report: Path | None, keep_steps: bool) -> bool:
    """Return whether audio or the report goes to standard output; refuse both at once."""
    audio, facts = goes_to_stdout(jobs[0].target), goes_to_stdout(report)
    if audio and facts:
        raise click.UsageError("-o and --report cannot both be standard output; name a file")
    if keep_steps and is_outlet(jobs[0].target):
        raise click.UsageError(f"--keep-steps writes files beside -o; {jobs[0].target} is no file")
    return audio or facts


def needed_engine(
    name: str | None,
    device: str,
    chain: Chain,
    route: RouteChoice,
    limits: Accept | None,
    say: Callable[[str], None],
    jobs: Iterable[Job] = (),
) -> SpeechEngine | None:
    """Load the engine that is asked for, or that a step cannot do without.

    One that no step would use is not loaded. Limits may send a step to its other route.

    Raises:
        InvalidChainError: if the first edit does not fit one of ``jobs``, whatever its route.
        StepeditError: if the engine cannot be loaded.
    """
    if name is not None and limits is None and is_engine_idle(name, chain, route):
        say(f"every edit takes the dsp route: engine {name} is not needed and not loaded")
        return None
    name = name or implied_engine(chain, route, say)
    for job in jobs if name is not None else ():
        _check_first(job, chain)
    return load_named_engine(name, device)


def _check_first(job: Job, chain: Chain) -> None:
    """Refuse a first edit that does not fit a recording, as `Chain.validate` would later.

    What waits for words that are still to be heard is left to it.
    """
    first = next(_kinds(chain), None)
    if first is None or not (job.transcript or not any(map(first.needs_transcript, ROUTES))):
        return
    try:
        problem = first.problem(job.read())
    except StepeditError as error:
        problem = str(error)
    if problem:
        raise InvalidChainError(f"{job.source}: step 1, {first.name}: {problem}")


def check_target(target: Path, what: str) -> None:
    """Refuse a target that could not be written, before any work is done.

    Args:
        target: a file, a device, a pipe or ``-``.
        what: the option that named it, for messages.

    Raises:
        AudioError: naming the target.
    """
    if is_outlet(target) and str(target) == "-":
        return
    if problem := target_problem(target):
        raise AudioError(f"{what} {target}: {problem}")
    if not is_outlet(target):
        check_folder(target.parent)


def check_inputs(reads: Iterable[Path | None]) -> None:
    """Refuse to read standard input twice: the second time it is empty.

    Raises:
        click.UsageError: naming what may be ``-``.
    """
    if sum(path is not None and str(path) in _STDIN for path in reads) > 1:
        raise click.UsageError(
            "standard input is one recording or one text; of IN, --chain, --text-file and "
            "--subtitles all others are files"
        )


def check_apart(writes: Iterable[tuple[str, Path | None]], reads: Iterable[Path | None]) -> None:
    """Refuse to write one file twice, or over a file that is read: nothing would bring it back.

    Args:
        writes: options and their targets.
        reads: files that the command is given.

    Raises:
        AudioError: naming the option.
    """
    taken = {os.path.realpath(path): f"{path} is read" for path in reads if path is not None}
    for option, target in writes:
        if target is None or is_outlet(target):
            continue
        place = os.path.realpath(target)
        if place in taken:
            raise AudioError(f"{option} {target}: {taken[place]} by this call; name another file")
        taken[place] = f"{option} {target} is written"


def plan_jobs(
    sources: Sequence[Path],
    output: str,
    *,
    text: str | None = None,
    text_file: Path | None = None,
    language: str | None = None,
) -> list[Job]:
    """Decide names and words for all recordings before anything is read or written.

    Raises:
        StepeditError: if names clash, an input would be overwritten, or the target cannot be
            written to.
    """
    if text is not None and text_file is not None:
        raise click.UsageError("give --text or --text-file, not both")
    if not output.strip():
        raise click.UsageError("-o is empty; name a file, or a folder for several inputs")
    place = Path(output)
    try:
        place.exists()
    except OSError as error:
        raise AudioError(f"-o {output!r} cannot be a file name ({error.strerror})") from error
    if len(sources) > 1 and is_outlet(place):
        raise click.UsageError(f"several inputs make a folder of outputs; {output} is none")
    into_folder = len(sources) > 1 or output.endswith(("/", "\\")) or place.is_dir()
    if into_folder and place.suffix.lower() in WRITABLE and not place.is_dir():
        raise click.UsageError(f"several inputs make a folder of outputs; {output} is a file name")
    if len(sources) > 1 and (text is not None or text_file is not None):
        raise click.UsageError("--text is for one input; give several inputs a .txt file each")
    jobs: dict[Path, Job] = {}
    for source in sources:
        if source.is_dir():
            raise AudioError(f"{source}: is a folder, not a recording; name its files, {source}/*")
        target = _target(source, place, into_folder)
        if target in jobs:
            raise AudioError(
                f"{jobs[target].source} and {source} would both be written to {target}"
            )
        if is_stream(source) and sum(map(is_stream, sources)) > 1:
            raise click.UsageError(
                "standard input or a pipe is one recording; name files beside it"
            )
        if not is_outlet(target):
            if target.exists() and source.exists() and target.samefile(source):
                raise AudioError(f"{target} is the input itself; choose another -o")
            check_format(target)
        check_target(target, "-o")
        words, words_from = _words(source, text, text_file)
        jobs[target] = Job(source, target, words, words_from, language)
    if into_folder:
        check_folder(place)
    return list(jobs.values())
