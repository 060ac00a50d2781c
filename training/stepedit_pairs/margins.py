"""Margin scorers: how strongly source and target differ along the attribute that was edited."""

from __future__ import annotations

from functools import lru_cache

from stepedit_core.dsp import acoustics
from stepedit_core.edit import Edit
from stepedit_core.labels.profile import profiles_of
from stepedit_core.pairs import MIN_MARGIN, MarginScorer
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.scoring import Judge
from stepedit_core.utterance import Utterance
from stepedit_pairs.judging import REMOVE, ask, clamped

__all__ = ["MARGIN_SCORERS", "AcousticMargin", "JudgeMargin", "judge_margins"]

JUDGE = "judge:"
"""Begins the name of a scorer that asks a judge: ``--margin judge:NAME``."""

# A parallel group shares its neutral rendition, and a pair is measured in both directions.
_measured = lru_cache(maxsize=48)(acoustics.measure)


def _label(edit: Edit) -> str | None:
    """Return the label that an edit asks for: the value of its parameter ``to``."""
    label = getattr(edit, "to", None)
    return str(label) if label is not None else None


class AcousticMargin:
    """The shift of pitch, level, rate and spectrum along the edited label's usual shift.

    The shift from source to target is compared with how speakers usually shift for the label
    (``LabelledPairs.profiles``): 1 is no shift or the opposite one, 8 the usual size
    of a clear portrayal, 6 some 0.7 of it. For ``to=remove`` the source is measured against the
    target along the profile that fits it best.
    """

    name = "acoustic"
    validation = (
        "Acted emotion, neutral to label against neutral to other labels, by `stepedit "
        "pairs-validate emotion`. RAVDESS (24 speakers, 48 groups, 1,150 pairs): AUC angry 0.72, "
        "disgusted 0.64, fear 0.77, happy 0.69, sad 0.66, surprised 0.80; nEMO (Polish, 60 of 315 "
        "groups): angry 0.53, fear 0.86, happy 0.73, sad 0.90, surprised 0.73. It tells strong "
        "portrayals from neutral ones, and is a weak guard against the wrong emotion; styles are "
        "not validated."
    )

    def margin(self, source: Utterance, target: Utterance, edit: Edit) -> float | None:
        """Return the margin 1..10; None for other edits, labels without a profile, and silence."""
        profiles, label = profiles_of(get_registry(), edit.name), _label(edit)
        if not profiles or label is None:
            return None
        if label == REMOVE:
            shift = acoustics.difference(_measured(target), _measured(source))
            found = [acoustics.margin(shift, profile) for profile in profiles.values()]
            return max((value for value in found if value is not None), default=None)
        if label not in profiles:
            return None
        shift = acoustics.difference(_measured(source), _measured(target))
        return acoustics.margin(shift, profiles[label])


class JudgeMargin:
    """Difference of a registered judge's ratings of target and source, for the request.

    One more than the difference of the two ratings, each 1..10 (``stepedit_pairs.judging``): 10
    where the target carries out the edit wholly and the source does not at all.
    """

    def __init__(self, judge: type[Judge]) -> None:
        """Take the judge's class; it is loaded by ``ready`` or the first pair."""
        self._class = judge
        self._judge: Judge | None = None

    @property
    def name(self) -> str:
        """Name for ``--margin``: ``judge:`` and the judge's name."""
        return f"{JUDGE}{self._class.name}"

    @property
    def validation(self) -> str:
        """How the judge was validated, in its own words."""
        return self._class.validation or f"the judge {self._class.name} states no validation"

    def ready(self) -> Judge:
        """Load the judge.

        Raises:
            StepeditError: if it cannot be loaded.
        """
        if self._judge is None:
            self._judge = self._class()
        return self._judge

    def margin(self, source: Utterance, target: Utterance, edit: Edit) -> float | None:
        """Return the margin 1..10; None where the judge refuses or does not judge such edits."""
        judge = self.ready()
        if edit.name not in judge.tasks():
            return None
        after, before = ask(judge, edit, target, source), ask(judge, edit, source, source)
        if isinstance(after, str) or isinstance(before, str):
            return None
        return clamped(MIN_MARGIN + after - before)


MARGIN_SCORERS: tuple[MarginScorer, ...] = (AcousticMargin(),)
"""The built-in scorers that need no judge."""


def judge_margins(registry: Registry) -> tuple[MarginScorer, ...]:
    """Return a scorer for each judge that a plugin brings."""
    judges = registry.named("stepedit_judges", lambda judge: str(judge.name))
    return tuple(JudgeMargin(judge) for judge in judges.values())
