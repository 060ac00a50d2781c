"""Test scorers with adversarial outputs (cheats), which must not pass for the edit.

Every cheat of ``stepedit_core.testing.cheats`` is given to the scorer of an edit in place of its
output: the whole recording, or its spans where the edit is confined to some, or a sound put in
where the edit puts sounds in. A scorer is fooled where its score is ``reached``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stepedit_bench.suites import Unit, read_audio, units
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Case, Measures, Prepared, Score, Scorer
from stepedit_core.testing.cheats import ADDED, CHEATS, insert_at
from stepedit_core.utterance import Span, Utterance

__all__ = ["GOOD", "Attack", "attack", "attempts", "print_attacks"]

GOOD = "(dsp route)"
"""Stands for the edit's own output by signal processing, which ought to pass."""
_MOST_TRIED = 8
"""Further cases whose good output is scored where none has passed: a scorer that refuses all is not
fooled, either."""
OnAttack = Callable[["Attack"], None]


@dataclass(frozen=True)
class Attack:
    """The verdict of a scorer on one output.

    Attributes:
        edit: whose scorer it was.
        case: id of the case.
        cheat: name of the cheat, or ``GOOD``.
        reached: the verdict; None where the case was left unscored.
        why: why it was not scored, or None.
    """

    edit: str
    case: str
    cheat: str
    reached: bool | None
    why: str | None = None

    @property
    def fooled(self) -> bool:
        """Whether a cheat was taken for the edit."""
        return self.cheat != GOOD and self.reached is True

    def to_data(self) -> dict[str, Any]:
        """Return JSON data."""
        return {**asdict(self), "fooled": self.fooled}


def attempts(edit: Edit, source: Utterance) -> Iterator[tuple[str, Utterance]]:
    """Yield the cheats that fit an edit, by name.

    Args:
        edit: confines cheats to its spans, where it has some, and says where sounds go.
        source: what the edit receives.
    """
    plan = edit.plan(source)
    spans = plan.spans
    for name, cheat in CHEATS.items():
        yield name, cheat(source) if spans is None else _inside(cheat, source, spans)
    for place in plan.insertions[:1]:
        for name, sound in ADDED.items():
            yield name, insert_at(source, sound(source), place.at)


def _inside(
    cheat: Callable[[Utterance], Utterance], source: Utterance, spans: Sequence[Span]
) -> Utterance:
    """Return a recording with a cheat in place of each span."""
    parts: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    last = 0
    for span in spans:
        start, end = (round(edge * source.sample_rate) for edge in span)
        inner = source.replace(samples=source.samples[start:end])
        parts += [source.samples[last:start], cheat(inner).samples]
        last = end
    return source.replace(samples=np.concatenate([*parts, source.samples[last:]]))


def attack(
    edits: Sequence[str],
    measures: Measures,
    *,
    limit: int = 1,
    seed: int = 0,
    on_attack: OnAttack = lambda found: None,
) -> list[Attack]:
    """Put every fitting cheat to the scorers of some edits.

    Args:
        edits: names; empty for all that can be scored.
        measures: the backends, with a recogniser.
        limit: cases per edit, drawn by the seed among those with a dsp route. Where none of their
            good outputs passes, those of further cases are scored until one does.
        seed: of the cases.
        on_attack: told of every verdict.

    Raises:
        StepeditError: if an edit cannot be scored.
    """
    found: list[Attack] = []
    taken: Counter[str] = Counter()
    for unit in _mixed(units(edits, "default", None, seed), seed):
        taken[unit.edit] += 1
        further = limit < taken[unit.edit] <= limit + _MOST_TRIED
        if taken[unit.edit] <= limit or (further and not _passed(unit.edit, found)):
            for one in _on_case(unit, measures, cheats=not further):
                found.append(one)
                on_attack(one)
    return sorted(found, key=lambda one: (one.edit, one.case))


def _passed(edit: str, found: Sequence[Attack]) -> bool:
    """Return whether a good output of an edit has passed."""
    return any(one.reached for one in found if one.edit == edit and one.cheat == GOOD)


def _mixed(work: Sequence[Unit], seed: int) -> Iterator[Unit]:
    """Yield units in an order drawn by the seed, those with a dsp route first."""
    order = np.random.default_rng(seed).permutation(len(work))
    drawn = [work[int(place)] for place in order]
    yield from sorted(drawn, key=_lacks_dsp)


def _lacks_dsp(unit: Unit) -> bool:
    """Return whether signal processing cannot give a good output to compare with."""
    return unit.case is None or unit.case.edit.route_problem("dsp") is not None


def _on_case(unit: Unit, measures: Measures, *, cheats: bool = True) -> Iterator[Attack]:
    """Yield the verdicts on the edit's own output and, where asked, on every cheat."""
    if unit.case is None:
        return
    case, edit = unit.case, unit.case.edit
    scorer = get_registry().scorer(type(edit))
    prepared = scorer.prepare(case, read_audio(case), np.random.default_rng(unit.seed))
    verdict = partial(_verdict, scorer, case, prepared, measures)
    if edit.route_problem("dsp") is None:
        made = edit.render(prepared.source, np.random.default_rng(unit.seed)).utterance
        yield verdict(GOOD, made)
    for name, output in attempts(edit, prepared.source) if cheats else ():
        yield verdict(name, output.replace(transcript=prepared.source.transcript))


def _verdict(
    scorer: Scorer,
    case: Case,
    prepared: Prepared,
    measures: Measures,
    cheat: str,
    output: Utterance,
) -> Attack:
    """Score one output; a scorer that breaks on it leaves it unscored, with the reason."""
    try:
        score = scorer.score(case, prepared, output, measures)
    except StepeditError as error:
        score = Score.failed(str(error))
    except Exception as error:  # a plugin's scorer may raise anything
        score = Score.failed(f"{type(error).__name__}: {error}")
    return Attack(case.edit.name, case.id, cheat, score.reached, score.unscored)


def print_attacks(found: Sequence[Attack], console: Console | None = None) -> None:
    """Print one line per edit, and the cheats that passed by name."""
    shown = console or Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("scorer of", "cheats", "fooled by", "unscored", "dsp route passes"):
        table.add_column(heading, overflow="fold")
    for edit in dict.fromkeys(one.edit for one in found):
        own = [one for one in found if one.edit == edit]
        cheats = [one for one in own if one.cheat != GOOD]
        good = [one for one in own if one.cheat == GOOD]
        fooled = [f"{one.cheat} ({one.case})" for one in cheats if one.fooled]
        unscored = sum(one.reached is None for one in cheats)
        passed = sum(one.reached is True for one in good)
        names = f"[red]{escape(', '.join(fooled))}[/]" if fooled else "[green]none[/]"
        good_text = f"{passed} of {len(good)}"
        table.add_row(edit, str(len(cheats)), names, str(unscored), good_text)
    shown.print(table)
    kinds = len({one.cheat for one in found if one.cheat != GOOD})
    count = sum(one.fooled for one in found)
    shown.print(f"{kinds} cheats, {len(found)} verdicts, {count} fooled")
