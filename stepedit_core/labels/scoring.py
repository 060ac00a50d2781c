"""Scorer of edits towards a label, such as an emotion or a style, by asking a judge."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import (
    Case,
    Judge,
    Measures,
    Prepared,
    Score,
    Scorer,
    Verdict,
    words_kept,
)
from stepedit_core.utterance import Utterance

__all__ = ["LabelScorer"]

NEUTRAL = "neutral"
FAR_BEHIND, AHEAD = 0.12, 0.1
"""Shares of a label's usual size: by so much behind another label at the first strength it is given
up, and so far it must lead by what two strengths foresee, as shifts are bounded. Of 49 labels of
seven recordings 25 were behind at the first strength; one of these, by 0.06, led at the second,
and none at the third."""
MAX_FLATTENED = 0.01
"""Share of samples that clipping may flatten: it raises level and tilt, as anger and shouts do."""


class LabelScorer(Scorer):
    """Reached where the judge hears the label asked for, the words are kept, and all of it is new.

    For ``remove`` the judge must hear ``neutral``; where a case's ``prepare`` has
    ``{"from": label}``, the input is first given that label by the edit's dsp route and the
    recording itself becomes the reference.

    Values: ``label_correct`` (0 or 1), ``intensity`` (the judge's rating of the label in the
    output, where it gives ratings), ``intensity_gain`` (the same less that of the input) and
    ``lead`` (less that of the next best label besides ``neutral``).
    A judge that refuses or fails leaves the case unscored. ``word_error`` is that of the output;
    where the recogniser does not know the language, words are left to preservation. Where a
    label has a rule of its own (``fits``), the output must keep it, too.
    """

    attribute: ClassVar[str]
    """Task that the judge is asked, and name of the edit."""
    labels: ClassVar[tuple[str, ...]]
    """Labels to choose from besides ``neutral``, unless a case has ``meta.labels``."""

    contradicts: ClassVar[Mapping[str, frozenset[str]]] = {}
    """Preservation checks that a label contradicts by itself, such as loudness for a shout."""

    def waives(self, case: Case) -> frozenset[str]:
        """Return the checks that the case's label contradicts; any label may move the level."""
        named = self.contradicts.get(str(getattr(case.edit, "to", "")), frozenset())
        return named | {"level"}

    @abstractmethod
    def edit_to(self, label: str) -> Edit:
        """Return the request for a label."""

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        """Give the input the label that is to be removed, where the case says which."""
        label = case.prepare.get("from")
        if label is None:
            return Prepared(clean)
        made = self.edit_to(str(label)).render(clean, rng).utterance
        return Prepared(made, reference=clean, facts={"from": label})

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Ask the judge about output and input."""
        to = getattr(case.edit, "to", None)
        if case.edit.name != self.attribute or not isinstance(to, str):
            return Score.failed(f"the {self.attribute} scorer was given the edit {case.edit.name}")
        wanted = NEUTRAL if to == "remove" else to
        labels = tuple(case.meta.get("labels", self.labels))
        choices = tuple(dict.fromkeys((*labels, wanted, NEUTRAL)))
        try:
            judge = measures.judge(self.attribute)
            reference = prepared.reference or prepared.source
            verdict = self._ask(judge, output, reference, choices, to)
            before = None
            if wanted in verdict.scores:
                before = self._ask(judge, prepared.source, reference, choices, to)
        except StepeditError as error:
            return Score.failed(f"the judge failed: {error}")
        if verdict.refused is not None or verdict.label is None:
            return Score.failed(f"the judge gave no label: {verdict.refused or 'no reason'}")
        correct = verdict.label == wanted
        values: dict[str, float | None] = {"label_correct": float(correct)}
        values["intensity"] = verdict.scores.get(wanted, verdict.score)
        rivals = [rate for name, rate in verdict.scores.items() if name not in (wanted, NEUTRAL)]
        if wanted in verdict.scores and rivals:
            values["lead"] = verdict.scores[wanted] - max(rivals)
        if before is not None and wanted in before.scores:
            values["intensity_gain"] = verdict.scores[wanted] - before.scores[wanted]
        kept, values["word_error"] = words_kept(measures, prepared.source, output)
        fits, facts = self.fits(to, prepared.source, output)
        untouched = np.array_equal(output.samples, prepared.source.samples)
        whole = _flattened(output) <= _flattened(prepared.source) + MAX_FLATTENED
        reached = correct and kept is not False and fits and whole and not untouched
        return Score(reached, {**values, **facts})

    def promises(self, tried: Sequence[tuple[Edit, Score]], other: Edit) -> bool:
        """Return whether a label may win at another strength.

        What is heard of a label, and how far it leads, goes about evenly with strength. One that
        is far behind another label at the first strength does not catch up.
        """
        leads: dict[float, float] = {}
        for edit, score in tried:
            lead, strength = score.values.get("lead"), getattr(edit, "amount", None)
            if lead is not None and strength is not None:
                leads[strength] = max(lead, leads.get(strength, lead))
        wanted = getattr(other, "amount", None)
        if wanted is None or not leads:
            return True
        if len(leads) == 1:
            return next(iter(leads.values())) > -FAR_BEHIND
        (one, before), (two, after) = list(leads.items())[-2:]
        return bool(after + (after - before) / (two - one) * (wanted - two) > AHEAD)

    def fits(
        self, label: str, source: Utterance, output: Utterance
    ) -> tuple[bool, Mapping[str, float | None]]:
        """Return whether an output keeps a label's own rule, such as no voicing in a whisper.

        Returns:
            The verdict, and what was measured for it.
        """
        return True, {}

    def _ask(
        self,
        judge: Judge,
        utterance: Utterance,
        reference: Utterance,
        choices: tuple[str, ...],
        to: str,
    ) -> Verdict:
        """Put one utterance to the judge."""
        return judge.judge(
            self.attribute,
            utterance,
            reference=reference,
            labels=choices,
            question={"to": to, "transcript": utterance.transcript},
        )


def _flattened(utterance: Utterance) -> float:
    """Return the share of samples that stand still at the peak, as in clipped speech."""
    size = np.abs(utterance.samples)
    peak = float(size.max(initial=0.0))
    if peak == 0.0 or len(size) < 2:
        return 0.0
    at_peak = size >= 0.999 * peak
    return float(np.mean(at_peak[1:] & at_peak[:-1]))
