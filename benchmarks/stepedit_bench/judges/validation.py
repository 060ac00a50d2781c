"""Validate a comparing judge against the labels of an acted parallel corpus."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stepedit_bench.judges.corpora import labelled_each
from stepedit_core.errors import StepeditError, suggest
from stepedit_core.pairs import CorpusItem
from stepedit_core.scoring import Judge

__all__ = ["Agreement", "comparisons", "validate"]

NEUTRAL = "neutral"
_USUAL = ("happy", "angry", "sad", "fear", "surprised", "disgusted")
"""Emotions that acted corpora tell apart."""


@dataclass
class Agreement:
    """Judged labels against those of the corpus.

    Attributes:
        labels: the classes that were offered.
        table: (label of the corpus, judged label) to count.
        refused: how many were refused.
        speakers: who was judged.
        rated: how many verdicts rate the label of the corpus, other than neutral.
        towards: how many of those rate it above 0: speech moved the label's way.
    """

    labels: tuple[str, ...]
    table: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: int = 0
    speakers: set[str] = field(default_factory=set)
    rated: int = 0
    towards: int = 0

    @property
    def n(self) -> int:
        """Number of judged recordings, refusals included."""
        return sum(self.table.values()) + self.refused

    @property
    def accuracy(self) -> float:
        """Share of right answers; a refusal counts as wrong."""
        return sum(n for (truth, said), n in self.table.items() if truth == said) / max(self.n, 1)

    @property
    def majority(self) -> float:
        """Accuracy of always naming the commonest label of the corpus."""
        truths = self._truths()
        return max(truths.values(), default=0) / max(sum(truths.values()), 1)

    def _truths(self) -> Counter[str]:
        truths: Counter[str] = Counter()
        for (truth, _), count in self.table.items():
            truths[truth] += count
        return truths

    def recalls(self) -> dict[str, float]:
        """Return the share of right answers for each label of the corpus."""
        truths = self._truths()
        return {label: self.table[label, label] / truths[label] for label in sorted(truths)}

    def lines(self) -> list[str]:
        """Return the figures as text."""
        recalls = ", ".join(f"{label} {share:.0%}" for label, share in self.recalls().items())
        return [
            f"n {self.n}, {len(self.speakers)} speakers, refused {self.refused}",
            f"accuracy {self.accuracy:.1%}, chance {1 / len(self.labels):.1%} of "
            f"{len(self.labels)} labels, majority {self.majority:.1%}",
            f"recall: {recalls}",
            f"rated above 0 for the acted label: {self.towards} of {self.rated}",
        ]


def comparisons(items: Iterable[CorpusItem]) -> list[tuple[CorpusItem, CorpusItem]]:
    """Return (neutral, labelled) recordings of one speaker and sentence.

    The first neutral rendition of a group is the reference of all others; a further neutral
    one is to be judged neutral.
    """
    groups: dict[str, list[CorpusItem]] = defaultdict(list)
    for item in items:
        if item.group:
            groups[item.group].append(item)
    found = []
    for group in groups.values():
        neutral = next((item for item in group if item.labels["emotion"] == NEUTRAL), None)
        if neutral is not None:
            found += [(neutral, item) for item in group if item is not neutral]
    return found


def validate(
    judge: Judge,
    corpora: Sequence[str | os.PathLike[str]],
    labels: Sequence[str] | None = None,
    *,
    offer: Sequence[str] = (),
    only: Sequence[str] = (),
    layout: str | None = None,
) -> Mapping[str, Agreement]:
    """Judge each emotional rendition against the neutral one, per corpus name.

    Args:
        judge: asked with ``task="emotion"``.
        corpora: folders or manifests.
        labels: classes to judge between, besides neutral; other recordings are left out. None
            takes those of the usual emotions that there are.
        offer: further labels that the judge may name though no recording carries them, as a
            scorer offers all labels of its edit.
        only: names of corpora within a manifest to use.
        layout: corpus reader.

    Raises:
        StepeditError: if nothing can be compared, a corpus of ``only`` is not there, or no
            recording has a label that is asked for.
    """
    every = labelled_each(corpora, layout, only)
    if labels is None:
        labels = _USUAL
    else:
        _refuse_unknown(labels, {item.labels["emotion"] for own in every for item in own})
    wanted = {*labels, NEUTRAL}
    found: dict[str, Agreement] = {}
    for recordings in every:
        parts: dict[str, list[CorpusItem]] = defaultdict(list)
        for item in recordings:
            if item.labels["emotion"] in wanted:
                parts[_corpus(item)].append(item)
        for name, items in parts.items():
            there = {item.labels["emotion"] for item in items}
            offered = tuple(
                label
                for label in dict.fromkeys((*labels, *offer, NEUTRAL))
                if label in {*there, *offer}
            )
            agreed = found.setdefault(name, Agreement(offered))
            for neutral, item in comparisons(items):
                _compare(judge, neutral, item, agreed)
    found = {name: agreed for name, agreed in found.items() if agreed.n}
    if not found:
        raise StepeditError("nothing to compare: no group holds a neutral and a labelled recording")
    return found


def _refuse_unknown(labels: Sequence[str], there: set[str]) -> None:
    """Refuse a label that no recording has; raises StepeditError."""
    for label in labels:
        if label not in there:
            hint = suggest(label, there) or f"; there is {', '.join(sorted(there)[:20])}"
            raise StepeditError(f"no recording has the label {label!r}{hint}")


def _corpus(item: CorpusItem) -> str:
    """Return the corpus a part belongs to: ``ravdess`` for ``ravdess_take2``."""
    return item.corpus.partition("_")[0] if item.corpus else "corpus"


def _compare(judge: Judge, neutral: CorpusItem, item: CorpusItem, agreed: Agreement) -> None:
    verdict = judge.judge("emotion", item.read(), reference=neutral.read(), labels=agreed.labels)
    truth = item.labels["emotion"]
    if truth != NEUTRAL and truth in verdict.scores:
        agreed.rated += 1
        agreed.towards += verdict.scores[truth] > 0
    agreed.speakers.add(item.speaker or "?")
    if verdict.label is None:
        agreed.refused += 1
    else:
        agreed.table[truth, verdict.label] += 1
