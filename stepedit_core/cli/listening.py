"""``stepedit transcribe`` and ``stepedit align``: the words of a recording and their times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepedit_core.atomic import is_outlet
from stepedit_core.cli.console import language_option
from stepedit_core.errors import AlignmentError, StepeditError, counted

if TYPE_CHECKING:
    from stepedit_core.alignment import Alignment
    from stepedit_core.chain.chain import Chain
    from stepedit_core.chain.result import RouteChoice
    from stepedit_core.cli.plan import Job
    from stepedit_core.engine import SpeechEngine
    from stepedit_core.utterance import Utterance

__all__ = ["align", "transcribe", "with_words_heard"]

FORMATS = ("json", "srt", "vtt", "textgrid", "audacity")
_SUFFIXES = {
    ".json": "json",
    ".srt": "srt",
    ".vtt": "vtt",
    ".textgrid": "textgrid",
    ".txt": "audacity",
}
_MAX_SECONDS = 4 * 3600.0


def _read(recording: Path, text: str | None, language: str | None) -> Utterance:
    """Read a recording with its words."""
    from stepedit_core.utterance import Utterance

    return Utterance.read(recording, text, language, max_seconds=_MAX_SECONDS)


def _check_out(recording: Path, out: Path | None) -> None:
    """Refuse a target that cannot be written, or is the recording, before any work is done."""
    from stepedit_core.cli.plan import check_apart, check_target

    if out is not None:
        check_target(out, "-o")
        check_apart([("-o", out)], [recording])


def _kind(chosen: str | None, out: Path | None) -> str:
    """Return the format that was asked for, or that the suffix tells; JSON without a file.

    Raises:
        click.UsageError: if the suffix tells none: JSON under the name of something else is lost.
    """
    if chosen is not None or out is None or is_outlet(out):
        return chosen or "json"
    kind = _SUFFIXES.get(out.suffix.lower())
    if kind is None:
        raise click.UsageError(
            f"-o {out}: the suffix tells no format; use one of {' '.join(_SUFFIXES)}, or --format"
        )
    return kind


def _give(found: Alignment, speech: Utterance, kind: str, out: Path | None) -> None:
    """Print or write an alignment; what a user should know goes to standard error."""
    from stepedit_core.cli.console import echo_line, write_text
    from stepedit_core.recording.subtitles import format_alignment

    for note in found.notes:
        echo_line(f"note: {note}", err=True)
    text = format_alignment(found, kind, speech.seconds)  # type: ignore[arg-type]
    if out is None:
        click.echo(text, nl=False)
        return
    write_text(out, text)
    echo_line(f"{out}: {counted(len(found.words), 'word')}, timed by {found.aligner}", err=True)


@click.command(short_help="Write when each word of a recording is said.")
@click.argument("recording", metavar="IN", type=click.Path(path_type=Path))
@click.option("--text", help="The words spoken; without them, a recogniser is asked.")
@language_option
@click.option("--aligner", default="auto", show_default=True, help="Its name, or name:model.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Default: by OUT's suffix.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write to a file.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1, 64))
def align(
    recording: Path,
    text: str | None,
    language: str | None,
    aligner: str,
    kind: str | None,
    out: Path | None,
    threads: int,
) -> None:
    """Write when each word of the recording IN is said.

    Aligners: pocketsphinx (English, 10 ms), ctc (English, knows any spelling), whisper (many
    languages, coarse), pauses (no model). Formats: json (words and sentences with seconds and
    confidence), srt, vtt, textgrid, audacity.

    Example: stepedit align talk.wav --text "We are here." -o talk.srt
    """
    from stepedit_core.recording.hearing import align as find

    _check_out(recording, out)
    chosen = _kind(kind, out)
    speech = _read(recording, text, language)
    _give(find(speech, aligner, threads=threads), speech, chosen, out)


@click.command(short_help="Write the words of a recording.")
@click.argument("recording", metavar="IN", type=click.Path(path_type=Path))
@language_option
@click.option("--recogniser", default="auto", show_default=True, help="Its name, or name:model.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(("text", *FORMATS)),
    help="Default: by OUT's suffix, text on the screen.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write to a file.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1, 64))
def transcribe(
    recording: Path,
    language: str | None,
    recogniser: str,
    kind: str | None,
    out: Path | None,
    threads: int,
) -> None:
    """Write the words of the recording IN.

    Recognisers: whisper (base, multilingual, no network; whisper:small takes any size, hub id
    or folder), tiny.en, pocketsphinx, hf:MODEL (a transformers pipeline), openai:MODEL (an
    endpoint; OPENAI_BASE_URL and OPENAI_API_KEY). Other formats than text have word times.

    Example: stepedit transcribe talk.wav -o talk.srt
    """
    from stepedit_core.cli.console import echo_line, write_text
    from stepedit_core.recording.hearing import align as find
    from stepedit_core.recording.hearing import choose_aligner
    from stepedit_core.recording.hearing import transcribe as hear

    _check_out(recording, out)
    is_text = out is None or is_outlet(out) or out.suffix.lower() == ".txt"
    chosen = kind or ("text" if is_text else _kind(None, out))
    if chosen != "text":
        choose_aligner(language=language)
    speech = _read(recording, None, language)
    heard = hear(speech, recogniser, threads=threads)
    if chosen == "text":
        if out is None:
            echo_line(heard.text)
        else:
            write_text(out, heard.text + "\n")
        return
    if not heard.text.strip():
        raise AlignmentError(f"{recording}: {heard.recogniser} hears no words")
    known = speech.replace(transcript=heard.text, language=heard.language)
    found: Alignment = find(known, threads=threads)
    _give(found, speech, chosen, out)


def with_words_heard(
    job: Job,
    chain: Chain,
    engine: SpeechEngine | None,
    route: RouteChoice,
    say: Callable[[str], None],
) -> Job:
    """Return a job with the words that a recogniser hears, where an edit needs some.

    Where words were given, where no step needs them or no recogniser is installed, the job is
    returned as it is.

    Raises:
        AlignmentError: if no words are heard.
    """
    from stepedit_core.chain.validation import choose_route
    from stepedit_core.recording.hearing import recogniser_names
    from stepedit_core.recording.hearing import transcribe as hear
    from stepedit_core.storage.sound import is_stream

    if job.transcript or not recogniser_names(job.language):
        return job
    speech = job.read()
    try:
        routes = [(edit, choose_route(edit, engine, route, speech)) for edit in chain.unrolled()]
    except StepeditError:
        return job  # the chain's own check says why
    if not any(edit.needs_transcript(taken) for edit, taken in routes):
        return job
    heard = hear(speech)
    if not heard.text.strip():
        raise AlignmentError(
            f"{job.source}: an edit needs the words, and {heard.recogniser} hears none; give --text"
        )
    say(f"{job.source}: transcribed by {heard.recogniser}; give --text to correct it")
    language = job.language or heard.language
    found = dataclasses.replace(job, transcript=heard.text, language=language)
    if is_stream(job.source):
        # A pipe is read once.
        vars(found)["_once"] = speech.replace(transcript=heard.text, language=language)
    return found
