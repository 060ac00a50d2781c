"""Middleware of ``stepedit_apply``: caches, retries, gates, blame and the record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pluggy
import pytest

from stepedit_core import Chain, Edit, Registry, StepeditError, Utterance, hookimpl
from stepedit_core.chain.result import Step
from stepedit_core.edit import Outcome
from stepedit_core.errors import EditError
from stepedit_core.hookspecs import Proceed
from stepedit_core.testing import FakeEngine
from tests.toy_edits import Burst, Gain, Hiss


def around(registry: Registry, name: str, work: Callable[..., Any]) -> None:
    """Register a function of ``proceed`` as a plugin."""

    class Plugin:
        @hookimpl
        def stepedit_apply(self, proceed: Proceed) -> Any:
            return work(proceed)

    registry.register(Plugin(), name)


def step_of(registry: Registry, edit: Edit, speech: Utterance, **options: Any) -> Step:
    return Chain([edit])(speech, registry=registry, **options).steps[0]


class Cache:
    """Answers from what it has kept."""

    def __init__(self) -> None:
        self.kept: dict[Any, Outcome] = {}

    @hookimpl
    def stepedit_apply(
        self, edit: Edit, utterance: Utterance, rng: np.random.Generator, proceed: Proceed
    ) -> Outcome:
        key = (edit, utterance.digest, str(rng.bit_generator.state))
        if key not in self.kept:
            self.kept[key] = proceed()
        return self.kept[key]


def test_a_cache_answers_without_the_rest(toys: Registry, speech: Utterance) -> None:
    toys.register(Cache(), "cache")
    engine = FakeEngine()
    first = step_of(toys, Hiss(), speech, engine=engine)
    again = step_of(toys, Hiss(), speech, engine=engine)
    assert len(engine.requests) == 1 and again.utterance == first.utterance
    assert first.middleware == () and "middleware" not in first.report()
    assert again.report()["middleware"] == [{"plugin": "cache", "calls": 0, "replaced": True}]
    assert (again.route, again.engine) == ("llm", "fake")
    assert step_of(toys, Hiss(), speech, engine=engine, seed=1).utterance != first.utterance


def test_a_retry_draws_anew_and_is_repeatable(toys: Registry, speech: Utterance) -> None:
    drawn: list[Utterance] = []

    def loudest(proceed: Proceed) -> Outcome:
        outcomes = [proceed() for _ in range(3)]
        drawn.extend(one.utterance for one in outcomes)
        return max(outcomes, key=lambda one: float(np.abs(one.utterance.samples).max()))

    around(toys, "loudest", loudest)
    step = step_of(toys, Hiss(), speech, seed=2)
    assert len({one.digest for one in drawn}) == 3
    assert step.report()["middleware"] == [{"plugin": "loudest", "calls": 3, "replaced": False}]
    assert step_of(toys, Hiss(), speech, seed=2).utterance == step.utterance


def test_a_retry_may_catch_what_the_rest_raises(toys: Registry, speech: Utterance) -> None:
    attempts: list[int] = []

    class Flaky(Gain):
        """Work the second time."""

        def render(self, utterance: Utterance, rng: np.random.Generator) -> Any:
            attempts.append(1)
            if len(attempts) == 1:
                raise StepeditError("not yet")
            return super().render(utterance, rng)

    def again(proceed: Proceed) -> Outcome:
        try:
            return proceed()
        except StepeditError:
            return proceed()

    around(toys, "again", again)
    assert step_of(toys, Flaky(), speech).details == {"db": -6.0}
    assert len(attempts) == 2


def test_a_gate_may_change_the_utterance(toys: Registry, speech: Utterance) -> None:
    class Louder:
        @hookimpl
        def stepedit_apply(self, utterance: Utterance, proceed: Proceed) -> Outcome:
            return proceed(utterance=utterance.replace(samples=utterance.samples * np.float32(0.5)))

    toys.register(Louder(), "louder")
    step = step_of(toys, Gain(db=0), speech)
    np.testing.assert_allclose(step.utterance.samples, speech.samples * 0.5, atol=1e-7)
    assert step_of(toys, Hiss(), speech, engine=FakeEngine()).route == "llm"


def test_errors_are_blamed_on_whoever_raised_them(toys: Registry, speech: Utterance) -> None:
    def fails(proceed: Proceed) -> Outcome:
        proceed()
        raise RuntimeError("no room left")

    with pytest.raises(EditError, match=r"step 1, burst \(.*\): RuntimeError: it burst"):
        step_of(toys, Burst(), speech)
    around(toys, "plain", lambda proceed: proceed())
    with pytest.raises(EditError, match=r"step 1, burst \(.*\): RuntimeError: it burst"):
        step_of(toys, Burst(), speech)
    around(toys, "full", fails)
    with pytest.raises(
        EditError, match=r"step 1, gain: stepedit_apply of plugin 'full' .*: RuntimeError: no room"
    ):
        step_of(toys, Gain(), speech)


def test_another_error_is_the_plugins_own(toys: Registry, speech: Utterance) -> None:
    def rewords(proceed: Proceed) -> Outcome:
        try:
            return proceed()
        except Exception as error:
            raise StepeditError("in other words") from error

    around(toys, "rewords", rewords)
    with pytest.raises(EditError, match=r"stepedit_apply of plugin 'rewords' .*: in other words"):
        step_of(toys, Burst(), speech)


def test_route_and_engine_cannot_be_forged(toys: Registry, speech: Utterance) -> None:
    around(toys, "forger", lambda proceed: dataclasses.replace(proceed(), route="llm"))
    step = step_of(toys, Gain(), speech, engine=FakeEngine())
    assert (step.route, step.engine) == ("dsp", None)
    assert [one.plugin for one in step.middleware] == ["forger"]


def test_one_that_declines_is_not_recorded(toys: Registry, speech: Utterance) -> None:
    class Declines:
        @hookimpl
        def stepedit_apply(self, edit: Edit) -> Outcome | None:
            return None

    toys.register(Declines(), "declines")
    around(toys, "neither", lambda proceed: None)
    assert step_of(toys, Gain(), speech).middleware == ()


def test_plugins_lie_around_each_other_in_pluggys_order(toys: Registry, speech: Utterance) -> None:
    called: list[str] = []

    def note(name: str) -> Callable[[Proceed], Outcome]:
        def work(proceed: Proceed) -> Outcome:
            called.append(name)
            return proceed()

        return work

    class First:
        @hookimpl(tryfirst=True)
        def stepedit_apply(self, proceed: Proceed) -> Outcome:
            called.append("first")
            return proceed()

    toys.register(First(), "first")
    for name in ("inner", "outer"):
        around(toys, name, note(name))
    step_of(toys, Gain(), speech)
    assert called == ["first", "outer", "inner"]


def test_wrappers_of_pluggy_keep_working(toys: Registry, speech: Utterance) -> None:
    class New:
        @hookimpl(wrapper=True)
        def stepedit_apply(self) -> Generator[None, Outcome, Outcome]:
            outcome = yield
            return Outcome(outcome.utterance.replace(language="new"), outcome.route)

    class Old:
        @hookimpl(hookwrapper=True)
        def stepedit_apply(self) -> Generator[None, "pluggy.Result[Outcome]", None]:  # noqa: UP037
            result = yield
            made = result.get_result()
            language = f"{made.utterance.language}-old"
            result.force_result(Outcome(made.utterance.replace(language=language), made.route))

    toys.register(New(), "new")
    toys.register(Old(), "old")
    step = step_of(toys, Gain(), speech)
    assert step.utterance.language == "new-old"
    assert [one.plugin for one in step.middleware] == ["new", "old"]
    with pytest.raises(EditError, match=r"step 1, burst \(.*\): RuntimeError: it burst"):
        step_of(toys, Burst(), speech)


def test_a_changed_sound_has_no_latent(toys: Registry, speech: Utterance) -> None:
    def softer(proceed: Proceed) -> Outcome:
        made = proceed()
        return dataclasses.replace(
            made, utterance=made.utterance.replace(samples=made.utterance.samples * np.float32(0.9))
        )

    around(toys, "softer", softer)
    assert step_of(toys, Hiss(), speech, engine=FakeEngine()).latent is None
