from __future__ import annotations

import types
from collections.abc import Iterator

import numpy as np
import pytest
import stepedit_masked
from pydantic import ValidationError
from stepedit_emotion import Emotion
from stepedit_masked import Masked
from stepedit_masked.pairs import MaskedPairs
from stepedit_masked.scorer import MaskedScorer, compare_outside
from stepedit_paralinguistic import Paralinguistic
from stepedit_speed import Speed

from stepedit_core.chain.running import carry_out
from stepedit_core.edit import Edit, Rendered, Route
from stepedit_core.errors import RouteError, StepeditError
from stepedit_core.hookspecs import hookimpl
from stepedit_core.pairs import BuildContext, CorpusItem, EditPair, PairBuilder, PairJob, Rejected
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.scoring import Case, Measures, Prepared, Score, Scorer
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.fake_measures import FakeMeasures
from stepedit_core.utterance import Span, Utterance


class Warp(Edit):
    """Play everything quieter and at another length, pitch and all."""

    factor: float = 1.0

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Warp it: {utterance.transcript}\n")

    def plan(self, utterance: Utterance) -> Plan:
        return super().plan(utterance).but(length_ratio=self.factor)

    def problem(self, utterance: Utterance) -> str | None:
        return "shorter than 0.1 s" if utterance.seconds < 0.1 else None

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        n = round(len(utterance.samples) * self.factor)
        at = np.linspace(0, max(len(utterance.samples) - 1, 0), n)
        samples = np.interp(at, np.arange(len(utterance.samples)), utterance.samples) * 0.7
        draw = float(rng.random())
        return Rendered(utterance.replace(samples=samples), {"draw": draw})


class HalfRate(Warp):
    """Give the audio back at another rate."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.resample(utterance.sample_rate // 2))


class Say(Edit):
    """Say other words."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.clone("a", "b")

    def transcript_after(self, utterance: Utterance) -> str | None:
        return "other words"


class Words(Warp):
    """Needs the words by the dsp route."""

    def needs_transcript(self, route: Route) -> bool:
        return True


class Nothing(Warp):
    """Leave nothing."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.replace(samples=utterance.samples[:0]))


class WarpPairs(PairBuilder):
    options = {"factor": "how much longer"}  # noqa: RUF012

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        source = job.items[0].read()
        edit = Warp(factor=float(context.options.get("factor", "1.0")))
        if source.seconds < 2:
            yield Rejected("short")
            return
        target = edit.render(source, context.rng).utterance
        yield EditPair(source, target, edit, 8.0, {"factor": edit.factor})


class WarpScorer(Scorer):
    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        return Score(len(output.samples) > 0)


class Toys:
    @hookimpl
    def stepedit_edits(self) -> list[type[Edit]]:
        return [Warp, HalfRate, Say, Words, Nothing]

    @hookimpl
    def stepedit_pair_builder(self, edit: type[Edit]) -> PairBuilder | None:
        return WarpPairs() if edit is Warp else None

    @hookimpl
    def stepedit_scorer(self, edit: type[Edit]) -> Scorer | None:
        return WarpScorer() if edit is Warp else None


@pytest.fixture(autouse=True)
def registry() -> Iterator[Registry]:
    chosen = Registry(disabled=[])
    chosen.register(Toys(), "toys")
    assert isinstance(stepedit_masked, types.ModuleType)
    chosen.register(stepedit_masked, "masked")
    set_registry(chosen)
    yield chosen
    set_registry(None)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


SPANS = [(0.4, 1.0), (1.3, 2.2)]


@pytest.mark.parametrize("name", ["garden", "books", "surpassed"])
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_difference_outside_the_spans_is_exactly_zero(name: str, factor: float, rate: int) -> None:
    source = packaged_speech(name).resample(rate)
    spans = SPANS if source.seconds > 2.5 else SPANS[:1]
    edit = Masked(inner=Warp(factor=factor), spans=spans)
    rendered = edit.render(source, rng())
    outside = compare_outside(source, rendered.utterance, edit.spans)
    assert outside.difference == 0.0
    for span, part in zip(edit.spans, outside.inside, strict=True):
        assert len(part) / rate == pytest.approx(span.seconds * factor, abs=2 / rate)
    assert rendered.utterance.transcript == source.transcript


def test_unordered_spans() -> None:
    edit = Masked(inner=Warp(factor=1.5), spans=SPANS[::-1])
    assert [tuple(span) for span in edit.spans] == SPANS
    details = edit.render(packaged_speech("garden"), rng()).details
    assert details["output_spans"][0] == pytest.approx([0.4, 1.3], abs=1e-3)
    assert details["output_spans"][1] == pytest.approx([1.6, 2.95], abs=1e-3)
    draws = [report["inner"]["draw"] for report in details["spans"]]
    assert draws[0] != draws[1]


def test_a_span_has_a_generator_of_its_own() -> None:
    source = packaged_speech("garden")
    both = Masked(inner=Warp(), spans=SPANS).render(source, rng(5)).details["spans"]
    again = Masked(inner=Warp(), spans=SPANS).render(source, rng(5)).details["spans"]
    first = Masked(inner=Warp(), spans=SPANS[:1]).render(source, rng(5)).details["spans"]
    assert both == again
    assert first[0]["inner"] == both[0]["inner"]


def test_inner_output_at_another_rate() -> None:
    source = packaged_speech("garden")
    rendered = Masked(inner=HalfRate(), spans=[(0.5, 1.0)]).render(source, rng())
    assert rendered.utterance.sample_rate == source.sample_rate
    assert len(rendered.utterance.samples) == len(source.samples)


@pytest.mark.parametrize(
    ("spans", "part"),
    [
        ([], "no span"),
        ([(0.2, 0.1)], "empty"),
        ([(-0.2, 0.1)], "before 0"),
        ([(0.2, 0.23)], "shorter than 40 ms"),
        ([(0.0, 1.0), (0.9, 2.0)], "overlap"),
        ([(0.0, float("inf"))], "finite"),
        ([(float("nan"), 1.0)], "finite"),
    ],
)
def test_bad_spans_are_refused_at_once(spans: list[tuple[float, float]], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        Masked(inner=Warp(), spans=spans)


def test_spans_past_the_end() -> None:
    source = packaged_speech("surpassed")
    edit = Masked(inner=Warp(), spans=[(0.5, 2.5)])
    assert "ends after the utterance (1.783 s)" in str(edit.problem(source))
    with pytest.raises(RouteError, match="after the utterance"):
        edit.render(source, rng())


def test_an_unknown_inner_edit_gets_a_suggestion() -> None:
    with pytest.raises(ValidationError, match="did you mean 'warp'"):
        Masked(inner={"edit": "wrap"}, spans=[(0.0, 1.0)])


def test_edits_that_change_words_are_refused() -> None:
    edit = Masked(inner=Say(), spans=[(0.0, 1.0)])
    assert "say changes the words" in str(edit.problem(packaged_speech("garden")))


def test_what_the_inner_edit_lacks_is_passed_on() -> None:
    assert "say has no dsp route" in str(Masked(inner=Say(), spans=[(0, 1)]).route_problem("dsp"))
    words = Masked(inner=Words(), spans=[(0, 1)])
    assert "words of a span are not known" in str(words.route_problem("dsp"))
    assert words.route_problem("llm") is None
    assert words.needs_transcript("llm") and words.needs_transcript("dsp")
    assert not Masked(inner=Warp(), spans=[(0, 1)]).needs_transcript("llm")


def test_what_the_inner_edit_refuses_names_the_span() -> None:
    source = packaged_speech("garden")
    with pytest.raises(StepeditError, match=r"span \(1, 1.06\): warp: shorter than 0.1 s"):
        Masked(inner=Warp(), spans=[(1.0, 1.06)]).render(source, rng())
    with pytest.raises(StepeditError, match="leaves nothing of the span"):
        Masked(inner=Nothing(), spans=[(1.0, 1.5)]).render(source, rng())


def test_nested_spans_count_from_the_outer_span() -> None:
    source = packaged_speech("garden")
    edit = Masked(inner=Masked(inner=Warp(factor=2.0), spans=[(0.2, 0.5)]), spans=[(0.5, 1.5)])
    assert edit.plan(source).spans == (Span(0.7, 1.0),)
    rendered = edit.render(source, rng()).utterance
    assert compare_outside(source, rendered, [Span(0.7, 1.0)]).difference == 0.0
    assert rendered.seconds == pytest.approx(source.seconds + 0.3, abs=1e-3)
    deep = Masked(inner=Masked(inner=Warp(), spans=[(0.2, 0.5)]), spans=[(0.5, 0.9)])
    assert "masked: span (0.2, 0.5) ends after" in str(deep.problem(source))


def test_sampling_rules() -> None:
    inner = Masked(inner=Warp(factor=2.0), spans=((0.1, 0.5),))
    outer = Masked(inner=inner, spans=((0.2, 0.9),))
    source = packaged_speech("garden")
    assert inner.plan(source).rules == (Warp.name, "masked")
    assert outer.plan(source).rules == (Warp.name, "masked", "masked")


def test_conditioning_label() -> None:
    sad = Masked(inner=Emotion(to="sad"), spans=((0.1, 0.5),))
    source = packaged_speech("garden")
    assert Masked(inner=sad, spans=((0.2, 0.9),)).plan(source).label == "emotion:sad"
    laugh = Paralinguistic(text="You love your home [laugh] and want it to be beautiful.")
    assert laugh.plan(source).label == "paralinguistic:laugh"
    inside = Plan.inside(laugh.plan, [Span(0.1, 2.5)], source, name="masked")
    assert inside.label == "masked" and inside.rules == ("paralinguistic", "masked")


def test_json_round_trip() -> None:
    edit = Masked(inner=Warp(factor=2.0), spans=SPANS)
    assert Masked(**{k: v for k, v in edit.to_data().items() if k != "edit"}) == edit
    assert Masked.model_validate_json(edit.model_dump_json()) == edit


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_llm_route_confines_generation_to_groups_inside(factor: float) -> None:
    source = packaged_speech("garden")
    edit = Masked(inner=Warp(factor=factor), spans=SPANS)
    assert edit.prompt(source).user[0] == f"Warp it: {source.transcript}\n\n"
    engine = FakeEngine()
    outcome = carry_out(edit, source, engine, rng(), "llm", None)
    outside = compare_outside(source, outcome.utterance, edit.spans)
    assert outside.difference == 0.0
    grown = sum(map(len, outside.inside)) / source.sample_rate - 1.5
    assert grown == pytest.approx(1.5 * (factor - 1), abs=0.25)


def items(names: list[str], folder: str) -> list[CorpusItem]:
    made = []
    for name in names:
        path = packaged_speech(name).write(f"{folder}/{name}.wav")
        made.append(CorpusItem(name, str(path), packaged_speech(name).transcript))
    return made


def build(folder: str, options: dict[str, str], **extra: object) -> list[EditPair | Rejected]:
    builder = MaskedPairs()
    jobs = builder.jobs(items(["garden", "books", "surpassed"], folder), options)
    return [
        made
        for number, job in enumerate(jobs)
        for made in builder.build(job, BuildContext(rng(number), options, **extra))  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("factor", ["1.0", "1.25", "0.8"])
def test_pairs_differ_inside_one_span_alone(tmp_path: object, factor: str) -> None:
    options = {"inner": "warp", "inner_options": f"factor={factor}"}
    made = build(str(tmp_path), options)
    pairs = [item for item in made if isinstance(item, EditPair)]
    assert [item.reason for item in made if isinstance(item, Rejected)] == ["short"]
    assert len(pairs) == 2
    for pair in pairs:
        assert isinstance(pair.edit, Masked)
        assert isinstance(pair.edit.inner, Warp)
        assert pair.edit.problem(pair.source) is None
        outside = compare_outside(pair.source, pair.target, pair.edit.spans)
        assert outside.difference == 0.0
        (free,) = pair.details["free_groups"]
        span = pair.edit.spans[0]
        assert span.start == pytest.approx(free["start"] * 0.12)
        assert span.end == pytest.approx(free["stop"] * 0.12)
        assert len(outside.inside[0]) / pair.source.sample_rate == pytest.approx(
            free["length"] * 0.12, abs=1e-4
        )
        ratio = free["length"] / (free["stop"] - free["start"])
        assert ratio == pytest.approx(float(factor), rel=0.35)
        assert pair.margin == 8.0
        assert pair.details["inner"]["factor"] == float(factor)
    again = [item for item in build(str(tmp_path), options) if isinstance(item, EditPair)]
    assert [pair.target.digest for pair in again] == [pair.target.digest for pair in pairs]


def test_codes_of_pairs_can_be_made_identical_outside(tmp_path: object) -> None:
    from stepedit_core.codes import FreeGroups, splice_codes

    engine = FakeEngine()
    options = {"inner": "warp", "inner_options": "factor=1.5"}
    made = build(str(tmp_path), options, engine=engine)
    for pair in (item for item in made if isinstance(item, EditPair)):
        source, target = engine.encode([pair.source, pair.target])
        free = [FreeGroups(**part) for part in pair.details["free_groups"]]
        mixed = splice_codes(source, target, free)
        assert mixed.groups == source.groups + free[0].length - free[0].stop + free[0].start
        assert mixed.slice_groups(0, free[0].start) == source.slice_groups(0, free[0].start)
        after = free[0].start + free[0].length
        assert mixed.slice_groups(after, mixed.groups) == source.slice_groups(
            free[0].stop, source.groups
        )
        # The fake tokenizer hears no context, so that the audio's own codes agree already.
        assert mixed.slice_groups(after, mixed.groups - 1) == target.slice_groups(
            after, mixed.groups - 1
        )


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"inner": "masked"}, "keeps the words"),
        ({"inner": "warp", "inner_options": "speed=2"}, "not a setting of warp"),
        ({"inner": "wrap"}, "did you mean 'warp'"),
    ],
)
def test_builder_refuses_unfit_settings(options: dict[str, str], part: str) -> None:
    with pytest.raises(StepeditError, match=part):
        list(MaskedPairs().jobs([], options))


def score(output: Utterance, source: Utterance, spans: list[tuple[float, float]]) -> object:
    case = Case(id="x", edit=Masked(inner=Warp(), spans=spans), audio="speech:garden")
    scorer = MaskedScorer()
    prepared = scorer.prepare(case, source, rng())
    return scorer.score(case, prepared, output, FakeMeasures())


def test_scorer_outside_and_inside() -> None:
    source = packaged_speech("garden")
    for factor in (1.0, 1.4):
        edited = Masked(inner=Warp(factor=factor), spans=SPANS).render(source, rng()).utterance
        good = score(edited, source, SPANS)
        assert good.reached  # type: ignore[attr-defined]
        assert good.values["inside_length_ratio"] == pytest.approx(factor, abs=0.01)  # type: ignore[attr-defined]
    untouched = score(source, source, SPANS)
    assert untouched.reached is False  # type: ignore[attr-defined]
    assert untouched.values["outside_max_difference"] == 0.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("at", [0.1, 1.15, 3.0])
def test_scorer_measures_the_size_of_damage_outside(at: float) -> None:
    source = packaged_speech("garden")
    edited = Masked(inner=Warp(), spans=SPANS).render(source, rng()).utterance
    samples = edited.samples.copy()
    samples[round(at * source.sample_rate)] += 0.01
    found = score(edited.replace(samples=samples), source, SPANS)
    assert found.reached is False  # type: ignore[attr-defined]
    assert found.values["outside_max_difference"] == pytest.approx(0.01, abs=1e-6)  # type: ignore[attr-defined]


def test_inner_edit_without_scorer() -> None:
    source, edit = packaged_speech("garden"), Masked(inner=Words(), spans=SPANS)
    case = Case(id="x", edit=edit, audio="speech:garden")
    output = Masked(inner=Warp(), spans=SPANS).render(source, rng()).utterance
    found = MaskedScorer().score(case, Prepared(source), output, FakeMeasures())
    assert found.reached is None and "scorer for 'words'" in str(found.unscored)
    assert MaskedScorer().waives(case) == frozenset()


def test_scorer_sees_a_change_in_only_one_of_two_spans() -> None:
    source = packaged_speech("garden")
    edited = Masked(inner=Warp(), spans=SPANS[:1]).render(source, rng()).utterance
    found = score(edited, source, SPANS)
    assert found.reached is False  # type: ignore[attr-defined]
    assert found.values["inside_changed"] == 0.5  # type: ignore[attr-defined]


def test_gentler_is_the_inner_edits() -> None:
    fast = Masked(inner=Speed(rate="more_faster"), spans=SPANS)
    assert fast.gentler() == Masked(inner=Speed(rate="faster"), spans=SPANS)
    assert Masked(inner=Words(), spans=SPANS).gentler() is None
