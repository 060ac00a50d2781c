"""A plugin file with one edit, its pair builder and a judge, for tests of the pair runner."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from stepedit_core.config import EngineConfig
from stepedit_core.edit import Edit, Rendered
from stepedit_core.engine import SpeechEngine
from stepedit_core.hookspecs import hookimpl
from stepedit_core.pairs import BuildContext, EditPair, PairBuilder, PairJob, Rejected
from stepedit_core.prompt import Prompt
from stepedit_core.scoring import Judge, Verdict
from stepedit_core.utterance import Utterance


class Quieter(Edit):
    """Lower the level."""

    db: float = Field(default=6.0, ge=0, le=40)
    """By how much."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Lower it by {self.db} dB.\n")

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(
            utterance.replace(samples=utterance.samples * np.float32(10 ** (-self.db / 20)))
        )


class QuieterPairs(PairBuilder):
    options: ClassVar[Mapping[str, str]] = {
        "copies": "pairs of each recording",
        "unchanged": "yes: call the pairs unchanged",
    }

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        source = job.items[0].read()
        time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
        if folder := os.environ.get("TOY_PROCESSES"):
            Path(folder, str(os.getpid())).touch()
        for _ in range(int(context.options.get("copies", "2"))):
            edit = Quieter(db=round(float(context.rng.uniform(3, 12)), 3))
            target = edit.render(source, context.rng).utterance
            drawn = [item.id for item in context.sample(context.rng, 2)]
            details: dict[str, Any] = {"drawn": drawn}
            if context.options.get("unchanged"):
                details["unchanged"] = True
            yield EditPair(source, target, edit, min(edit.db, 10.0), details)


class Loudness(Judge):
    """Gives 10 to the loudest half of what it hears, by the codes' noise: a rule for tests."""

    name = "loudness"
    version = 3
    validation = "none: it is a rule for tests"
    asked = 0

    def tasks(self) -> Sequence[str]:
        return ("quieter",)

    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        type(self).asked += 1
        assert reference is not None and question and question["scale"] == [1.0, 10.0]
        return Verdict(score=10.0 if int(utterance.digest[:2], 16) % 2 else 1.0)


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    return [Quieter]


@hookimpl
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    return QuieterPairs() if edit.name == "quieter" else None


@hookimpl
def stepedit_judges() -> Sequence[type[Judge]]:
    return [Loudness]


@hookimpl
def stepedit_load_engine(config: EngineConfig) -> SpeechEngine | None:
    from stepedit_core.testing import FakeEngine

    return FakeEngine() if config.name_or_path == "fake" else None
