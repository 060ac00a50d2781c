"""Requests for sounds in recordings of a manifest, and how the judge of events rates outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from stepedit_bench.judges.events import EventsJudge
from stepedit_paralinguistic import Paralinguistic
from stepedit_paralinguistic.scorer import acoustic_values, question

from stepedit_core.codes import DualCodes
from stepedit_core.engine import DecodeRequest, GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.models.engine import Engine
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


class WithCodes:
    """An engine whose answers are known: everything else is the engine's own."""

    def __init__(self, engine: Engine, codes: Sequence[DualCodes]) -> None:
        """Take the answers to the next requests."""
        self._engine, self._codes = engine, list(codes)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return the given codes."""
        return self._codes

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Decode as the engine does."""
        return self._engine.decode(requests)

    def __getattr__(self, name: str) -> Any:
        """Return what the engine has."""
        return getattr(self._engine, name)


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
