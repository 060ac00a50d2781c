"""Requests for sounds in recordings of a manifest, and how the judge of events rates outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from stepedit_bench.judges.events import EventsJudge
from stepedit_paralinguistic import Paralinguistic
from stepedit_paralinguistic.scorer import acoustic_values, question

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.plan import Plan
from stepedit_core.registry.corpora import find_reader
from stepedit_core.utterance import Utterance

TAGS = (
    "laugh", "uhm", "sigh", "Question-ei", "breath", "chuckle", "inhale", "exhale", "giggle",
    "Surprise-oh",
)  # fmt: skip
"""The first ten tags of the benchmark's row, in its order."""


class Asked(NamedTuple):
    """One request."""

    tag: str
    edit: Paralinguistic
    source: Utterance
    plan: Plan
    item: CorpusItem


def _in_turn(manifest: Path) -> Iterator[CorpusItem]:
    """Yield real and synthetic recordings in turn, each in a random order that stays."""
    items = [one for one in find_reader(manifest, None).items(manifest) if one.transcript]
    rng = np.random.default_rng(0)
    pools = []
    for is_synthetic in (False, True):
        pool = [one for one in items if ("kokoro/" in one.id) == is_synthetic]
        pools.append([pool[at] for at in rng.permutation(len(pool))])
    for place in range(max(map(len, pools))):
        yield from (pool[place] for pool in pools if place < len(pool))


def requests(
    manifest: Path, count: int, tags: tuple[str, ...] = TAGS, skipped: int = 0
) -> Iterator[Asked]:
    """Yield requests as the benchmark's row makes them: after the first comma, or in the middle."""
    made = 0
    for item in list(_in_turn(manifest))[skipped:]:
        if made >= count:
            return
        source = item.read()
        words = (source.transcript or "").split()
        if len(words) < 3 or "[" in (source.transcript or ""):
            continue
        commas = [at for at, word in enumerate(words[:-1], 1) if word.endswith(",")]
        at = commas[0] if commas else len(words) // 2
        tag = tags[(made // 2 + made // (2 * len(tags)) * 3) % len(tags)]
        edit = Paralinguistic(text=" ".join([*words[:at], f"[{tag}]", *words[at:]]))
        try:
            plan = edit.plan(source)
        except StepeditError:
            continue
        if edit.problem(source) or plan.problem:
            continue
        yield Asked(tag, edit, source, plan, item)
        made += 1


@cache
def _judge() -> EventsJudge:
    return EventsJudge()


def rated(asked: Asked, output: Utterance) -> dict[str, Any]:
    """Return what the judge hears; ``ok`` where it rates 3 and new sound is at the place."""
    verdict = _judge().judge(
        "paralinguistic",
        output,
        reference=asked.source,
        question=question(asked.edit, asked.source),
    )
    found = acoustic_values(asked.edit, asked.source, output)["found_in_place"]
    grew = output.seconds - asked.source.seconds >= 0.15
    placed = grew if found is None else found == 1.0
    return {
        "score": verdict.score,
        "label": verdict.label,
        "ok": bool(verdict.score == 3 and placed),
    }
