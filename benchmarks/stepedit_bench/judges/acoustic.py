"""The judge ``acoustic``: how far speech moves along the profile of a label.

Nothing is trained. An utterance is compared with the one before the edit; for each label with
published sizes (``LabelledPairs.profiles`` of the plugin that brings the edit) the share of the
usual shift is measured: 0 not moved, 1 as far as acted portrayals move, negative the other way.
The best label wins if it reaches half of its usual size; otherwise the speech is neutral.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from stepedit_core.dsp.acoustics import AcousticShift, agreement, difference, measure
from stepedit_core.labels.profile import Profile, profiled_edits, profiles_of
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Judge, Verdict
from stepedit_core.utterance import Utterance

__all__ = ["NEUTRAL", "AcousticJudge", "rate"]

NEUTRAL = frozenset({"neutral", "normal"})
"""Labels that stand for speech that has not moved."""


def rate(
    shift: AcousticShift, labels: Sequence[str], profiles: Mapping[str, Profile]
) -> dict[str, float]:
    """Return a shift's size towards each label: 0 none, 1 the usual size.

    Neutral is rated ``1 - best``, so that it wins where the best label stays below half of its
    usual size.

    Args:
        shift: measured between the utterance before and after an edit.
        labels: classes to choose from; those without a profile are left out.
        profiles: usual sizes by label.

    Returns:
        Ratings in -1..1.5; empty where no label with a profile could be measured.
    """
    shares = {label: agreement(shift, profiles[label]) for label in labels if label in profiles}
    ratings = {label: share for label, share in shares.items() if share is not None}
    if ratings:
        best = max(0.0, *ratings.values())
        ratings.update({label: 1.0 - best for label in labels if label in NEUTRAL})
    return ratings


class AcousticJudge(Judge):
    """Rates labels by published shifts of pitch, range, level, tilt, tempo and voicing."""

    name: ClassVar[str] = "acoustic"
    version: ClassVar[int] = 1
    validation: ClassVar[str] = (
        "names the acted emotion against a neutral recording of the same speaker and words in "
        "33.9 % of 1199 RAVDESS recordings (24 speakers, 7 labels, chance 14.3 %, majority 16.0 %) "
        "and 35.0 % of 1434 of nEMO (9 speakers, 6 labels, chance 16.7 %, majority 21.1 %); "
        "nothing was fitted to them; styles were not validated"
    )

    def tasks(self) -> Sequence[str]:
        """Return the edits whose plugins state profiles, such as emotion and style."""
        return profiled_edits(get_registry())

    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Compare an utterance with its reference.

        ``score`` and ``scores`` are shares of a label's usual shift, -1..1.5. Where
        ``question["to"]`` names a label that no study gives sizes for, the judge refuses.
        """
        profiles = profiles_of(get_registry(), task)
        if not profiles:
            return Verdict(refused=f"no plugin states acoustic profiles for {task}")
        if reference is None:
            return Verdict(refused="the acoustic judge needs the utterance before the edit")
        asked = (question or {}).get("to")
        if isinstance(asked, str) and asked != "remove" and asked not in {*profiles, *NEUTRAL}:
            return Verdict(refused=f"no published acoustic sizes for {task} {asked!r}")
        offered = tuple(labels) or (*profiles, "neutral")
        ratings = rate(difference(measure(reference), measure(utterance)), offered, profiles)
        if not ratings:
            return Verdict(refused="too little could be measured, or no label has known sizes")
        label = max(ratings, key=lambda name: ratings[name])
        rounded = {name: round(value, 4) for name, value in ratings.items()}
        return Verdict(label, rounded[label], rounded)
