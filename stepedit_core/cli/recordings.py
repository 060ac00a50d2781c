"""``stepedit edit`` on recordings of any length, in segments from subtitles or between pauses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from stepedit_core.chain.notation import shown_edit
from stepedit_core.cli.plan import Job, check_target
from stepedit_core.cli.waiting import piece_progress
from stepedit_core.errors import counted
from stepedit_core.storage.sound import is_stream
from stepedit_core.utterance import MAX_SECONDS

if TYPE_CHECKING:
    from stepedit_core.chain.chain import Chain
    from stepedit_core.engine import SpeechEngine
    from stepedit_core.recording.editing import RecordingOptions as EditOptions
    from stepedit_core.recording.result import RecordingResult

__all__ = ["RecordingOptions", "edit_long", "is_long", "recording_options"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class RecordingOptions:
    """Options that concern recordings in segments.

    Attributes:
        subtitles: a file that says what is said when, or None.
        subtitles_out: where the subtitles go at their new times, or None.
        segments: numbers such as ``3-7``, or None.
        speaker: edit this speaker's segments alone, or None.
        longest: longest piece in seconds, or None.
        workers: processes for signal processing.
        keep_failed: leave pieces as they are on which a step fails.
    """

    subtitles: Path | None = None
    subtitles_out: Path | None = None
    segments: str | None = None
    speaker: str | None = None
    longest: float | None = None
    workers: int = 1
    keep_failed: bool = False

    @property
    def needs_segments(self) -> bool:
        """Whether an option makes sense for segments alone."""
        return any((self.subtitles, self.subtitles_out, self.segments, self.speaker, self.longest))

    def check(self, jobs: int) -> None:
        """Refuse what cannot be asked for of several recordings, and targets out of reach.

        Raises:
            StepeditError: if numbers, subtitles or their target do not fit.
        """
        if self.needs_segments and jobs > 1:
            raise click.UsageError(
                "--subtitles, --subtitles-out, --segments, --speaker and --longest are for one "
                "input"
            )
        if self.segments is not None:
            self.numbers()
        if self.subtitles is not None and not is_stream(self.subtitles):
            from stepedit_core.recording.subtitles import read_cues

            read_cues(self.subtitles)
        if self.subtitles_out is not None:
            from stepedit_core.recording.subtitles import label_format

            label_format(self.subtitles_out)
            check_target(self.subtitles_out, "--subtitles-out")

    def numbers(self) -> tuple[int, ...] | None:
        """Return the numbers of the segments; raises AlignmentError where they are none."""
        from stepedit_core.recording.segments import parse_numbers

        return None if self.segments is None else parse_numbers(self.segments)


def recording_options(function: F) -> F:
    """Add the options that concern recordings in segments, as one argument ``asked``."""
    options = (
        click.option(
            "--subtitles",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="SRT, WebVTT, ASS, TextGrid, Audacity labels or JSON: each cue is a segment.",
        ),
        click.option(
            "--subtitles-out",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Write the subtitles at their new times (.srt, .vtt, .json, .txt, .TextGrid).",
        ),
        click.option("--segments", metavar="3-7", help="Edit these segments alone."),
        click.option(
            "--speaker",
            metavar="NAME",
            help="Edit what this speaker says alone; without labels, voices are A, B, ...",
        ),
        click.option(
            "--longest",
            metavar="SECONDS",
            type=click.FloatRange(min=1),
            help="Longest piece of a long recording that is edited at once.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, 64),
            default=1,
            show_default=True,
            help="Processes for the signal processing of a long recording.",
        ),
        click.option(
            "--keep-failed",
            is_flag=True,
            help="Leave a piece of a long recording as it is where a step fails, and go on.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def is_long(job: Job, asked: RecordingOptions) -> bool:
    """Return whether a recording is edited in pieces: it is long, or segments are asked for.

    Raises:
        AudioError: if the file cannot be read, or is longer than a day.
    """
    if asked.needs_segments:
        return True
    if is_stream(job.source):
        return False
    from stepedit_core.recording.recording import MAX_SECONDS as LONGEST
    from stepedit_core.storage.blocks import sound_seconds

    return sound_seconds(job.source, max_seconds=LONGEST) > MAX_SECONDS


def edit_long(
    job: Job,
    chain: Chain,
    engine: SpeechEngine | None,
    asked: RecordingOptions,
    say: Callable[[str], None],
    **options: Any,
) -> dict[str, Any]:
    """Edit one recording in pieces and return its record for the report.

    Raises:
        EditError: if a step fails on speech.
        StepeditError: if the recording, the subtitles or the chain do not fit.
    """
    from stepedit_core.recording.editing import check_edit
    from stepedit_core.recording.recording import Recording

    recording = Recording.read(
        job.source,
        subtitles=asked.subtitles,
        text=None if asked.subtitles is not None else job.transcript,
        language=job.language,
    )
    kind = f"from {asked.subtitles}" if asked.subtitles else "between pauses"
    say(
        f"{job.source}: {_clock(recording.seconds)} long, edited in pieces; "
        f"{counted(len(recording.segments), 'segment')} {kind}"
    )
    facts = {
        "engine": engine,
        "segments": asked.numbers(),
        "speaker": asked.speaker,
        "longest": asked.longest,
        "workers": asked.workers,
        "keep_failed": asked.keep_failed,
    }
    asked_of = cast("EditOptions", {**facts, **options})
    check_edit(recording, chain, job.target, asked_of)
    if asked.subtitles_out is not None and not recording.has_words:
        recording = recording.with_words()
    with piece_progress() as move:
        asked_of["on_piece"] = move
        result = recording.edit(chain, job.target, **asked_of)
    _tell(job, result, chain, say)
    if asked.subtitles_out is not None:
        say(f"wrote {result.write_subtitles(asked.subtitles_out)}")
    return {"input": str(job.source), "output": str(job.target), **result.report()}


def _tell(job: Job, result: RecordingResult, chain: Chain, say: Callable[[str], None]) -> None:
    """Print what was done."""
    for note in result.notes:
        say(f"{job.source}: {note}")
    edited = sum(piece.is_edited for piece in result.pieces)
    again = f", {result.resumed} of them by an earlier call" if result.resumed else ""
    steps = " | ".join(shown_edit(edit) for edit in chain.unrolled()[:8])
    say(f"{edited} of {counted(len(result.pieces), 'piece')} edited{again}: {steps}")
    clipped = f", {counted(result.clipped, 'sample')} clipped" if result.clipped else ""
    speed = result.source.seconds / max(result.wall_seconds, 1e-9)
    say(
        f"wrote {job.target} ({_clock(result.seconds)}, {result.source.sample_rate} Hz mono"
        f"{clipped}; {counted(result.spliced, 'seam')} spliced, {result.faded} cross-faded; "
        f"{speed:.1f} x real time)"
    )


def _clock(seconds: float) -> str:
    """Return a duration as ``1:02:03.4`` or ``12.34 s``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f} min"
