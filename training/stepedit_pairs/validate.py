"""Validate a margin scorer on a parallel corpus: does it tell the asked label from others?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from stepedit_core.edit import Edit
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.pairs import CorpusItem, MarginScorer
from stepedit_pairs.corpora.labels import NEUTRAL

__all__ = ["LabelValidity", "auc", "validate"]


@dataclass(frozen=True)
class LabelValidity:
    """Validity of a scorer for one label.

    Attributes:
        label: the label that was asked for.
        same: number of pairs from neutral to this label.
        other: number of pairs from neutral to another label.
        auc: chance that a pair with the label has a larger margin than one with another label.
        neutral_auc: the same against pairs of two neutral renditions; None where there are none.
        mean: mean margin of pairs with the label.
        kept: share of them with a margin of at least the threshold.
        kept_other: share of pairs with another label that reach it.
    """

    label: str
    same: int
    other: int
    auc: float
    neutral_auc: float | None
    mean: float
    kept: float
    kept_other: float


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: P(positive > negative), ties counting half."""
    high, low = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    if not high.size or not low.size:
        raise ValueError("an AUC needs values on both sides")
    from scipy.stats import mannwhitneyu

    # The Mann-Whitney U counts wins, ties by half; sorting takes no memory for every pairing.
    wins = mannwhitneyu(high, low, method="asymptotic").statistic
    return float(wins) / (high.size * low.size)


def validate(
    scorer: MarginScorer,
    edit: type[Edit],
    items: Iterable[CorpusItem],
    *,
    threshold: float = 6.0,
    groups: int | None = None,
) -> list[LabelValidity]:
    """Score pairs from neutral to every label, each against every label that could be asked.

    Args:
        scorer: what to validate.
        edit: edit class with a parameter ``to``; its name is the attribute of the labels.
        items: recordings of a parallel corpus, with ``group`` and labels.
        threshold: margin from which a pair would be kept.
        groups: use only so many groups.

    Raises:
        StepeditError: if the corpus holds no group with neutral and a label that can be asked.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for members in _groups(items, edit.name, groups):
        _score_group(scorer, edit, members, found)
    rows = [_row(label, by_actual, threshold) for label, by_actual in sorted(found.items())]
    kept = [row for row in rows if row is not None]
    if not kept:
        raise StepeditError(
            f"no parallel group with neutral and other labels of {edit.name} that the margin "
            f"scorer {scorer.name!r} can measure"
        )
    return kept


def _groups(
    items: Iterable[CorpusItem], attribute: str, limit: int | None
) -> Iterator[list[CorpusItem]]:
    by_group: dict[str, list[CorpusItem]] = defaultdict(list)
    for item in items:
        if item.group is not None and item.labels.get(attribute):
            by_group[item.group].append(item)
    for name in sorted(by_group)[:limit]:
        yield by_group[name]


def _score_group(
    scorer: MarginScorer,
    edit: type[Edit],
    members: list[CorpusItem],
    found: dict[str, dict[str, list[float]]],
) -> None:
    """Add the margins of one group: asked label, then actual label."""
    neutral = [item for item in members if item.labels[edit.name] == NEUTRAL]
    if not neutral:
        return
    asked = {}
    for label in sorted({item.labels[edit.name] for item in members} - {NEUTRAL}):
        try:
            asked[label] = edit.model_validate({"to": label})
        except ValidationError:
            continue  # the edit knows no such label
    try:
        source = neutral[0].read()
    except AudioError:
        return
    for item in members:
        if item is neutral[0]:
            continue
        try:
            target = item.read()
        except AudioError:
            continue
        for label, request in asked.items():
            margin = scorer.margin(source, target, request)
            if margin is not None:
                found[label][item.labels[edit.name]].append(margin)


def _row(label: str, by_actual: dict[str, list[float]], threshold: float) -> LabelValidity | None:
    same = np.array(by_actual.get(label, []))
    other = np.array(
        [
            value
            for actual, values in by_actual.items()
            if actual not in (label, NEUTRAL)
            for value in values
        ]
    )
    neutral = by_actual.get(NEUTRAL, [])
    if not same.size or not other.size:
        return None
    return LabelValidity(
        label,
        len(same),
        len(other),
        auc(same, other),
        auc(same, neutral) if neutral else None,
        float(same.mean()),
        float((same >= threshold).mean()),
        float((other >= threshold).mean()),
    )
