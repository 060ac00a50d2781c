"""What ``stepedit edit`` will do: which files in, which out, which words, which chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import parse_edit
from stepedit_core.chain.result import RouteChoice
from stepedit_core.cli.console import WRITABLE, check_folder, check_format
from stepedit_core.config import EMBEDDED
from stepedit_core.edit import Edit
from stepedit_core.errors import AudioError, InvalidChainError, StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["Job", "build_chain", "implied_engine", "plan_jobs"]


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


def implied_engine(chain: Chain, route: RouteChoice) -> str | None:
    """Return ``embedded`` where no engine is named, but a step can do without one by no route.

    Steps that signal processing can carry out never load a model.

    Args:
        chain: what is to be done.
        route: as asked for.
    """
    from stepedit_core import embedded

    for edit in _kinds(chain) if embedded.is_shipped() and route != "dsp" else ():
        has_dsp = route == "auto" and edit.route_problem("dsp") is None
        if edit.route_problem("llm") is None and not has_dsp:
            some = "these values have" if "dsp" in edit.routes() else "it has"
            why = "--route llm is asked for" if route == "llm" else f"{some} no dsp route"
            click.echo(f"{edit.name} needs an engine ({why}): taking --engine {EMBEDDED}")
            return EMBEDDED
    return None


def build_chain(edits: Sequence[str], file: Path | None, iterations: int) -> Chain:
    """Join a chain file and edits in one-line form, in this order.

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
    if not len(chain):
        raise click.UsageError("nothing to do: give -e NAME:param=value or --chain FILE")
    return chain * iterations


def _read_chain(file: Path) -> Chain:
    """Read a chain file; errors name it."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidChainError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidChainError(f"{file}: not a chain: not UTF-8 text") from error
    try:
        return Chain.from_json(text)
    except StepeditError as error:
        raise InvalidChainError(f"{file}: {error}") from error


def _read_words(file: Path) -> str:
    """Read a transcript file; errors name it."""
    try:
        words = " ".join(file.read_text(encoding="utf-8-sig").split())
    except OSError as error:
        raise AudioError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise AudioError(f"{file}: a transcript is UTF-8 text, this is not") from error
    if not words:
        raise AudioError(f"{file}: the transcript is empty")
    return words


def _words(source: Path, text: str | None, text_file: Path | None) -> tuple[str | None, str | None]:
    """Return the words of a recording and where they come from."""
    if text is not None:
        return text, "--text"
    if text_file is not None:
        return _read_words(text_file), str(text_file)
    sidecar = source.with_suffix(".txt")
    if sidecar.is_file() and sidecar != source:
        return _read_words(sidecar), str(sidecar)
    return None, None


def _target(source: Path, output: Path, into_folder: bool) -> Path:
    """Return where the result of a recording goes."""
    if not into_folder:
        return output
    suffix = source.suffix.lower() if source.suffix.lower() in WRITABLE else ".wav"
    return output / f"{source.stem}{suffix}"


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
    place = Path(output)
    try:
        place.exists()
    except OSError as error:
        raise AudioError(f"-o {output!r} cannot be a file name ({error.strerror})") from error
    into_folder = len(sources) > 1 or output.endswith(("/", "\\")) or place.is_dir()
    if into_folder and place.suffix.lower() in WRITABLE and not place.is_dir():
        raise click.UsageError(f"several inputs make a folder of outputs; {output} is a file name")
    if len(sources) > 1 and (text is not None or text_file is not None):
        raise click.UsageError("--text is for one input; give several inputs a .txt file each")
    jobs: dict[Path, Job] = {}
    for source in sources:
        target = _target(source, place, into_folder)
        if target in jobs:
            raise AudioError(
                f"{jobs[target].source} and {source} would both be written to {target}"
            )
        if target.exists() and source.exists() and target.samefile(source):
            raise AudioError(f"{target} is the input itself; choose another -o")
        check_format(target)
        words, words_from = _words(source, text, text_file)
        jobs[target] = Job(source, target, words, words_from, language)
    check_folder(place if into_folder else place.parent)
    return list(jobs.values())
