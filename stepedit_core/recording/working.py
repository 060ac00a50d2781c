"""Edit single pieces, here or in worker processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.chain.accept import Accept
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.result import Carry, RouteChoice
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.dsp.words import split_words
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import AlignmentError, EditError, InvalidChainError, StepeditError
from stepedit_core.recording.hearing import align
from stepedit_core.recording.journal import Made
from stepedit_core.recording.loudness import matched
from stepedit_core.recording.segments import Segment
from stepedit_core.utterance import Utterance
from stepedit_core.workers import end_with_parent, one_thread_each

__all__ = ["Task", "Work", "edit_piece", "workers_of"]

_LOUD_DB = 35.0  # what is this far below the loudest 20 ms is taken for speech's own extent
_TOLD = ("accepted", "failed_tries", "judged")

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Work:
    """What holds for all pieces.

    Attributes:
        chain: as JSON, which worker processes can be given.
        route: one for all steps, or ``auto``.
        carry: what a step hands to the next.
        keeps_level: whether pieces keep the loudness of their source.
        keep_failed: whether a piece stays as it is where a step fails; otherwise all stops.
        time_words: whether the words are spread over their subtitles before the chain runs.
        accept: limits that each step must keep, or None.
        tell_speakers: whether a step has to know who says which word.
    """

    chain: str
    route: RouteChoice
    carry: Carry
    keeps_level: bool
    keep_failed: bool
    time_words: bool
    accept: Accept | None = None
    tell_speakers: bool = False


@dataclass(frozen=True)
class Task:
    """One piece to edit.

    Attributes:
        samples: float32, shape ``(n,)``.
        rate: in Hz.
        start: where the piece begins, in seconds of the recording.
        text: its words, or None.
        language: BCP 47 tag, or None.
        segments: in it.
        seed: of its chain.
        name: for messages.
    """

    samples: FloatArray = field(repr=False)
    rate: int
    start: float
    text: str | None
    language: str | None
    segments: tuple[Segment, ...]
    seed: int
    name: str


def edit_piece(work: Work, chain: Chain, task: Task, engine: SpeechEngine | None) -> Made:
    """Run the chain on one piece.

    Raises:
        EditError: if a step fails on speech, and pieces that fail are not kept.
    """
    source = Utterance(task.samples, task.rate, task.text, task.language)
    if work.time_words and task.text:
        source = source.replace(alignment=_spread(task))
    elif work.tell_speakers and task.text:
        source = _with_speakers(source, task)
    nothing = np.zeros(0, np.float32)
    problem = source.problem()
    if problem:
        return Made(nothing, task.text, problem)
    try:
        result = chain(
            source,
            engine,
            seed=task.seed,
            route=work.route,
            carry=work.carry,
            accept=work.accept,
        )
    except InvalidChainError as error:
        return Made(nothing, task.text, str(error))
    except EditError as error:
        if not speech_spans(source):
            return Made(nothing, task.text, f"no speech in it: {error}")
        if work.keep_failed:
            tried = {"failed_tries": list(error.tries)} if error.tries else {}
            return Made(nothing, task.text, f"failed: {error}", details={"failed": True, **tried})
        # The finished steps hold sound, which need not go through a pipe.
        raise EditError(f"{task.name}: {error}") from None
    edited = result.utterance.resample(task.rate)
    gain = 0.0
    if work.keeps_level:
        edited, gain = matched(source, edited)
    details = {
        "gain_db": round(gain, 2),
        "steps": [
            {
                "edit": told["edit"],
                "route": step.route,
                "wall": round(step.seconds, 3),
                **{name: told[name] for name in _TOLD if name in told},
            }
            for step, told in zip(result.steps, result.report()["steps"], strict=True)
        ],
        **({"notes": list(result.notes)} if result.notes else {}),
    }
    samples = np.ascontiguousarray(edited.samples)
    return Made(samples, edited.transcript, None, _anchors(source, edited), details)


def _with_speakers(source: Utterance, task: Task) -> Utterance:
    """Return a piece whose words are said by the speakers of its segments."""
    speakers = tuple(
        segment.speaker for segment in task.segments for _ in split_words(segment.text or "")
    )
    try:
        known = align(source)
    except AlignmentError:  # the chain says what it lacks
        return source
    if not any(speakers) or len(speakers) != len(known.words):
        return source
    return source.replace(alignment=replace(known, speakers=speakers))


def _spread(task: Task) -> Alignment | None:
    """Return words spread over their subtitles: enough to carry the subtitles' times along."""
    words: list[TimedWord] = []
    at = 0.0
    for segment in task.segments:
        parts = split_words(segment.text or "")
        total = sum(word.seconds for word in parts)
        begin = max(at, segment.start - task.start)
        length = max(0.0, segment.end - task.start - begin)
        for word in parts:
            end = begin + length * word.seconds / total
            words.append(TimedWord(word.text, begin, end))
            begin = end
        at = max(at, begin)
    text = task.text or ""
    if len(words) != len(split_words(text)):
        return None
    return Alignment(text, tuple(words), "subtitles") if words else None


def _anchors(source: Utterance, edited: Utterance) -> tuple[tuple[float, float], ...]:
    """Return moments of the source and the result that belong together."""
    rows = [(0.0, 0.0), (source.seconds, edited.seconds)]
    before, after = source.alignment, edited.alignment
    if before is not None and after is not None and len(before.words) == len(after.words):
        for old, new in zip(before.words, after.words, strict=True):
            rows += [(old.start, new.start), (old.end, new.end)]
    else:
        rows += zip(_extent(source), _extent(edited), strict=True)
    ordered: list[tuple[float, float]] = []
    for old_second, new_second in sorted(rows):
        if not ordered or (old_second > ordered[-1][0] and new_second >= ordered[-1][1]):
            ordered.append((round(old_second, 5), round(new_second, 5)))
    return tuple(ordered)


def _extent(utterance: Utterance) -> tuple[float, float]:
    """Return when the first and the last loud sound is, in seconds."""
    size = max(1, utterance.sample_rate // 50)
    whole = len(utterance.samples) // size
    if not whole:
        return 0.0, utterance.seconds
    power = utterance.samples[: whole * size].reshape(whole, size).var(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_LOUD_DB / 10))
    return float(loud[0] * size / utterance.sample_rate), float(
        (loud[-1] + 1) * size / utterance.sample_rate
    )


# Worker processes --------------------------------------------------------------------------

_WORK: tuple[Work, Chain] | None = None


def _begin(work: Work) -> None:
    """Prepare a worker."""
    global _WORK
    _WORK = (work, Chain.from_json(work.chain))
    end_with_parent()


def _remote(task: Task) -> Made:
    """Edit a piece in a worker."""
    assert _WORK is not None
    return edit_piece(*_WORK, task, None)


Submit = Callable[[Task], Callable[[], Made]]


@contextmanager
def workers_of(
    work: Work, chain: Chain, engine: SpeechEngine | None, count: int
) -> Iterator[Submit]:
    """Yield what takes a task and returns what waits for its result.

    Args:
        work: what holds for all pieces.
        chain: the same chain as in ``work``.
        engine: runs in this process; several workers have none.
        count: processes; 1 works in this one, when the result is asked for.
    """
    if count <= 1:
        yield lambda task: lambda: edit_piece(work, chain, task, engine)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with one_thread_each(), ProcessPoolExecutor(count, context, _begin, (work,)) as pool:
            try:
                yield lambda task: pool.submit(_remote, task).result
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    except BrokenProcessPool as error:
        raise StepeditError(
            "a worker process ended by itself, perhaps for want of memory; call the same command "
            "again to go on, with fewer --workers"
        ) from error


def names(segments: Sequence[Segment]) -> str:
    """Return the numbers of segments for a message."""
    if not segments:
        return "a pause"
    first, last = segments[0].number, segments[-1].number
    return f"segment {first}" if first == last else f"segments {first}-{last}"
