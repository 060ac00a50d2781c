from __future__ import annotations

import json

import numpy as np
import pytest

from stepedit_core.chain.chain import Chain
from stepedit_core.chain.validation import choose_route
from stepedit_core.edit import Rendered
from stepedit_core.errors import (
    EditError,
    EngineError,
    InvalidChainError,
    RouteError,
    StepeditError,
)
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import FakeEngine, silence, speech_like
from stepedit_core.utterance import Span, Utterance
from tests.toy_edits import Burst, Gain, Hiss, Recite, Vanish, Within

pytestmark = pytest.mark.usefixtures("toys")


def test_a_chain_is_like_a_list() -> None:
    chain = Chain([Gain(db=-1), Hiss()])
    assert len(chain) == 2
    assert chain[0] == Gain(db=-1)
    assert chain[1:] == Chain([Hiss()])
    assert list(chain.__add__([Gain()])) == [Gain(db=-1), Hiss(), Gain()]
    assert chain + Chain([Gain()]) == Chain([Gain(db=-1), Hiss(), Gain()])
    assert hash(chain) == hash(Chain([Gain(db=-1), Hiss()]))
    assert chain != [Gain(db=-1), Hiss()]
    assert "Gain(db=-1.0)" in repr(chain)


def test_iterations_unroll_and_nest() -> None:
    inner = Chain([Gain(db=-1)], iterations=2)
    chain = Chain([inner, Hiss()], iterations=2)
    assert [edit.name for edit in chain.flat()] == ["gain", "gain", "hiss"] * 2
    assert list((inner * 3).flat()) == [Gain(db=-1)] * 6
    assert list(Chain([Gain()] * 3).flat()) == [Gain()] * 3
    assert list((inner + Chain([Hiss()])).flat()) == [Gain(db=-1), Gain(db=-1), Hiss()]
    assert "iterations=2" in repr(inner)


@pytest.mark.parametrize("iterations", [0, -1, True, 1.5])
def test_iterations_are_a_whole_number(iterations: int) -> None:
    with pytest.raises(InvalidChainError, match=r"whole number from 1"):
        Chain([Gain()], iterations=iterations)


def test_a_chain_that_never_ends_is_refused_at_once(speech: Utterance) -> None:
    with pytest.raises(InvalidChainError, match=r"has 2000000000 steps; 10000 is the most"):
        Chain([Chain([Gain(), Hiss()], iterations=10**6)], iterations=1000).validate(speech)


def test_json_that_is_nested_without_end_is_refused() -> None:
    for opening, closing in (("[", "]"), ('{"edits": [', "]}")):
        text = '{"schema_version": 1, "edits": [' + opening * 9000 + closing * 9000 + "]}"
        with pytest.raises(
            InvalidChainError, match=r"not a chain: .*(recursion|nested too deeply)"
        ):
            Chain.from_json(text)


def test_items_are_edits() -> None:
    with pytest.raises(InvalidChainError, match=r"item 2 is str"):
        Chain([Gain(), "hiss"])  # type: ignore[list-item]
    for wrong in (Gain(), "gain", 5):
        with pytest.raises(
            InvalidChainError, match=r"takes a list of edits, got .*Chain\(\[...\]\)"
        ):
            Chain(wrong)  # type: ignore[arg-type]


def test_data_of_one_edit_is_a_chain() -> None:
    assert Chain.from_data(Gain(db=2).to_data()) == Chain([Gain(db=2)])
    with pytest.raises(InvalidChainError, match=r"step 1: gain: no parameter 'dB'"):
        Chain.from_json('{"edit": "gain", "dB": 2}')


def test_an_edit_can_be_added() -> None:
    assert Chain([Gain()]) + Hiss() == Chain([Gain(), Hiss()])
    assert Chain([Gain()], iterations=2) + Hiss() == Chain([Chain([Gain()], iterations=2), Hiss()])


def test_json_round_trip_with_nesting() -> None:
    inner = Chain([Within(inner=Gain(db=2), spans=(Span(0.1, 0.2),))], iterations=2)
    chain = Chain([Recite(words="é, ok"), inner], iterations=3)
    data = json.loads(chain.to_json())
    assert data["schema_version"] == 1
    assert data["edits"][1]["iterations"] == 2
    assert "schema_version" not in data["edits"][1]
    assert Chain.from_json(chain.to_json()) == chain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "not JSON"),
        ("[1]", "a chain is a JSON object with a list under 'edits' .*, got a list"),
        ("null", "got null"),
        ('{"edits": {"edit": "gain"}}', "got an object there"),
        ("{}", "a list under 'edits'.*, got null there"),
        ('{"schema_version": 99, "edits": []}', "schema version 99, this stepedit reads up to 1"),
        ('{"schema_version": true, "edits": []}', "schema_version"),
        ('{"schema_version": 1}', "list under 'edits'"),
        ('{"schema_version": 1, "edits": [], "extra": 1}', "unknown key 'extra'; a chain is"),
        ('{"schema_version": 1, "edits": ["gain"]}', "step 1: an edit is an object .*, got a text"),
        ('{"schema_version": 1, "edits": [{"edit": "gian"}]}', "step 1: unknown edit 'gian'"),
        ('{"schema_version": 1, "edits": [{"edit": "gain", "db": 99}]}', "step 1: gain: db"),
        (
            '{"schema_version": 1, "edits": [{"edit": "gain"}, {"edits": [{"edit": "nix"}]}]}',
            "step 2: step 1: unknown edit 'nix'",
        ),
        ('{"schema_version": 1, "edits": [], "iterations": 0}', "whole number"),
    ],
)
def test_wrong_chain_files_name_the_place(text: str, message: str) -> None:
    with pytest.raises(InvalidChainError, match=message):
        Chain.from_json(text)


def test_dsp_steps_run_without_an_engine(speech: Utterance) -> None:
    seen = []
    result = Chain([Gain(db=-6), Gain(db=-6)])(speech, on_step=seen.append)
    expected = speech.samples * np.float32(10 ** (-12 / 20))
    assert np.allclose(result.utterance.samples, expected, atol=1e-6)
    assert [step.route for step in result.steps] == ["dsp", "dsp"]
    assert [step.engine for step in result.steps] == [None, None]
    assert list(result.steps) == seen
    assert result.steps[0].details == {"db": -6.0}
    assert result.steps[0].plugin.name == "toys"


def test_auto_prefers_the_engine_and_falls_to_dsp_by_rule(
    speech: Utterance, engine: FakeEngine
) -> None:
    result = Chain([Hiss(), Gain()])(speech, engine)
    assert [(step.route, step.engine) for step in result.steps] == [("llm", "fake"), ("dsp", None)]
    assert result.steps[0].codes is not None
    assert result.steps[1].codes is None


def test_an_engine_may_prefer_a_route(speech: Utterance) -> None:
    class Shy(FakeEngine):
        def preferred_route(self, edit: object) -> str:
            return "dsp"

    assert choose_route(Hiss(), Shy()) == "dsp"
    assert choose_route(Recite(words="a"), Shy()) == "llm"
    assert choose_route(Hiss(), Shy(), "llm") == "llm"


def test_same_seed_same_result_and_steps_differ(speech: Utterance) -> None:
    chain = Chain([Hiss(), Hiss()])
    first, again, other = chain(speech, seed=1), chain(speech, seed=1), chain(speech, seed=2)
    assert first.utterance.digest == again.utterance.digest
    assert first.utterance.digest != other.utterance.digest
    noise_1 = first.steps[0].utterance.samples - speech.samples
    noise_2 = first.steps[1].utterance.samples - first.steps[0].utterance.samples
    assert not np.allclose(noise_1, noise_2, atol=1e-3)


def test_the_llm_route_sends_prompt_codes_and_length(speech: Utterance, engine: FakeEngine) -> None:
    result = Chain([Recite(words="new words")])(speech, engine, seed=4)
    request = engine.requests[0]
    assert "You came back at last!" in request.prompt.text
    assert request.codes == engine.encode([speech])[0]
    assert request.length_ratio == 2.0
    assert result.utterance.transcript == "new words"
    assert result.utterance.seconds == pytest.approx(2 * speech.seconds, abs=0.2)
    assert result.utterance.sample_rate == 24_000


def test_codes_can_be_carried_instead_of_audio(speech: Utterance) -> None:
    carried, encoded = FakeEngine(), FakeEngine()
    chain = Chain([Hiss(), Hiss()])
    result = chain(speech, carried, carry="codes")
    chain(speech, encoded, carry="audio")
    assert carried.requests[1].codes is result.steps[0].codes
    assert encoded.requests[1].codes is not None


def test_free_spans_leave_the_rest_bit_identical(speech: Utterance, engine: FakeEngine) -> None:
    edit = Within(inner=Hiss(), spans=(Span(0.3, 0.8),))
    result = Chain([edit])(speech, engine)
    details = result.steps[0].details
    ((start, end),) = details["output_spans"]
    assert 0.3 <= start < end <= 0.8 + 0.12
    before, after = round(start * 24_000), round(end * 24_000)
    out = result.utterance.samples
    assert np.array_equal(out[:before], speech.samples[:before])
    tail = len(out) - after
    assert np.array_equal(out[after:], speech.samples[len(speech.samples) - tail :])
    assert not np.array_equal(out[before:after], speech.samples[before:after])


@pytest.mark.parametrize(
    ("chain", "route", "message"),
    [
        (Chain(), "auto", "the chain is empty"),
        (Chain([Gain(), Recite(words="a")]), "auto", "step 2, recite: .*needs an engine"),
        (
            Chain([Gain()]),
            "llm",
            r"step 1, gain: gain has no llm route: Gain defines no prompt\(\)",
        ),
        (Chain([Recite(words="a")]), "dsp", "recite has no dsp route"),
        (Chain([Hiss()]), "llm", "give one with engine= or --engine"),
    ],
)
def test_a_chain_is_refused_before_anything_runs(
    speech: Utterance, chain: Chain, route: str, message: str
) -> None:
    seen: list[object] = []
    with pytest.raises(InvalidChainError, match=message):
        chain(speech, route=route, on_step=seen.append)  # type: ignore[arg-type]
    assert not seen


def test_missing_words_are_refused_with_the_cure(speech: Utterance, engine: FakeEngine) -> None:
    mute = speech.replace(transcript=None)
    chain = Chain([Gain(), Recite(words="b")])
    with pytest.raises(InvalidChainError, match=r"step 2, recite: .*transcript= or --text"):
        chain(mute, engine)
    words_come_from_a_step = Chain([Recite(words="")])
    with pytest.raises(InvalidChainError, match=r"needs the transcript"):
        (words_come_from_a_step + Chain([Recite(words="c")]))(speech, engine)


def test_what_no_edit_can_work_on_is_refused() -> None:
    with pytest.raises(InvalidChainError, match=r"digital silence"):
        Chain([Gain()])(silence())


def test_an_edit_that_does_not_fit_is_refused_at_once_or_at_its_step(
    speech: Utterance, engine: FakeEngine
) -> None:
    late = Within(inner=Hiss(), spans=(Span(0.1, 99.0),))
    with pytest.raises(InvalidChainError, match=r"step 1, within: span"):
        Chain([late])(speech, engine)
    with pytest.raises(EditError, match=r"step 2, within \(\(local\) 0\): span") as caught:
        Chain([Hiss(), late])(speech, engine)
    assert len(caught.value.steps) == 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Burst(), r"step 2, burst \(\(local\) 0\): RuntimeError: it burst"),
        (Vanish(), "step 2, vanish .*nothing is left"),
    ],
)
def test_a_failing_step_keeps_the_finished_ones(
    speech: Utterance, edit: Burst | Vanish, message: str
) -> None:
    with pytest.raises(EditError, match=message) as caught:
        Chain([Gain(), edit, Gain()])(speech)
    assert [step.edit.name for step in caught.value.steps] == ["gain"]


def test_a_failing_engine_keeps_the_finished_steps(speech: Utterance) -> None:
    with pytest.raises(EditError, match=r"step 2, hiss .*as asked") as caught:
        Chain([Hiss(), Hiss()])(speech, FakeEngine(fail_after=1))
    assert len(caught.value.steps) == 1


def test_then_goes_on_branches_and_undoes(speech: Utterance, engine: FakeEngine) -> None:
    start = Chain([Hiss(), Gain(db=-6)])(speech, engine, seed=5)
    longer = start.then(Hiss())
    straight = Chain([Hiss(), Gain(db=-6), Hiss()])(speech, FakeEngine(), seed=5)
    assert longer.utterance.digest == straight.utterance.digest
    assert longer.steps[:2] == start.steps
    branch = start.then(Chain([Gain(db=3)]), after=1)
    assert [step.edit.name for step in branch.steps] == ["hiss", "gain"]
    undone = start.then(Gain(db=0), after=0)
    assert len(undone.steps) == 1
    with pytest.raises(InvalidChainError, match=r"step 3, recite: recite has no dsp route"):
        start.then(Recite(words="a"), route="dsp")
    for after in (3, -1):
        with pytest.raises(InvalidChainError, match=f"after step {after} of 2"):
            start.then(Gain(), after=after)


def test_a_report_is_json_and_says_who_did_what(speech: Utterance, engine: FakeEngine) -> None:
    report = json.loads(json.dumps(Chain([Hiss(), Gain()])(speech, engine, seed=9).report()))
    assert report["seed"] == 9
    assert report["engine"]["name"] == "fake"
    assert report["source"]["sha256"] == speech.digest
    first, second = report["steps"]
    assert (first["route"], first["engine"]) == ("llm", "fake")
    assert second["plugin"] == {"name": "toys", "distribution": "(local)", "version": "0"}
    assert second["edit"] == {"edit": "gain", "db": -6.0}
    assert Chain([Gain()])(speech).report()["engine"] is None


def test_hooks_wrap_and_are_notified(toys: Registry, speech: Utterance) -> None:
    import pluggy

    from stepedit_core.chain.chain import ChainResult
    from stepedit_core.edit import Outcome
    from stepedit_core.hookspecs import hookimpl

    class Watermark:
        finished: ChainResult | None = None

        @hookimpl(wrapper=True)
        def stepedit_apply(self) -> "pluggy.Result[Outcome]":  # noqa: UP037
            outcome = yield
            return Outcome(outcome.utterance.replace(language="zz"), outcome.route)

        @hookimpl
        def stepedit_chain_finished(self, result: ChainResult) -> None:
            self.finished = result

    mark = Watermark()
    toys.register(mark, "mark")
    result = Chain([Gain()])(speech)
    assert result.utterance.language == "zz"
    assert mark.finished is result


def test_a_hook_that_returns_nonsense_is_an_error(toys: Registry, speech: Utterance) -> None:
    from stepedit_core.hookspecs import hookimpl

    class Wrong:
        @hookimpl
        def stepedit_apply(self) -> object:
            return speech

    toys.register(Wrong(), "wrong")
    with pytest.raises(EditError, match=r"returned Utterance, not Outcome"):
        Chain([Gain()])(speech)


def test_no_route_at_all_names_both_reasons() -> None:
    from stepedit_core.edit import Edit

    class Nothing(Edit):
        """Do nothing."""

    with pytest.raises(StepeditError, match=r"no route: .*llm route.*; .*dsp route"):
        choose_route(Nothing(), None)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, r"render\(\) returned NoneType, not Rendered"),
        (SystemExit(7), r"SystemExit: 7"),
        (MemoryError(), r"MemoryError"),
        (
            Rendered(silence(0.3), {"gain": np.float32(1)}),
            r"details of render\(\) are no JSON data \(.*float32.*make NumPy's numbers float",
        ),
    ],
)
def test_an_edit_that_misbehaves_is_named(
    speech: Utterance, monkeypatch: pytest.MonkeyPatch, answer: object, message: str
) -> None:
    def render(self: Gain, utterance: Utterance, rng: np.random.Generator) -> object:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(Gain, "render", render)
    with pytest.raises(EditError, match=rf"step 2, gain .*{message}") as caught:
        Chain([Hiss(), Gain()])(speech)
    assert len(caught.value.steps) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"utterance": "in.wav"}, "edits an Utterance, got str; use Utterance.read"),
        ({"engine": "folder"}, "a loaded engine, got str; use Engine.load"),
        ({"route": "magic"}, "route is one of .* got 'magic'"),
        ({"carry": "mel"}, "carry is one of .* got 'mel'"),
        ({"seed": "7"}, "seed is a whole number, got '7'"),
        ({"seed": None}, "seed is a whole number"),
        ({"accept": "normal"}, r"accept is an Accept, such as Accept.of\('normal'\)"),
        ({"until": "gain"}, "until is one of .* got 'gain'"),
        ({"on_step": 3}, "on_step is a function, got 3"),
    ],
)
def test_wrong_arguments_are_named(
    speech: Utterance, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidChainError, match=message):
        Chain([Gain()])(**{"utterance": speech, **arguments})  # type: ignore[arg-type]


def test_misspelt_options_are_not_lost(speech: Utterance) -> None:
    with pytest.raises(TypeError, match=r"a chain has no option 'sed'"):
        Chain([Gain()])(speech, sed=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"no option 'rout'; did you mean 'route'"):
        Chain([Gain()])(speech).then(Hiss(), rout="dsp")
    with pytest.raises(InvalidChainError, match=r"takes a chain or an edit, got list"):
        Chain([Gain()])(speech).then([Hiss()])  # type: ignore[arg-type]


def test_an_engine_is_not_asked_to_edit_without_the_words(
    speech: Utterance, engine: FakeEngine
) -> None:
    with pytest.raises(RouteError, match=r"recite: the llm route needs the transcript"):
        apply_by_llm([Recite(words="a")], [speech.replace(transcript=None)], engine, [0])
    with pytest.raises(EngineError, match=r"2 edits for 1 utterance:"):
        apply_by_llm([Hiss(), Hiss()], [speech], engine, [0])


def test_what_unrolls_to_nothing_takes_no_time() -> None:
    empty = Chain.from_json(
        '{"iterations": 1000000000, "edits": [{"iterations": 1000000000, "edits": []}]}'
    )
    assert list(empty.flat()) == []
    wide = Chain([Gain(db=-1)])
    for _ in range(60):
        wide = Chain([wide, wide])
    with pytest.raises(InvalidChainError, match=f"the chain has {2**60} steps; 10000 is the most"):
        wide.validate(speech_like(0.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"edits": [], "edits": []}', "the key 'edits' is there twice"),
        ('{"edits": [{"edit": "gain", "db": NaN}]}', "NaN is no number"),
        ('{"edits": [], "iterations": true}', "a whole number from 1, got True"),
    ],
)
def test_json_that_says_two_things_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidChainError, match=message):
        Chain.from_json(text)


def test_a_chain_without_a_version_is_of_the_present_one() -> None:
    assert Chain.from_json('{"edits": [{"edit": "gain"}]}') == Chain([Gain()])
