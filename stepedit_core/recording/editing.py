"""Run a chain over a long recording, piece by piece, from file to file."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

import stepedit_core
from stepedit_core.atomic import is_outlet, replace_file
from stepedit_core.chain.accept import Accept
from stepedit_core.chain.result import DEFAULT_CARRY, Carry, RouteChoice
from stepedit_core.chain.validation import check_arguments, check_options
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import AudioError, InvalidChainError, counted
from stepedit_core.recording.joining import FADE_SECONDS, Joiner
from stepedit_core.recording.journal import Made, PieceJournal, request_key
from stepedit_core.recording.pieces import Manner, Piece, manner_of, plan_pieces
from stepedit_core.recording.result import PieceRecord, RecordingResult, retimed
from stepedit_core.recording.speakers import check_speaker
from stepedit_core.recording.streaming import read_stretches
from stepedit_core.recording.whole import aimed_at_level, bound_to_whole, says_a_text
from stepedit_core.recording.working import Submit, Task, Work, names, workers_of
from stepedit_core.storage.blocks import SoundWriter, output_format
from stepedit_core.storage.locking import sole_writer
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.chain.chain import Chain
    from stepedit_core.recording.recording import Recording

__all__ = ["RecordingOptions", "RecordingResult", "check_edit", "edit_recording"]

MAX_WORKERS = 64
_ONE_PIECE = "choose one segment, or give a part of the recording as the voice"
FloatArray = npt.NDArray[np.float32]


class RecordingOptions(TypedDict, total=False):
    """How a chain runs over a long recording; see `Recording.edit`."""

    engine: SpeechEngine | None
    """For the llm route."""
    seed: int
    """Same seed, same result."""
    route: RouteChoice
    carry: Carry
    accept: Accept | None
    """Limits that each step must keep, or None."""
    segments: Iterable[int] | None
    """Numbers of the segments that are edited; all of the recording by default."""
    speaker: str | None
    """Edit what this speaker says alone; without labels, voices are told apart as A, B, ..."""
    longest: float | None
    """Longest piece in seconds; by default what the engine says, or what suits the route."""
    workers: int
    """Processes for signal processing; an engine runs in this one."""
    keep_failed: bool
    """Leave a piece as it is where a step fails, and go on; by default all stops."""
    on_piece: Callable[[int, int], None] | None
    """Called with the pieces done and the number of pieces that are edited."""


@dataclass
class _Run:
    """What one call works with."""

    recording: Recording
    chain: Chain
    manner: Manner
    work: Work
    pieces: list[Piece]
    journal: PieceJournal
    request: dict[str, Any]
    seed: int
    on_piece: Callable[[int, int], None] | None
    made: list[Made | None] = field(default_factory=list)

    @property
    def ahead(self) -> int:
        """Samples of the next piece that an edited one is given, for their cross-fade."""
        return max(1, round(FADE_SECONDS * self.recording.sample_rate))


def edit_recording(
    recording: Recording, chain: Chain, output: Path, options: RecordingOptions
) -> RecordingResult:
    """Run a chain over a recording into a file; arguments and errors as for `Recording.edit`."""
    begin = time.perf_counter()
    engine, workers = options.get("engine"), options.get("workers", 1)
    manner = check_edit(recording, chain, output, options)
    kind, subtype = output_format(output, recording.sample_rate, recording.subtype)
    if manner.needs_words:
        recording = recording.with_words()
    if options.get("speaker") is not None or manner.needs_speakers:
        recording = recording.with_speakers()
    if manner.needs_words:
        recording = recording.cut_to(manner.longest)
    run = _prepared(recording, chain, output, manner, options)
    expected = 2 * recording.levels.samples
    written: list[tuple[Joiner, SoundWriter]] = []

    def fill(partial: Path) -> None:
        rate = recording.sample_rate
        with SoundWriter(partial, rate, kind, subtype, expected) as sink:
            joiner = Joiner(sink.write, rate)
            with workers_of(run.work, run.chain, engine, workers) as submit:
                _edit_all(run, submit, joiner, 2 * workers)
            written.append((joiner, sink))

    if is_outlet(output):
        replace_file(output, fill)
    else:
        with sole_writer(output):
            replace_file(output, fill)
    joiner, sink = written[0]
    result = _result(run, output, joiner, sink)
    run.journal.close()
    return _timed(result, time.perf_counter() - begin)


def check_edit(
    recording: Recording, chain: Chain, output: Path, options: RecordingOptions
) -> Manner:
    """Refuse what can be refused before words are heard, which takes minutes.

    Arguments are those of `edit_recording`.

    Returns:
        How the chain is carried out.

    Raises:
        TypeError: if there is no such option.
        StepeditError: if an argument, the output, a step's route or what is chosen does not fit.
    """
    engine, workers = options.get("engine"), options.get("workers", 1)
    route, speaker = options.get("route", "auto"), options.get("speaker")
    known = RecordingOptions.__annotations__
    check_options(options, known, "Recording.edit", options.get("seed", 0))
    stand_in = Utterance(np.ones(1, np.float32), recording.sample_rate)
    check_arguments(stand_in, engine, route, options.get("carry", DEFAULT_CARRY))
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
        raise InvalidChainError(f"workers is a whole number from 1 to {MAX_WORKERS}")
    output_format(output, recording.sample_rate, recording.subtype)
    if output.exists() and not is_outlet(output) and output.samefile(recording.path):
        raise AudioError(f"{output} is the recording itself; choose another output")
    manner = manner_of(chain, engine, route, recording.sample_rate, options.get("longest"))
    if manner.by_llm and workers > 1:
        raise InvalidChainError(
            "several workers share no engine: give workers=1, or route dsp for signal processing"
        )
    if recording.has_words:  # otherwise segments get their numbers when words are heard
        recording.chosen(options.get("segments"))
    if speaker is not None or manner.needs_speakers:
        check_speaker(recording, speaker)
    is_all = options.get("segments") is None and speaker is None
    is_heard = manner.needs_words and not recording.has_words  # later, if nothing is refused
    if is_all and is_heard and recording.seconds > manner.longest:
        if says := says_a_text(chain):
            raise InvalidChainError(
                f"{recording.path}: {says} says a text of its own, and every piece of the "
                f"recording would become it; {_ONE_PIECE}"
            )
        if bound := bound_to_whole(chain):
            raise _refused(recording, bound)
    return manner


def _refused(recording: Recording, bound: str) -> InvalidChainError:
    """Return the error of an edit that means one place of the whole recording."""
    return InvalidChainError(
        f"{recording.path}: {bound} of the whole recording, which is edited in pieces: each would "
        "take it for its own; choose one segment, or give that part of the recording alone"
    )


def _prepared(
    recording: Recording, chain: Chain, output: Path, manner: Manner, options: RecordingOptions
) -> _Run:
    """Plan the pieces and look for those that an earlier call has finished.

    Raises:
        InvalidChainError: if nothing would be edited.
    """
    engine = options.get("engine")
    chosen = recording.chosen(options.get("segments"), options.get("speaker"))
    pieces = plan_pieces(recording.tiles, chosen, manner, recording.levels)
    edited = sum(piece.is_edited for piece in pieces)
    if not edited:
        raise InvalidChainError(f"{recording.path}: the chosen segments hold no words to edit")
    if edited > 1 and (says := says_a_text(chain)):
        raise InvalidChainError(
            f"{recording.path}: {says} says a text of its own, and each of {edited} pieces would "
            f"become it; {_ONE_PIECE}"
        )
    told = {part.number for piece in pieces if piece.is_edited for part in piece.segments}
    is_one = options.get("segments") is not None and len(told) == 1
    if edited > 1 and not is_one and (bound := bound_to_whole(chain)):
        raise _refused(recording, bound)
    chain, note = aimed_at_level(chain, recording, pieces)
    if note is not None:
        recording = replace(recording, notes=(*recording.notes, note))
    work = Work(
        chain.to_json(None),
        options.get("route", "auto"),
        options.get("carry", DEFAULT_CARRY),
        manner.keeps_level,
        options.get("keep_failed", False),
        not manner.needs_words,
        options.get("accept"),
        manner.needs_speakers,
    )
    seed = options.get("seed", 0)
    request = {
        "chain": chain.to_data(),
        "engine": None if engine is None else dict(engine.describe()),
        "route": work.route,
        "carry": work.carry,
        "level": work.keeps_level,
        "accept": None if work.accept is None else work.accept.model_dump(),
        "seed": seed,
        "recording": recording.digest,
        "version": stepedit_core.__version__,
    }
    journal = PieceJournal(None if is_outlet(output) else output)
    return _Run(
        recording, chain, manner, work, pieces, journal, request, seed, options.get("on_piece")
    )


def _edit_all(run: _Run, submit: Submit, joiner: Joiner, most: int) -> None:
    """Read, edit and join all pieces; at most so many are held at a time."""
    waiting: deque[tuple[Piece, FloatArray, int, Callable[[], Made] | None]] = deque()
    total = sum(piece.is_edited for piece in run.pieces)
    done = 0
    with run.recording.open() as sound:
        source = read_stretches(sound.blocks(), run.pieces, run.ahead)
        for piece, samples in source:
            ahead = _overlap(run, piece, samples)
            own = samples[: piece.stop - piece.start + ahead]
            waiting.append((piece, own, ahead, _task(run, piece, own, submit)))
            while len(waiting) >= most:
                done += _join(run, joiner, *waiting.popleft())
                _tell(run, done, total)
        while waiting:
            done += _join(run, joiner, *waiting.popleft())
            _tell(run, done, total)
    joiner.close()
    reasons = [one.left for one in run.made if one is not None and one.left]
    if len(reasons) == total:
        raise InvalidChainError(f"{run.recording.path}: nothing was edited: {reasons[0]}")


def _overlap(run: _Run, piece: Piece, samples: FloatArray) -> int:
    """Return how many samples of the next piece a piece is edited with."""
    following = run.pieces[piece.number] if piece.number < len(run.pieces) else None
    if not piece.is_edited or following is None or not following.is_edited:
        return 0
    return len(samples) - (piece.stop - piece.start)


def _tell(run: _Run, done: int, total: int) -> None:
    """Say how far the run is."""
    if run.on_piece is not None:
        run.on_piece(done, total)


def _task(
    run: _Run, piece: Piece, samples: FloatArray, submit: Submit
) -> Callable[[], Made] | None:
    """Return what gives a piece's result: from the journal, or by the chain."""
    if not piece.is_edited:
        return None
    rate = run.recording.sample_rate
    seed = int(np.random.SeedSequence(abs(run.seed), spawn_key=(piece.start,)).generate_state(1)[0])
    start = piece.start / rate
    name = f"{names(piece.segments)} at {start:.2f} s"
    task = Task(
        samples, rate, start, piece.text, run.recording.language, piece.segments, seed, name
    )
    key = request_key(
        {
            **run.request,
            "piece": [piece.start, len(samples), piece.text, run.recording.language],
            "cues": [[part.start, part.end, part.text] for part in piece.segments],
        }
    )
    known = run.journal.get(key)
    if known is not None:
        return lambda: known
    pending = submit(task)

    def finished() -> Made:
        made = pending()
        run.journal.add(key, made)
        return made

    return finished


def _join(
    run: _Run,
    joiner: Joiner,
    piece: Piece,
    samples: FloatArray,
    ahead: int,
    result: Callable[[], Made] | None,
) -> int:
    """Hand a piece to the joiner; return whether it was to be edited."""
    if result is None:
        run.made.append(None)
        joiner.leave(samples)
        return 0
    made = result()
    if made.left is None:
        joiner.add(made.samples, samples, ahead)
    else:
        joiner.leave(samples[: piece.stop - piece.start])
    # The samples are written or held by the joiner; keeping them would fill the memory.
    run.made.append(Made(np.zeros(0, np.float32), made.text, made.left, made.anchors, made.details))
    return 1


def _records(run: _Run, starts: list[int]) -> Iterator[PieceRecord]:
    """Yield what was done with each piece."""
    rate = run.recording.sample_rate
    for n, (piece, made) in enumerate(zip(run.pieces, run.made, strict=True)):
        yield PieceRecord(
            piece.number,
            round(piece.start / rate, 6),
            round(piece.stop / rate, 6),
            round(starts[n] / rate, 6),
            round(starts[n + 1] / rate, 6),
            tuple(part.number for part in piece.segments),
            made is not None and made.left is None,
            None if made is None else made.left,
            {} if made is None else made.details,
        )


def _result(run: _Run, output: Path, joiner: Joiner, sink: SoundWriter) -> RecordingResult:
    """Return what came out."""
    recording = run.recording
    starts = [0, *np.cumsum(joiner.lengths).tolist()]
    kept = [one if one is not None and one.left is None else None for one in run.made]
    segments = retimed(recording.segments, run.pieces, kept, starts, recording.sample_rate)
    said = [note for one in run.made if one for note in one.details.get("notes", ())]
    notes = [*recording.notes, *dict.fromkeys(said)]
    reasons = Counter(one.left for one in run.made if one is not None and one.left)
    for reason, count in reasons.most_common(3):
        left = counted(count, "piece was left as it is", "pieces were left as they are")
        notes.append(f"{left}: {reason}")
    if len(reasons) > 3:
        rest = sum(reasons.values()) - sum(count for _, count in reasons.most_common(3))
        left = counted(rest, "more piece was left as it is", "more pieces were left as they are")
        notes.append(f"{left}; the report says why")
    return RecordingResult(
        recording,
        output,
        sink.written / recording.sample_rate,
        segments,
        tuple(_records(run, starts)),
        joiner.spliced,
        joiner.faded,
        sink.clipped,
        run.journal.found,
        0.0,
        tuple(notes),
    )


def _timed(result: RecordingResult, seconds: float) -> RecordingResult:
    """Return a result with the time that it took."""
    return replace(result, wall_seconds=seconds)
