"""A small plugin, light measurements and a judge for tests of the bench."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from stepedit_bench.judging import JudgeChoice
from stepedit_bench.measuring import StandardMeasures

from stepedit_core import Case, Edit, Prepared, Prompt, Rendered, Score, Scorer, Utterance
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.hookspecs import hookimpl
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.scoring import Judge, Measures, Verdict
from stepedit_core.testing.fake_measures import FakeMeasures


class Gain(Edit):
    """Change the level by some dB; -99 cannot be rendered, 99 breaks."""

    db: float = 6.0
    """Gain in dB."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Make it {self.db} dB louder.\n")

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        if self.db == 99:
            raise AudioError("the gain breaks on purpose")
        samples = utterance.samples * 10 ** (self.db / 20) + rng.normal(
            0, 1e-5, len(utterance.samples)
        )
        return Rendered(utterance.replace(samples=samples), {"noise": True})

    def route_problem(self, route: str) -> str | None:
        return "no dsp route below silence" if self.db == -99 else super().route_problem(route)


class GainScorer(Scorer):
    """Reached where the level moved as asked; asks the judge where the case says so."""

    version = 3
    expects_same_duration = True

    def waives(self, case: Case) -> frozenset[str]:
        return frozenset({"level"})  # it is what the edit changes

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        return Prepared(clean.replace(samples=clean.samples * 0.25))

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        before, after = (float(np.sqrt(np.mean(u.samples**2))) for u in (prepared.source, output))
        achieved = 20 * np.log10(after / before)
        values = {"gain_db": achieved, "lost": None}
        if case.meta.get("ask"):
            verdict = measures.judge("emotion").judge("emotion", output, labels=("loud", "soft"))
            if verdict.refused:
                return Score.failed(verdict.refused, **values)
            return Score(verdict.label == "loud", values)
        return Score(bool(abs(achieved - case.edit.db) < 1.0), values)  # type: ignore[attr-defined]


class LoudJudge(Judge):
    """Calls loud speech loud and refuses every third question."""

    name: ClassVar[str] = "loudness"
    version: ClassVar[int] = 2
    validation: ClassVar[str] = "a rule for tests"

    def __init__(self, every: str = "3") -> None:
        self.every, self.asked = int(every), 0

    def tasks(self) -> Sequence[str]:
        return ("emotion",)

    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        self.asked += 1
        if self.asked % self.every == 0:
            return Verdict(refused="I would rather not say")
        return Verdict(label="loud" if np.abs(utterance.samples).max() > 0.2 else "soft")


def plugin(cases: Iterable[Case]) -> Any:
    """Return a plugin that brings the gain edit with these cases."""
    kept = list(cases)

    class GainPlugin:
        @hookimpl
        def stepedit_edits(self) -> Sequence[type[Edit]]:
            return [Gain]

        @hookimpl
        def stepedit_scorer(self, edit: type[Edit]) -> Scorer | None:
            return GainScorer() if edit is Gain else None

        @hookimpl
        def stepedit_cases(self, edit: type[Edit], suite: str) -> Iterable[Case] | None:
            return kept if edit is Gain and suite == "default" else None

        @hookimpl
        def stepedit_judges(self) -> Sequence[type[Judge]]:
            return [LoudJudge]

    return GainPlugin()


def cases(count: int = 6, **meta: Any) -> list[Case]:
    """Return cases on packaged speech."""
    names = ("surpassed", "office", "garden")
    return [
        Case(id=f"case {n}", edit=Gain(db=3.0 + n % 3), audio=f"speech:{names[n % 3]}", meta=meta)
        for n in range(count)
    ]


def install(items: Iterable[Case]) -> Registry:
    """Make a registry with the gain plugin alone the process's registry."""
    registry = Registry(group="stepedit-none", disabled=())
    registry.register(plugin(items), "gain")
    set_registry(registry)
    return registry


class LightMeasures(StandardMeasures):
    """The bench's measurements with rules instead of models."""

    def __init__(self, judges: JudgeChoice | None = None, delay: float = 0.0) -> None:
        super().__init__(judges=judges)
        self._light, self._delay = FakeMeasures(), delay

    def hears(self, language: str | None) -> bool:
        return language in (None, "en")

    def heard_by(self, language: str | None) -> str:
        return "the transcript"

    def transcribe(self, utterance: Utterance) -> str:
        time.sleep(self._delay)
        if utterance.transcript is None:
            raise StepeditError("no transcript to repeat")
        return utterance.transcript

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        return self._light.speaker_similarity(first, second)

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        return self._light.dnsmos(utterance)


def main(folder: str, engine: str, delay: str) -> None:
    """Run the bench in a process of its own, to be killed."""
    from stepedit_bench.produce import Protocol
    from stepedit_bench.runner import BenchConfig, run_bench

    from stepedit_core.testing.fake_engine import FakeEngine

    install(cases(8))
    config = BenchConfig(edits=("gain",), batch=3, protocol=Protocol(iterations=2))
    run_bench(
        config,
        folder,
        engine=FakeEngine() if engine == "fake" else None,
        measures=LightMeasures(delay=float(delay)),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
