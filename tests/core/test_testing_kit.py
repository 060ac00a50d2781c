"""The testing kit is a product of its own: it must find faults, and be silent on sound plugins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import AnyEdit
from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit, Rendered, Route
from stepedit_core.engine import DecodeRequest, FreeGroups, GenerateRequest, SpeechEngine
from stepedit_core.errors import EngineError, StepeditError
from stepedit_core.hookspecs import hookimpl
from stepedit_core.pairs import BuildContext, EditPair, PairBuilder, PairJob, Rejected
from stepedit_core.plan import Insertion, Plan
from stepedit_core.prompt import Prompt
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.scoring import Case, Measures, Prepared, Score, Scorer
from stepedit_core.testing import (
    EditContract,
    FailingMeasures,
    FakeEngine,
    FakeJudge,
    FakeMeasures,
    add_noise,
    clipped,
    contract_corpus,
    noise,
    run_contract,
    silence,
    speech_like,
    tone,
)
from stepedit_core.utterance import Span, Utterance

DRAW = np.random.default_rng(0)
"""Goes on from call to call: randomness that a plugin should have taken from its argument."""

# Signals -----------------------------------------------------------------------------------


def test_signals() -> None:
    assert speech_like(1.5, seed=3).digest == speech_like(1.5, seed=3).digest
    assert speech_like(1.5, seed=3).digest != speech_like(1.5, seed=4).digest
    for seconds, rate in ((0.003, 8_000), (0.1, 16_000), (7.0, 44_100)):
        assert len(speech_like(seconds, rate).samples) == round(seconds * rate)


def test_speech_like_has_the_pitch_and_pauses_asked_for() -> None:
    for f0 in (100.0, 220.0):
        speech = speech_like(3.0, f0=f0)
        assert FakeMeasures().median_f0(speech) == pytest.approx(f0, rel=0.1)
        assert len(FakeMeasures().speech_spans(speech)) >= 2
        assert np.abs(speech.samples).max() == pytest.approx(0.5)


def test_noise_is_added_at_the_ratio_asked_for() -> None:
    clean = speech_like(2.0)
    added = add_noise(clean, 5.0).samples - clean.samples
    ratio = 10 * np.log10(np.mean(clean.samples**2) / np.mean(added**2))
    assert ratio == pytest.approx(5.0, abs=0.1)
    partly = add_noise(clean, 5.0, span=Span(0.5, 1.0)).samples - clean.samples
    assert not partly[: 12_000 - 1].any()
    assert partly[12_000:24_000].any()


def test_other_signals() -> None:
    assert np.abs(clipped(speech_like(1.0)).samples).max() == 1.0
    assert not silence(0.5).samples.any()
    assert noise(1.0).samples.std() == pytest.approx(0.1, rel=0.05)
    assert FakeMeasures().median_f0(tone(200.0)) == pytest.approx(200, rel=0.02)


# Fake engine -------------------------------------------------------------------------------


def request(codes: DualCodes, **changes: Any) -> GenerateRequest:
    return GenerateRequest(Prompt.edit("Words.\n"), codes, speech_like(), **changes)


def test_the_fake_tokenizer_inverts(engine: FakeEngine) -> None:
    assert isinstance(engine, SpeechEngine)
    speech = speech_like(2.0)
    codes = engine.encode([speech])[0]
    assert codes.groups == 17
    audio = engine.decode([DecodeRequest(codes, speech)])[0]
    assert audio.sample_rate == engine.sample_rate == 24_000
    assert audio.seconds == pytest.approx(17 * 0.12)
    assert engine.encode([audio])[0] == codes
    level = 20 * np.log10(audio.samples.std() / speech.samples.std())
    assert abs(level) < 1.0


def test_fake_engine(engine: FakeEngine) -> None:
    codes = engine.encode([speech_like(2.0)])[0]
    longer = engine.generate([request(codes, plan=Plan(length_ratio=1.5))])[0]
    assert longer.groups == round(17 * 1.5)
    one, same, other = engine.generate([request(codes, seed=seed) for seed in (1, 1, 2)])
    assert one == same != other
    prompted = GenerateRequest(Prompt.edit("Other words.\n"), codes, speech_like(), seed=1)
    assert engine.generate([prompted])[0] != one
    assert len(engine.requests) == 5


def test_the_fake_model_copies_outside_free_groups(engine: FakeEngine) -> None:
    codes = engine.encode([speech_like(2.0)])[0]
    free = (FreeGroups(2, 4, 5), FreeGroups(10, 12, 1))
    out = engine.generate([request(codes, free=free)])[0]
    assert out.groups == 17 + 3 - 1
    assert out.slice_groups(0, 2) == codes.slice_groups(0, 2)
    assert out.slice_groups(7, 13) == codes.slice_groups(4, 10)
    assert out.slice_groups(14, 19) == codes.slice_groups(12, 17)
    assert out.slice_groups(2, 4) != codes.slice_groups(2, 4)


def test_the_fake_engine_fails_on_request(engine: FakeEngine) -> None:
    codes = engine.encode([speech_like(0.5)])[0]
    failing = FakeEngine("shaky", fail_after=1)
    failing.generate([request(codes)])
    with pytest.raises(EngineError, match="as asked"):
        failing.generate([request(codes)])
    assert failing.describe()["name"] == failing.name == "shaky"


# Fake measures -----------------------------------------------------------------------------


def test_fake_measures_measure_what_they_can() -> None:
    measures, speech = FakeMeasures(), speech_like(2.0)
    assert measures.transcribe(speech) == "You came back at last!"
    assert measures.word_error("You came back at last!", speech) == 0
    assert measures.word_error("other", speech) == 1
    assert measures.speaker_similarity(speech, speech) == pytest.approx(1)
    assert measures.speaker_similarity(speech, noise(2.0)) < 0.9
    assert measures.dnsmos(speech)["ovrl"] > measures.dnsmos(add_noise(speech, 0))["ovrl"]
    assert measures.median_f0(noise(1.0)) is None
    assert measures.median_f0(speech_like(0.01)) is None
    with pytest.raises(StepeditError, match="there is none"):
        measures.transcribe(speech.replace(transcript=None))


def test_a_fake_judge_says_what_it_was_told_or_refuses() -> None:
    told = FakeJudge("happy", 4.0)
    verdict = told.judge("emotion", speech_like(), labels=("happy", "sad"), question={"a": 1})
    assert (verdict.label, verdict.score, verdict.refused) == ("happy", 4.0, None)
    assert told.questions == [("emotion", {"a": 1})]
    assert FakeMeasures().judge("style").judge("style", speech_like()).refused is not None
    assert "style" in told.tasks()


def test_failing_measures_all_fail() -> None:
    measures, speech = FailingMeasures(), speech_like()
    for work in (
        lambda: measures.transcribe(speech),
        lambda: measures.word_error("a", speech),
        lambda: measures.speaker_similarity(speech, speech),
        lambda: measures.dnsmos(speech),
        lambda: measures.speech_spans(speech),
        lambda: measures.median_f0(speech),
        lambda: measures.judge("emotion"),
    ):
        with pytest.raises(StepeditError, match="on purpose"):
            work()


def test_the_contract_corpus_is_labelled_and_grouped(tmp_path: Path) -> None:
    items = contract_corpus(tmp_path)
    assert len({item.id for item in items}) == len(items)
    assert {"happy", "neutral", "sad"} <= {item.labels.get("emotion") for item in items}
    assert all(item.read().problem() is None for item in items)
    groups = [item.group for item in items]
    assert groups.count("low-greeting") == groups.count("high-greeting") >= 3


# The contract finds faults -----------------------------------------------------------------


class Sound(Edit):
    """Change the level, by both routes."""

    level: float = Field(default=0.5, gt=0, le=1)
    """Factor."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Level {self.level}.\n")

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.replace(samples=utterance.samples * np.float32(self.level)))


class TestSound(EditContract):
    """The pytest face of the kit, as a third party uses it."""

    edits = (Sound(), Sound(level=0.25))
    invalid = ({"level": 0}, {"colour": "red"})

    @pytest.fixture(autouse=True)
    def registered(self) -> Iterator[None]:
        set_registry(registry_of(Sound))
        yield
        set_registry(None)


def registry_of(edit_class: type[Edit], **answers: Any) -> Registry:
    """Return a registry with one edit and what is bundled with it."""

    class Plugin:
        @hookimpl
        def stepedit_edits(self) -> list[type[Edit]]:
            return [edit_class]

        @hookimpl
        def stepedit_pair_builder(self, edit: type[Edit]) -> Any:
            return answers.get("pairs")

        @hookimpl
        def stepedit_scorer(self, edit: type[Edit]) -> Any:
            return answers.get("scorer")

        @hookimpl
        def stepedit_cases(self, edit: type[Edit], suite: str) -> Any:
            return answers.get("cases")

    registry = Registry(disabled=())
    registry.register(Plugin(), "plugin")
    return registry


def failures(edit_class: type[Edit], **answers: Any) -> dict[str, str]:
    """Run the contract and return the failed checks with their texts."""
    registry = registry_of(edit_class, **answers)
    set_registry(registry)
    try:
        results = list(run_contract(edit_class, registry))
    finally:
        set_registry(None)
    return {result.check: result.text for result in results if result.status == "failed"}


def test_a_sound_plugin_passes() -> None:
    assert failures(Sound) == {}


def faulty(**methods: Any) -> type[Edit]:
    """Return a variant of the sound edit with some methods replaced."""
    return type("Faulty", (Sound,), {"__doc__": "Do it.", "__module__": __name__, **methods})


def rendering(change: Any) -> type[Edit]:
    """Return a variant whose dsp route does something wrong."""

    def render(self: Edit, utterance: Utterance, rng: np.random.Generator) -> Any:
        return change(utterance, rng)

    return faulty(render=render)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda u, rng: u, "render() returned Utterance"),
        (lambda u, rng: Rendered(u.replace(sample_rate=16_000)), "the rate became 16000"),
        (lambda u, rng: Rendered(u.replace(samples=np.zeros(0))), "no samples came back"),
        (lambda u, rng: Rendered(u.replace(samples=u.samples * 4)), "limit it to"),
        (lambda u, rng: Rendered(u, {"array": np.zeros(2)}), "details are not JSON data"),
        (lambda u, rng: Rendered(u.replace(transcript="other")), "transcript_after() says"),
        (
            lambda u, rng: Rendered(u.replace(samples=u.samples * np.float32(DRAW.random()))),
            "same rng seed, other samples",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_faults_of_the_dsp_route_are_found(change: Any, text: str) -> None:
    assert text in failures(rendering(change))["renders_well"]


def test_an_uneven_pace_is_found() -> None:
    def shorten(self: Edit, u: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(u.replace(samples=u.samples[: len(u.samples) // 2]))

    assert failures(faulty(render=shorten)) == {}

    def even(self: Edit, utterance: Utterance) -> Plan:
        return Edit.plan(self, utterance).but(uniform_tempo=True)

    found = failures(faulty(render=shorten, plan=even))["renders_well"]
    assert "0.50 times the duration, the plan's length_ratio is 1.00" in found


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda plan: plan.but(length_ratio=DRAW.random()), "two calls of plan() differ"),
        (lambda plan: plan.but(words_after="other"), "the plan's words_after is 'other'"),
        (lambda plan: plan.but(problem="no"), "the plan's problem is 'no', problem() says None"),
        (lambda plan: plan.but(problem="a\nb"), "takes more than one line"),
        (lambda plan: plan.but(length_ratio=-1.0), "length_ratio is -1.0"),
        (lambda plan: plan.but(spans=(Span(1.0, 99.0),)), "is not inside the utterance"),
        (lambda plan: plan.but(insertions=(Insertion(99.0, 1.0),)), "is not inside the utterance"),
        (lambda plan: None, "plan() returned NoneType"),
    ],
)
def test_faults_of_the_plan_are_found(wrong: Any, text: str) -> None:
    def plan(self: Edit, utterance: Utterance) -> Any:
        return wrong(Edit.plan(self, utterance))

    assert text in failures(faulty(plan=plan))["plans_well"]


def test_a_wrapper_that_loses_the_inner_label_is_found() -> None:
    class Around(Edit):
        """Carry out another edit."""

        inner: AnyEdit = Sound()
        """Which."""

        def prompt(self, utterance: Utterance) -> Prompt:
            return self.inner.prompt(utterance)

    assert "make it by Plan.inside()" in failures(Around)["plans_well"]

    class Inside(Around):
        """Carry out another edit, with its plan."""

        def plan(self, utterance: Utterance) -> Plan:
            whole = (Span(0.0, utterance.seconds),)
            return Plan.inside(self.inner.plan, whole, utterance, name=self.name)

    assert "plans_well" not in failures(Inside)


def test_a_composite_is_checked_as_a_chain() -> None:
    class Twice(Edit):
        """Do it twice."""

        def expand(self, utterance: Utterance) -> Chain:
            return Chain([Sound()] * 2)

    assert failures(Twice) == {}

    class Restless(Twice):
        """Do it often."""

        def expand(self, utterance: Utterance) -> Chain:
            return Chain([Sound()] * int(DRAW.integers(1, 1000)))

    assert "two calls of expand() differ" in failures(Restless)["expands_well"]


def test_faults_on_odd_input_are_found() -> None:
    def refuse_short(u: Utterance, rng: np.random.Generator) -> Rendered:
        if u.seconds < 0.5:
            raise ValueError("too short for the filter")
        return Rendered(u)

    found = failures(rendering(refuse_short))
    assert "ValueError: too short" in found["survives_odd_input"]

    def say_at_length(u: Utterance, rng: np.random.Generator) -> Rendered:
        if u.seconds < 0.5:
            raise StepeditError("too short\nfor the filter")
        return Rendered(u)

    assert "several lines" in failures(rendering(say_at_length))["survives_odd_input"]


def test_faults_of_the_prompt_are_found() -> None:
    found = failures(faulty(prompt=lambda self, u: Prompt.edit("Level {level}.\n")))
    assert "{level} is left unfilled" in found["prompts_well"]
    draw = np.random.default_rng(0)
    found = failures(faulty(prompt=lambda self, u: Prompt.edit(f"{draw.random()}\n")))
    assert "two calls of prompt() differ" in found["prompts_well"]
    found = failures(faulty(prompt=lambda self, u: "text"))
    assert "prompt() returned str" in found["prompts_well"]

    class Forgetful(Sound):
        """Forget the words."""

        def needs_transcript(self, route: Route) -> bool:
            return route == "llm"

    assert "the prompt lacks the transcript" in failures(Forgetful)["prompts_well"]

    class Discreet(Forgetful):
        """Need the words and do not say them."""

        def shows_transcript(self) -> bool:
            return False

    assert "prompts_well" not in failures(Discreet)


def test_faults_of_the_class_are_found() -> None:
    class Undescribed(Sound):
        """Say nothing."""

        other: int = 3

    assert "Undescribed".lower() in failures(Undescribed)["is_described"]

    class BADName(Sound):
        """Have a bad name."""

        name = "Bad-Name"

    assert "is not snake_case" in failures(BADName)["has_a_good_name"]

    class Lenient(Sound, extra="ignore"):
        """Take anything."""

    assert "was taken as" in failures(Lenient)["refuses_wrong_parameters"]

    class Unhashable(Sound):
        """Hold a list."""

        parts: list[int] = Field(default=[1])
        """Parts."""

    assert "not hashable" in failures(Unhashable)["is_frozen"]

    class Needy(Sound):
        """Need a parameter."""

        must: int
        """Must."""

    assert "nothing to try; bring cases" in failures(Needy)["has_something_to_try"]


class Builder(PairBuilder):
    """Pairs with a fault that a test chooses."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        yield self.make(job.items[0].read(), context)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda u, c: EditPair(u, u, Sound(), 8.0), "source and target are the same"),
        (
            lambda u, c: EditPair(u, u.replace(samples=u.samples / 2), Sound(), 2.0),
            "margin 2.0 is below its minimum",
        ),
        (
            lambda u, c: EditPair(
                u, u.replace(samples=u.samples / 2, transcript="x"), Sound(), 8.0
            ),
            "the words change",
        ),
        (
            lambda u, c: EditPair(u, u.replace(samples=u.samples * 0), Sound(), 8.0),
            "target: the recording is digital silence",
        ),
        (
            lambda u, c: EditPair(
                u, u.replace(samples=u.samples * np.float32(DRAW.random())), Sound(), 8.0
            ),
            "same corpus and seed, other pairs",
        ),
        (lambda u, c: "pair", "yielded str"),
    ],
)
def test_faults_of_a_pair_builder_are_found(make: Any, text: str) -> None:
    assert text in failures(Sound, pairs=Builder(make))["builds_good_pairs"]


def test_builder_that_rejects_all() -> None:
    registry = registry_of(Sound, pairs=Builder(lambda u, c: Rejected("too quiet")))
    results = {result.check: result for result in run_contract(Sound, registry)}
    assert results["builds_good_pairs"].status == "skipped"
    assert "too quiet" in results["builds_good_pairs"].text


class Judged(Scorer):
    """A scorer with a fault that a test chooses."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        return Prepared(add_noise(clean, 5, seed=int(rng.integers(99))), clean)

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        verdict = self.rule(prepared, output, measures)
        return verdict if isinstance(verdict, Score) else Score(bool(verdict))


CASES = [Case(id="a", edit=Sound(), audio="speech:surpassed")]


def scorer_failures(rule: Any) -> dict[str, str]:
    return failures(Sound, scorer=Judged(rule), cases=CASES)


def test_a_sound_scorer_passes() -> None:
    assert scorer_failures(lambda p, out, m: out.digest == p.reference.digest) == {}


def test_faults_of_a_scorer_are_found() -> None:
    found = scorer_failures(lambda p, out, m: True)
    assert "the untouched input reaches the target" in found["scores_untouched_input_low"]
    found = scorer_failures(lambda p, out, m: out.digest == p.source.digest)
    assert "the input scores higher" in found["scores_the_reference_higher"]
    found = scorer_failures(lambda p, out, m: Score(False, {"x": float("nan")}))
    assert "x is nan; give None" in found["scores_untouched_input_low"]

    def zero_on_failure(prepared: Prepared, output: Utterance, measures: Measures) -> bool:
        try:
            measures.median_f0(output)
        except StepeditError:
            return False
        return output.digest == prepared.source.digest

    found = scorer_failures(zero_on_failure)
    assert "changes the verdict to False" in found["leaves_failures_unscored"]


def test_a_scorer_that_ignores_its_seed_is_found() -> None:
    class Drifting(Judged):
        def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
            return Prepared(add_noise(clean, 5, seed=int(DRAW.integers(10**9))))

    found = failures(Sound, scorer=Drifting(lambda p, o, m: False), cases=CASES)
    assert "prepare() ignores its rng's seed" in found["scores_untouched_input_low"]


def test_faults_of_cases_are_found() -> None:
    twice = [CASES[0], CASES[0].model_copy(update={"audio": "speech:garden"})]
    assert "ids occur twice" in failures(Sound, cases=twice)["brings_good_cases"]
    absent = [Case(id="a", edit=Sound(), audio="speech:nobody")]
    assert "no packaged speech 'nobody'" in failures(Sound, cases=absent)["has_something_to_try"]


def test_a_contract_without_edits_says_what_to_set() -> None:
    class Empty(EditContract):
        pass

    with pytest.raises(TypeError, match="sets neither edits nor edit_class"):
        Empty.subject()
