"""Cut words out of a recording so that the join sounds like a natural one.

Both cut points are searched for near the words' borders: where nothing that sounds is left of the
words that go or is taken of their neighbours, where it is quiet, where the sound before and after
the join differs no more than at natural borders, in level and in high frequencies, and where the
pause that is left is the longer of the two pauses that met the words. Samples outside the cut and
its cross-fade stay as they are. The search is that of overlap-add time scaling (Verhelst & Roelands
1993, ICASSP, WSOLA), with a spectral distance first.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_core.alignment import Alignment
from stepedit_core.dsp.joins import readings_of
from stepedit_core.dsp.phone_joins import PhonesAround, phones_around
from stepedit_core.errors import AlignmentError, MissingDependencyError
from stepedit_core.utterance import Span, Utterance

__all__ = ["EARS", "Cut", "cross_faded", "cut_out", "join_steps", "plan_cut", "possible_cuts"]

FloatArray = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

EARS = ("pocketsphinx", "phones")
"""Who may listen to cuts: PocketSphinx's grammars, and the phone recogniser hama."""
_HEARS = {
    "pocketsphinx": frozenset({"pocketsphinx"}),
    "phones": frozenset({"pocketsphinx", "ctc"}),
}
"""Whose words each listens to: those of aligners that know English only."""
_HOP, _WINDOW, _FADE = 0.002, 0.02, 0.01
_REACH = 0.04
"""How far from an aligned border a cut may lie inside a word, in seconds: aligners err so much."""
_HIGH_HZ = 3_000.0
_FLOOR_DB = -80.0
# Weights of the search: one dB of loudness at a cut, one dB of step beyond a natural one, one
# second of pause, and one second of sound on the wrong side of a cut.
_LOUD, _STEP, _PAUSE, _MISPLACED = 0.1, 5.0, 60.0, 1000.0
_JOIN = 10.0
"""Cost of one dB of step at a join beyond a natural one, of cuts that are listened to."""
_ODDS, _SURE = 0.25, -300.0
"""Cost of one unit of PocketSphinx by which a wrong reading of a join is likelier, and odds beyond
which a join is no better."""
_NATS, _CLEAR = 50.0, -1.0
"""Cost of one nat by which the phone recogniser finds a wrong reading likelier, and odds beyond
which a join is no better. These costs were set on 31 cuts of development recordings."""
_CELL, _CELLS = 0.016, 2
"""Size of the cells, in seconds, around the best cut from which others are listened to, and how
many lie on either side."""
_LATER, _TOUCH = 0.015, 0.03
"""How much later than PocketSphinx says the next word begins where no pause of at least the other
one parts them, in seconds: its words begin early, and what goes sounds on in what follows."""
_AROUND = 0.25
"""Seconds on either side of a join in which its steps are measured."""
_NATURAL_DB = 14.0
"""Steps up to this are common between the words of recordings (the 90th percentile is 16 to 19)."""
_SOUNDS = (0.25, 0.6)
"""Where sound begins to count and counts in full, on the way from a recording's quietest twentieth
to its loudest, in dB: the closure of a stop may be on either side, a vowel may not."""


@dataclass(frozen=True)
class Cut:
    """A stretch that is cut out.

    Attributes:
        start: in seconds of the source; what is before stays.
        end: in seconds of the source; what is after stays.
    """

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How much shorter the recording gets."""
        return self.end - self.start

    def moved(self, second: float) -> float:
        """Return the time after the cut of a time in the source, both in seconds."""
        return second if second <= self.start else max(self.start, second - self.seconds)


def plan_cut(
    utterance: Utterance,
    alignment: Alignment,
    first: int,
    stop: int,
    ears: Sequence[str] = EARS,
) -> Cut:
    """Return the cut that removes the words ``first`` to before ``stop``.

    Where the words were laid along their phones, English ones, some of the best cuts are listened
    to, and what is heard at their joins counts, too.

    Args:
        utterance: the recording.
        alignment: its words.
        first: index of the first word that goes.
        stop: index after the last word that goes.
        ears: who listens of `EARS`; those that are not installed do not.
    """
    cuts = possible_cuts(utterance, alignment, first, stop)
    heard = [ear for ear in ears if alignment.aligner in _HEARS[ear]]
    if len(cuts) == 1 or not heard:
        return cuts[0][0]
    made = [(cut_out(utterance, cut), cut.seconds) for cut, _ in cuts]
    worth = np.array([cost for _, cost in cuts])
    for n, (cut, _) in enumerate(cuts):
        steps = np.array(join_steps(made[n][0], cut.start))
        worth[n] += _JOIN * float(np.maximum(0.0, steps - _NATURAL_DB).mean())
    # What cannot be listened to is cut by level and spectrum.
    if "pocketsphinx" in heard:
        with contextlib.suppress(MissingDependencyError, AlignmentError):
            if readings := readings_of(utterance, alignment, first, stop):
                odds = readings.odds(made)
                worth += [_ODDS * max(_SURE, one) for one in odds]
    if "phones" in heard:
        with contextlib.suppress(MissingDependencyError):
            if around := phones_around(utterance, alignment, first, stop):
                return cuts[_cheapest_by_phones(around, made, worth)][0]
    return cuts[int(np.argmin(worth))][0]


def _cheapest_by_phones(
    around: PhonesAround, made: Sequence[tuple[Utterance, float]], worth: Floats
) -> int:
    """Return the number of the cut that costs least with what is heard of its phones.

    Args:
        around: what was heard before the cut.
        made: the recording after each cut, and how much shorter it got, in seconds.
        worth: what each costs otherwise. The cheaper ones are listened to first, and none that
            could not be the cheapest any more.
    """
    best, least = 0, np.inf
    for n in map(int, np.argsort(worth, kind="stable")):
        if worth[n] + _NATS * _CLEAR >= least:
            break
        whole = worth[n] + _NATS * max(_CLEAR, around.odds(*made[n]).against)
        if whole < least:
            best, least = n, whole
    return best


def possible_cuts(
    utterance: Utterance, alignment: Alignment, first: int, stop: int
) -> list[tuple[Cut, float]]:
    """Return cuts that remove words, the best one by level and spectrum first, and their costs.

    The others differ from it by more than a hundredth of a second at one end at least.

    Args:
        utterance: the recording.
        alignment: its words.
        first: index of the first word that goes.
        stop: index after the last word that goes.
    """
    words = alignment.words
    span = alignment.span(first, stop)
    before = words[first - 1].end if first else 0.0
    after = words[stop].start if stop < len(words) else utterance.seconds
    left = Span(min(before, span.start), span.start)
    right = Span(span.end, max(after, span.end))
    ceiling = words[stop].end if stop < len(words) else utterance.seconds
    # The aligned border holds where it is moved, too: a soft consonant looks like a pause.
    ceiling = min(ceiling, right.end + _REACH)
    if alignment.aligner == "pocketsphinx" and right.seconds < _TOUCH and stop < len(words):
        right = Span(right.start + _LATER, right.end + _LATER)
    pause = _pause_left(left, right, first == 0, stop == len(words))
    starts = _grid(left, utterance.seconds, floor=words[first - 1].start if first else 0.0)
    ends = _grid(right, utterance.seconds, ceiling=ceiling)
    starts, ends = starts[starts < span.end], ends[ends > span.start]
    if not (len(starts) and len(ends) and ends[-1] - starts[0] >= _HOP):
        # Words that were given no time, since they are not heard: next to nothing goes.
        first_place = min(span.start, max(0.0, utterance.seconds - _HOP))
        return [(Cut(first_place, max(span.end, first_place + _HOP)), 0.0)]
    levels = _features(utterance)
    loud = _above_floor(levels, starts)[:, None] + _above_floor(levels, ends)[None, :]
    # What is left of the pauses; beyond them lie words, which are counted as sound.
    left_over = (starts.clip(left.start, left.end) - left.start)[:, None]
    left_over = left_over + (right.end - ends.clip(right.start, right.end))[None, :]
    cost = _LOUD * loud + _STEP * _steps(levels, starts, ends)
    cost += _PAUSE * np.abs(left_over - pause)
    cost += _MISPLACED * _misplaced(levels, (left, starts), (right, ends))
    cost = np.where(ends[None, :] - starts[:, None] >= _HOP, cost, np.inf)
    found: dict[Cut, float] = {}
    for start, end, worth in _apart(starts, ends, cost):
        # Two places may have the same one in phase.
        found.setdefault(Cut(start, _in_phase(utterance, start, end)), worth)
    return list(found.items())


def _apart(starts: Floats, ends: Floats, cost: Floats) -> list[tuple[float, float, float]]:
    """Return the cheapest cut, and those of the cells around its own, the cheaper first."""
    i, j = np.unravel_index(int(np.argmin(cost)), cost.shape)
    rows = np.round((starts - starts[i]) / _CELL)
    columns = np.round((ends - ends[j]) / _CELL)
    found = []
    for row, column in itertools.product(range(-_CELLS, _CELLS + 1), repeat=2):
        cell = np.where((rows == row)[:, None] & (columns == column)[None, :], cost, np.inf)
        m, n = np.unravel_index(int(np.argmin(cell)), cell.shape)
        if np.isfinite(cell[m, n]):
            found.append((float(starts[m]), float(ends[n]), float(cell[m, n])))
    return sorted(found, key=lambda one: one[2])


def cut_out(utterance: Utterance, cut: Cut) -> Utterance:
    """Return the utterance without a stretch, cross-faded over 10 ms around the join.

    The fade is of equal power where both sides differ, and linear where they are alike (a
    vowel in phase), so that the level keeps.
    """
    rate, samples = utterance.sample_rate, utterance.samples
    start, end = round(cut.start * rate), round(cut.end * rate)
    half = min(round(_FADE * rate / 2), start, len(samples) - end)
    if half < 1:
        return utterance.replace(samples=np.concatenate([samples[:start], samples[end:]]))
    out, into = samples[start - half : start + half], samples[end - half : end + half]
    n = min(len(out), len(into))
    mixed = cross_faded(out[:n], into[:n])
    pieces = [samples[: start - half], mixed, samples[end - half + n :]]
    return utterance.replace(samples=np.concatenate(pieces))


def cross_faded(out: FloatArray, into: FloatArray) -> FloatArray:
    """Fade from samples into others of the same length, at a level that keeps.

    Of equal power where both differ, linear where they are alike (a vowel in phase); equal
    samples stay equal to the bit.

    Args:
        out: float32, shape ``(n,)``.
        into: float32, shape ``(n,)``.
    """
    n = len(out)
    ramp = (np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(max(1, n))
    power = np.float32(0.5 + 0.5 * max(0.0, _correlation(out, into)))
    falling, rising = (1 - ramp) ** power, ramp**power
    mixed = out * falling + into * rising
    # Two loud sounds may add up beyond full scale, which neither of them left.
    peak = max(1.0, float(np.abs(out).max(initial=0)), float(np.abs(into).max(initial=0)))
    mixed = np.clip(mixed, -peak, peak)
    return np.where(out == into, out, mixed).astype(np.float32)


def join_steps(utterance: Utterance, second: float, reach: float = 0.03) -> tuple[float, float]:
    """Return the steps of level and of high frequencies across a join, in dB.

    Args:
        utterance: the recording.
        second: where the join is.
        reach: how much is heard on either side, in seconds.
    """
    # What lies farther away does not count, and takes time.
    begin = _HOP * max(0, round((second - _AROUND) / _HOP))
    part = utterance.slice(Span(begin, min(utterance.seconds, second + _AROUND)))
    at = np.array([second - reach / 2, second + reach / 2]) - begin
    a, b = _at(_features(part), at)
    return float(abs(a[0] - b[0])), float(abs(a[1] - b[1]))


def _pause_left(left: Span, right: Span, opening: bool, closing: bool) -> float:
    """Return the pause that is to remain: the longer one; none of a pause at an end is needed."""
    if opening:
        return left.seconds
    if closing:
        return right.seconds
    return max(left.seconds, right.seconds)


def _grid(
    span: Span, seconds: float, *, floor: float = 0.0, ceiling: float | None = None
) -> Floats:
    """Return candidate times in a pause and shortly around it."""
    low = max(floor, span.start - _REACH, 0.0)
    high = min(ceiling if ceiling is not None else seconds, span.end + _REACH, seconds)
    return np.arange(low, max(high, low) + _HOP / 2, _HOP)


def _above_floor(levels: Floats, seconds: Floats) -> Floats:
    """Return the level at times, in dB above the least that is told apart."""
    return np.asarray(np.maximum(0.0, _at(levels, seconds)[:, 0] - _FLOOR_DB))


def _steps(levels: Floats, starts: Floats, ends: Floats) -> Floats:
    """Return how far joins step beyond a natural border in dB, ``(starts, ends)``."""
    before, after = _at(levels, starts - _WINDOW / 2), _at(levels, ends + _WINDOW / 2)
    steps = np.abs(before[:, None, :] - after[None, :, :]) - _NATURAL_DB
    return np.asarray(np.maximum(0.0, steps).mean(axis=2))


def _misplaced(levels: Floats, left: tuple[Span, Floats], right: tuple[Span, Floats]) -> Floats:
    """Return the seconds of sound on the wrong side of cuts, ``(starts, ends)``.

    Sound of the words that go is left, or sound of their neighbours is taken.

    Args:
        levels: as `_features` returns them.
        left: the pause before the words, and where a cut may begin.
        right: the pause after them, and where it may end.
    """
    quiet, full = np.percentile(levels[:, 0], [5, 95])
    begins, counts = (quiet + share * (full - quiet) for share in _SOUNDS)
    sounds = np.clip((levels[:, 0] - begins) / max(1.0, counts - begins), 0, 1)
    total = np.concatenate([[0.0], np.cumsum(sounds) * _HOP])

    def until(seconds: Floats) -> Floats:
        return np.asarray(total[np.clip(np.round(seconds / _HOP).astype(int), 0, len(total) - 1)])

    wrong = [
        np.abs(until(cuts) - until(cuts.clip(pause.start, pause.end)))
        for pause, cuts in (left, right)
    ]
    return np.asarray(wrong[0][:, None] + wrong[1][None, :])


def _features(utterance: Utterance) -> Floats:
    """Return level and level above 3 kHz in dB, ``(hops of 2 ms, 2)``, over 20 ms each."""
    rate = utterance.sample_rate
    x = utterance.samples.astype(np.float64)
    x = x - x.mean()
    high = np.diff(x, prepend=x[:1]) if rate < 3 * _HIGH_HZ else _high_passed(x, rate)
    size, rows = max(2, round(_WINDOW * rate)), []
    middles = np.round(np.arange(round(len(x) / rate / _HOP) + 1) * _HOP * rate).astype(int)
    lo, hi = (middles - size // 2).clip(0, len(x)), (middles + size // 2).clip(0, len(x))
    for signal in (x, high):
        total = np.concatenate([[0.0], np.cumsum(signal**2)])
        power = (total[hi] - total[lo]) / np.maximum(1, hi - lo)
        rows.append(np.maximum(_FLOOR_DB, 10 * np.log10(np.maximum(power, 1e-12))))
    return np.stack(rows, axis=1)


def _high_passed(x: Floats, rate: int) -> Floats:
    """Return the signal above 3 kHz, by a windowed-sinc filter of 2 ms, applied by FFT."""
    taps = 2 * (rate // 1000) + 1
    n = np.arange(taps) - taps // 2
    low = 2 * _HIGH_HZ / rate * np.sinc(2 * _HIGH_HZ / rate * n) * np.hanning(taps)
    kernel = -low / low.sum()
    kernel[taps // 2] += 1.0
    size = len(x) + taps - 1
    spectrum = np.fft.rfft(x, size) * np.fft.rfft(kernel, size)
    return np.asarray(np.fft.irfft(spectrum, size)[taps // 2 : taps // 2 + len(x)])


def _at(levels: Floats, seconds: Floats) -> Floats:
    """Return the features at times."""
    return np.asarray(levels[np.clip(np.round(seconds / _HOP).astype(int), 0, len(levels) - 1)])


def _in_phase(utterance: Utterance, start: float, end: float) -> float:
    """Return the end moved by up to 6 ms so that both sides of the join are in phase."""
    rate, x = utterance.sample_rate, utterance.samples
    a, b = round(start * rate), round(end * rate)
    half, reach = round(_FADE * rate / 2), round(0.006 * rate)
    if a - half < 0 or b - half - reach <= a or b + half + reach > len(x):
        return end
    out = x[a - half : a + half]
    lags = range(-reach, reach + 1)
    scores = [_correlation(out, x[b + lag - half : b + lag + half]) for lag in lags]
    best = int(np.argmax(scores))
    # Uncorrelated sounds (breath, room tone) have no phase to keep.
    return (b + lags[best]) / rate if scores[best] > 0.5 else end


def _correlation(a: FloatArray, b: FloatArray) -> float:
    """Return the normalised correlation of two stretches, 0 where one is silent."""
    scale = float(np.sqrt(np.dot(a, a) * np.dot(b, b)))
    return float(np.dot(a, b)) / scale if scale > 1e-9 else 0.0
