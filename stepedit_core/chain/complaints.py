"""Limits that are measured without the edit's scorer, and what is complained of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from stepedit_core.chain.ears import Ears, How
from stepedit_core.dsp.loudness import active_level
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import LOST_LEAST, Measures

if TYPE_CHECKING:
    from stepedit_core.plan import Plan
    from stepedit_core.utterance import Utterance

__all__ = [
    "Compared",
    "Complaint",
    "Judged",
    "clipped",
    "complain_of_length",
    "complain_of_level",
    "complain_of_quality",
    "complain_of_words",
    "hole",
]

T = TypeVar("T")
_FULL_SCALE = 0.999


@dataclass(frozen=True)
class Compared:
    """What a step is compared with.

    Attributes:
        received: what the step received.
        first: the recording that the chain began with.
        voice: whose voice is to be kept: the first recording's, until an edit changes the voice.
        anchor: what the present run of edits of one kind began with.
    """

    received: Utterance
    first: Utterance
    voice: Utterance
    anchor: Utterance


@dataclass(frozen=True)
class Complaint:
    """A limit that is not kept.

    Attributes:
        limit: its name.
        text: what is wrong, with the figure and the limit.
        excess: how far it is exceeded, as a share of the limit.
    """

    limit: str
    text: str
    excess: float = 1.0


@dataclass
class Judged:
    """What was found of one candidate.

    Attributes:
        complaints: limits that it does not keep.
        values: what was measured; JSON data.
        unjudged: limit to why it could not be measured.
        complete: whether the slow limits were measured, too.
    """

    complaints: list[Complaint] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    unjudged: dict[str, str] = field(default_factory=dict)
    complete: bool = False

    @property
    def why(self) -> list[str]:
        """The complaints in words."""
        return [complaint.text for complaint in self.complaints]

    @property
    def badness(self) -> tuple[bool, int, float]:
        """Order among candidates: those heard to the end, fewer complaints, smaller ones first."""
        return not self.complete, len(self.complaints), sum(one.excess for one in self.complaints)

    def attempt(self, limit: str, make: Callable[[], T]) -> T | None:
        """Return what ``make`` gives, or note why it could not be measured."""
        try:
            return make()
        except StepeditError as error:
            self.unjudged[limit] = str(error)
        except Exception as error:
            self.unjudged[limit] = f"{type(error).__name__}: {error}"
        return None


def complain_of_level(
    limit: float, made: Utterance, plan: Plan | None, to: Compared, judged: Judged
) -> None:
    """Complain of a level further away than the edit announces."""
    allowed = (0.0, 0.0) if plan is None else plan.level
    before, after = active_level(to.received), active_level(made)
    if allowed is None or before is None:
        return
    shift = (-120.0 if after is None else after) - before
    judged.values["level"] = round(shift, 2)
    beyond = max(shift - allowed[1], allowed[0] - shift)
    if beyond > limit:
        text = f"the level moved by {shift:+.1f} dB (limit {limit:g})"
        judged.complaints.append(Complaint("level", text, beyond / limit - 1))


def complain_of_length(
    limit: float, made: Utterance, plan: Plan, source: Utterance, judged: Judged
) -> None:
    """Complain of a length that is not the announced one."""
    ratio = made.seconds / max(1e-9, source.seconds * plan.length_ratio)
    judged.values["length"] = round(ratio, 3)
    allowed = limit * (1 if plan.has_known_length else 4)
    if abs(ratio - 1) > allowed:
        text = f"it lasts {ratio:.2f} times as long as announced"
        judged.complaints.append(Complaint("length", text, abs(ratio - 1) / allowed - 1))


def complain_of_words(
    limit: float, ears: Ears, made: Utterance, to: Compared, judged: Judged
) -> None:
    """Complain of words that were lost, replaced or invented, as one of the recognisers hears.

    The preferred recogniser, which takes longest, comes last. Each is asked in the cheapest way
    first, and once more where words seem lost (`_looked_again`); the source is heard where it
    matters.
    """
    known = to.first if (to.first.transcript or "").strip() else to.received
    words = len(split_words(made.transcript or ""))
    if not words:
        return
    allowed = (max(limit, LOST_LEAST / words) if limit else 0.0) + 1e-9
    for which in reversed(range(ears.count)):
        how: How = "rough"
        before, after = 0.0, _error(ears, made, which, how, judged)
        if after is None or after > allowed:
            how, after = "plain", _error(ears, made, which, "plain", judged)
        if after is None:
            return
        if after > allowed:
            before = min(1.0, _error(ears, known, which, how, judged) or 0.0)
        if after - before > allowed:
            how, after = _looked_again(ears, which, made, known, allowed, judged) or (how, after)
        if which == 0:
            ears.settle(made, how, after)
        judged.values["word_error"] = max(judged.values.get("word_error", 0.0), round(after, 3))
        if after - before > allowed:
            heard = (ears.hear(made, which, how) or "")[:80]
            text = f"word error {after:.2f} against {before:.2f} before, heard: {heard!r}"
            excess = (after - before - allowed) / max(allowed, 0.01)
            judged.complaints.append(Complaint("words", text, excess))
            return


def _looked_again(
    ears: Ears, which: int, made: Utterance, known: Utterance, allowed: float, judged: Judged
) -> tuple[How, float] | None:
    """Return how a recogniser hears words that are allowed after all, and their error; or None.

    A transcript may be wrong where what is heard is right: what a recogniser hears in the source,
    of as many words, will do as well. And a recogniser that is asked for times hears otherwise:
    without, Whisper leaves out sentences that are said twice, and takes one word for another now
    and then.
    """
    words = made.transcript or ""
    least_words = (1 - allowed) * len(split_words(words))
    heard = [judged.attempt("words", partial(ears.hear, known, at)) for at in range(ears.count)]
    readings = [words, *(one for one in heard if one and len(split_words(one)) >= least_words)]
    ways: tuple[How, ...] = ("plain", "timed") if ears.hears_twice(which) else ("plain",)
    for how in ways:
        for text in readings:
            error = _error(ears, made, which, how, judged, text)
            if error is not None and error <= allowed:
                return how, error
    return None


def _error(
    ears: Ears, speech: Utterance, which: int, how: How, judged: Judged, words: str | None = None
) -> float | None:
    """Return a word error, or None where there are no words or nobody hears them."""
    ask = partial(ears.word_error, speech, words=words, which=which, how=how)
    return judged.attempt("words", ask)


def complain_of_quality(
    limit: float, measures: Measures, made: Utterance, to: Compared, judged: Judged
) -> None:
    """Complain of a rating by DNSMOS that fell too far."""
    ratings = [judged.attempt("quality", partial(measures.dnsmos, u)) for u in (to.first, made)]
    if ratings[0] is None or ratings[1] is None:
        return
    before, after = (float(rating["ovrl"]) for rating in ratings if rating is not None)
    judged.values["quality"] = round(after, 2)
    if before - after > limit:
        text = f"DNSMOS fell from {before:.2f} to {after:.2f} (limit {limit:g})"
        judged.complaints.append(Complaint("quality", text, (before - after) / limit - 1))


def clipped(utterance: Utterance) -> float:
    """Return the share of samples at full scale, in runs of two or more."""
    full: npt.NDArray[np.bool_] = np.abs(utterance.samples) >= _FULL_SCALE
    return float(np.mean(full[1:] & full[:-1])) if len(full) > 1 else 0.0


def hole(utterance: Utterance) -> float:
    """Return the longest digital silence between sounds, in seconds."""
    sounding = np.flatnonzero(np.abs(utterance.samples) > 1e-5)
    if len(sounding) < 2:
        return 0.0
    return float(np.diff(sounding).max()) / utterance.sample_rate
