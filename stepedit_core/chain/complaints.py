"""Limits that are measured without the edit's scorer, and what is complained of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from stepedit_core.chain.ears import Ears, How
from stepedit_core.dsp.loudness import active_level
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import LOST_LEAST, Measures, Score

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
_LOST, _DOUBTFUL, _LESS, _SLIGHTLY_LESS = 0.03, 0.1, 10.0, 3.0
"""Probabilities below which a word seems lost, and is in doubt, and how many times less likely than
in the source it is then. So Whisper tiny.en and base believed 33 of 36 edits by labels, and 5 of 53
in which two or three words were cut out, replaced or drowned in noise. Who finds no word even
slightly less likely is sure by itself: so tiny.en was of 40 of 56 edits and 7 of 83 damaged copies,
and with base where it was not, 51 and 10 were believed, against 50 and 10 by both at once."""


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
        score: what the edit's own scorer says, once it was asked.
    """

    complaints: list[Complaint] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    unjudged: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    score: Score | None = None

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
    limit: float,
    ears: Ears,
    made: Utterance,
    to: Compared,
    judged: Judged,
    *,
    all_ears: bool = False,
) -> None:
    """Complain of words that were lost, replaced or invented, as one of the recognisers hears.

    Where an edit keeps the words, whoever is sure of them is not asked what it hears; other edits
    may say more, which goes unnoticed so. The preferred recogniser, which takes longest, comes
    last, and where one before it is sure of every word, not at all, unless ``all_ears`` is set.
    """
    known = to.first if (to.first.transcript or "").strip() else to.received
    words = len(split_words(made.transcript or ""))
    if not words:
        return
    allowed = (max(limit, LOST_LEAST / words) if limit else 0.0) + 1e-9
    keeps = made.transcript == to.received.transcript and _spoken(made) == _spoken(known)
    doubts: list[_Doubts | None] = [None] * ears.count
    for at in reversed(range(ears.count if keeps else 0)):
        doubts[at] = own = _doubts(ears, at, made, known)
        is_first = at == ears.count - 1
        if own is not None and own.is_sure and is_first and not all_ears:
            ears.settle(made, None, 0.0)
            judged.values["word_error"] = 0.0
            return
    is_firm = doubts[0] is not None and not doubts[0].share
    in_doubt: dict[int, bool] = {}
    for which in reversed(range(ears.count)):
        share = _believed(doubts[which], allowed, is_firm)
        if share is None:
            # What an earlier step has changed may be doubted for that: it is asked in all ways.
            in_doubt[which] = doubts[which] is not None and to.received is to.first
            continue
        if which == 0:
            ears.settle(made, None, share)
        judged.values["word_error"] = max(judged.values.get("word_error", 0.0), round(share, 3))
    for which in in_doubt:
        found = _heard(ears, which, made, known, allowed, judged, in_doubt[which])
        if found is None:
            return
        how, after, before = found
        if which == 0:
            ears.settle(made, how, after)
        judged.values["word_error"] = max(judged.values.get("word_error", 0.0), round(after, 3))
        if after - before > allowed:
            heard = (ears.hear(made, which, how) or "")[:80]
            text = f"word error {after:.2f} against {before:.2f} before, heard: {heard!r}"
            excess = (after - before - allowed) / max(allowed, 0.01)
            judged.complaints.append(Complaint("words", text, excess))
            return


def _spoken(utterance: Utterance) -> list[str]:
    """Return the words of a transcript without its tags."""
    return [word.text for word in split_words(utterance.transcript or "")]


class _Doubts(NamedTuple):
    """Shares of words, 0..1, that a recogniser doubts.

    Attributes:
        share: those that it finds unlikely, and far less likely than in the source.
        lost: those of them that seem lost to it.
        is_sure: whether it finds no word unlikely that is even slightly less likely than there.
    """

    share: float
    lost: float
    is_sure: bool


def _doubts(ears: Ears, which: int, made: Utterance, source: Utterance) -> _Doubts | None:
    """Return what a recogniser doubts of words that the source has, too; None where it can't tell.

    A transcript may be wrong itself: what it doubts in the source as well does not count.
    """
    asked = Judged()  # who fails here is asked what it hears
    sure = asked.attempt("words", lambda: ears.certainty(made, which))
    if not sure:
        return None
    doubted = unlikely = [at for at, value in enumerate(sure) if value < _DOUBTFUL]
    if doubted:
        before = asked.attempt("words", lambda: ears.certainty(source, which)) or [1.0] * len(sure)
        unlikely = [at for at in doubted if _SLIGHTLY_LESS * sure[at] < before[at]]
        doubted = [at for at in doubted if _LESS * sure[at] < before[at]]
    lost = sum(sure[at] < _LOST for at in doubted)
    return _Doubts(len(doubted) / len(sure), lost / len(sure), not unlikely)


def _believed(doubts: _Doubts | None, allowed: float, is_firm: bool) -> float | None:
    """Return the share of words that count as misheard; None where a recogniser has to hear them.

    That is where more than the allowed share is in doubt, or a single word seems lost. Where the
    preferred one doubts no word (``is_firm``), those count alone that seem lost to another.
    """
    if doubts is None:
        return None
    share, lost, _ = doubts
    if is_firm and lost <= allowed:
        return lost
    return share if share <= allowed and not lost else None


def _heard(
    ears: Ears,
    which: int,
    made: Utterance,
    known: Utterance,
    allowed: float,
    judged: Judged,
    is_in_doubt: bool,
) -> tuple[How, float, float] | None:
    """Return how a recogniser hears most of the words, its word error, and that of the source.

    It is asked in the cheapest way first, and in another one where words seem lost. The source is
    heard where it matters. A transcript may be wrong where what is heard is right, so what a
    recogniser hears in the source, of as many words, will do as well, where the same words are to
    be said. For times it is asked where words are missing: without, Whisper leaves out sentences
    that are said twice.
    """
    best: tuple[How, float, float] | None = None
    ways: tuple[How, ...] = ("rough", "plain", "timed")
    ways = ways if ears.hears_twice(which) else ways[:-1]
    words = len(split_words(made.transcript or ""))
    for how in ways:
        after = _error(ears, made, which, how, judged)
        if after is None:
            continue
        before = 0.0
        if after > allowed and how != "rough":
            lost = _lost_before(ears, which, known) if is_in_doubt else None
            if lost is None:
                lost = _missed_before(ears, which, known, allowed, judged)
            before = lost
        if after - before > allowed:
            by_reading = [
                _error(ears, made, which, how, judged, text)
                for text in _readings(ears, made, known, (1 - allowed) * words, judged)
            ]
            least = min((one for one in by_reading if one is not None), default=after)
            after, before = (least, 0.0) if least <= allowed else (after, before)
        if best is None or after - before < best[1] - best[2]:
            best = how, after, before
        heard = len(split_words(ears.hear(made, which, how) or ""))
        if after - before <= allowed or (how == "plain" and heard >= (1 - allowed) * words):
            break
    return best


def _lost_before(ears: Ears, which: int, known: Utterance) -> float | None:
    """Return the share of words that seem lost in the source; None where nobody can tell."""
    sure = Judged().attempt("words", lambda: ears.certainty(known, which))
    return sum(value < _LOST for value in sure) / len(sure) if sure else None


def _missed_before(
    ears: Ears, which: int, known: Utterance, allowed: float, judged: Judged
) -> float:
    """Return a recogniser's word error of the source, 1 at most; this takes longer.

    Words that it leaves out there would excuse that they are lost: it is asked once more for those.
    Where it misses none roughly, nothing is excused, and it need not hear all of its window.
    """
    if _error(ears, known, which, "rough", judged) == 0.0:
        return 0.0
    error = min(1.0, _error(ears, known, which, "plain", judged) or 0.0)
    if error > allowed and ears.hears_twice(which):
        error = min(error, _error(ears, known, which, "timed", judged) or 0.0)
    return error


def _readings(
    ears: Ears, made: Utterance, known: Utterance, least: float, judged: Judged
) -> list[str]:
    """Return what the recognisers hear in the source, where it is of so many words.

    None where other words are to be said: what the source says is then no reading of them.
    """
    if _spoken(made) != _spoken(known):
        return []
    found = []
    for at in range(ears.count):
        text = judged.attempt("words", partial(ears.hear, known, at, "rough"))
        text = judged.attempt("words", partial(ears.hear, known, at)) if text is None else text
        if text and len(split_words(text)) >= least:
            found.append(text)
    return found


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
