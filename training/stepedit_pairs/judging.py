"""Ask a registered judge how well an edit was carried out, on one scale from 1 to 10.

Judges answer in their own ways: with a share or probability for each label, with a label alone,
or with points. Here each becomes 1 to 10, so that margins and preferences can be compared.
"""

from __future__ import annotations

from stepedit_core.edit import Edit
from stepedit_core.errors import PluginError, StepeditError
from stepedit_core.labels.profile import profiles_of
from stepedit_core.pairs import MAX_MARGIN, MIN_MARGIN
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.scoring import Judge, Scorer, Verdict
from stepedit_core.utterance import Utterance

__all__ = ["ask", "clamped", "judge_named"]

NEUTRAL, REMOVE = "neutral", "remove"


def judge_named(registry: Registry, name: str) -> Judge:
    """Return a judge by name.

    Raises:
        StepeditError: if no plugin brings it, or it cannot be loaded; the text says which.
    """
    known = registry.named("stepedit_judges", lambda judge: str(judge.name))
    if name not in known:
        raise StepeditError(f"no judge {name!r}; there is {', '.join(known) or 'none'}")
    judge: Judge = known[name]()
    return judge


def clamped(value: float) -> float:
    """Return a value held to 1..10."""
    return min(max(float(value), MIN_MARGIN), MAX_MARGIN)


def ask(judge: Judge, edit: Edit, answer: Utterance, source: Utterance) -> float | str:
    """Return the rating of an answer to an edit, 1..10, or why the judge gives none.

    Where the edit asks for a label, a label's share or probability of 0 is 1 and of 1 is 10,
    and a judge that names a label alone gives 10 for the asked one and 1 for any other. Points
    are stretched from the scale of their task.

    Args:
        judge: who to ask.
        edit: the request.
        answer: what came of it.
        source: the utterance before the edit.

    Raises:
        StepeditError: if the judge does not judge such edits at all.
    """
    if edit.name not in judge.tasks():
        tasks = ", ".join(judge.tasks())
        raise StepeditError(f"the judge {judge.name!r} judges {tasks}, not {edit.name}")
    to = getattr(edit, "to", None)
    wanted = None if to is None else NEUTRAL if to == REMOVE else str(to)
    others = profiles_of(get_registry(), edit.name)
    offered = dict.fromkeys((wanted, NEUTRAL, *others)) if wanted else {}
    verdict = judge.judge(
        edit.name,
        answer,
        reference=source,
        labels=tuple(label for label in offered if label is not None),
        question={**edit.to_data(), "scale": [MIN_MARGIN, MAX_MARGIN]},
    )
    return verdict.refused or _rating(verdict, wanted, _scale(edit))


def _scale(edit: Edit) -> tuple[float, float]:
    """Return the least and the most points of an edit's judges, as its scorer states them."""
    try:
        return get_registry().scorer(type(edit)).points
    except PluginError:
        return Scorer.points


def _rating(verdict: Verdict, wanted: str | None, scale: tuple[float, float]) -> float | str:
    """Return a verdict as a number from 1 to 10, or why there is none."""
    if wanted is not None and verdict.scores:
        share = min(max(verdict.scores.get(wanted, 0.0), 0.0), 1.0)
        return MIN_MARGIN + (MAX_MARGIN - MIN_MARGIN) * share
    if wanted is not None and verdict.label is not None:
        return MAX_MARGIN if verdict.label == wanted else MIN_MARGIN
    if verdict.score is None:
        return "the judge gave no rating"
    low, high = scale
    return clamped(MIN_MARGIN + (MAX_MARGIN - MIN_MARGIN) * (verdict.score - low) / (high - low))
