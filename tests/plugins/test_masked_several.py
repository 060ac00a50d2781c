"""Several edits inside of one region, and regions told by what lies outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stepedit_masked import Masked
from stepedit_redact import Redact
from stepedit_speed import Speed
from stepedit_text import Delete
from stepedit_volume import Volume

from stepedit_core import Chain, Edit, StepeditError, Steps, Utterance, format_edit, parse_edit
from stepedit_core.alignment import Alignment, TimedWord


def _masked(**fields: Any) -> Masked:
    return Masked(**fields)


def _utterance(seconds: float = 3.0, rate: int = 16_000) -> Utterance:
    rng = np.random.default_rng(3)
    samples = (0.1 * rng.standard_normal(round(seconds * rate))).astype(np.float32)
    return Utterance(samples, rate)


def _outside_is_kept(source: Utterance, edited: Utterance, start: float, end: float) -> bool:
    first, rest = round(start * source.sample_rate), len(source.samples) - round(end * 16_000)
    before = np.array_equal(source.samples[:first], edited.samples[:first])
    return before and np.array_equal(source.samples[-rest:], edited.samples[-rest:])


@pytest.mark.parametrize(
    "text",
    [
        "masked:inner=(speed:factor=1.25)(volume:db=-6.0),spans=[[0.5, 1.5]]",
        "masked:inner=(speed:factor=1.25),(volume:db=-6.0),spans=[[0.5, 1.5]]",
        'masked:inner=[{"edit":"speed","factor":1.25},{"edit":"volume","db":-6}],spans=[0.5,1.5]',
    ],
)
def test_several_edits_are_read_and_written(text: str) -> None:
    edit = parse_edit(text)
    assert edit == _masked(inner=[Speed(factor=1.25), Volume(db=-6)], spans=[(0.5, 1.5)])
    assert edit == _masked(inner=Chain([Speed(factor=1.25), Volume(db=-6)]), spans=[(0.5, 1.5)])
    assert isinstance(edit, Masked) and isinstance(edit.inner, Steps)
    assert parse_edit(format_edit(edit)) == edit
    assert Chain.from_json(Chain([edit]).to_json()) == Chain([edit])
    assert [one["edit"] for one in edit.to_data()["inner"]] == ["speed", "volume"]


def test_a_list_of_one_is_the_edit() -> None:
    assert _masked(inner=[Speed(factor=1.25)], spans=[(0, 1)]).inner == Speed(factor=1.25)


@pytest.mark.parametrize(
    ("inner", "why"),
    [("[]", "give at least one edit"), ("(denoise)(shout_at)", "unknown edit 'shout_at'")],
)
def test_what_is_no_list_of_edits_is_refused(inner: str, why: str) -> None:
    with pytest.raises(StepeditError, match=why):
        parse_edit(f"masked:inner={inner},spans=[[0,1]]")


def test_each_edit_gets_what_the_one_before_left_and_all_else_stays() -> None:
    source = _utterance()
    edit = _masked(inner=[Speed(factor=1.25), Volume(db=-12)], spans=[(0.5, 1.5)])
    result = Chain([edit])(source, route="dsp", seed=1)
    edited = result.utterance
    assert edited.seconds == pytest.approx(3.0 - 0.2, abs=0.02)
    assert _outside_is_kept(source, edited, 0.5, 1.5)
    inside = edited.samples[round(0.6 * 16_000) : round(1.2 * 16_000)]
    assert float(np.std(inside)) < 0.5 * float(np.std(source.samples))
    names = [step["edit"]["inner"]["edit"] for step in result.steps[0].details["steps"]]
    assert names == ["speed", "volume"]


def test_several_spans_are_edited_from_the_last() -> None:
    source = _utterance()
    edit = _masked(inner=[Speed(factor=1.25), Volume(db=-6)], spans=[(0.5, 1.0), (2.0, 2.5)])
    edited = Chain([edit])(source, route="dsp", seed=1).utterance
    assert edited.seconds == pytest.approx(3.0 - 0.2, abs=0.04)
    assert _outside_is_kept(source, edited, 0.5, 2.5)
    between = source.samples[16_000 : 2 * 16_000]
    at = round((0.5 + 0.4) * 16_000)
    assert any(
        np.array_equal(between, edited.samples[n : n + len(between)])
        for n in range(at - 400, at + 400)
    )


def test_words_are_looked_for_in_what_is_left_of_the_region() -> None:
    words = tuple(
        TimedWord(text, n / 2, n / 2 + 0.4) for n, text in enumerate(["a", "b", "a", "c", "a", "d"])
    )
    source = _utterance().replace(
        transcript="a b a c a d", alignment=Alignment("a b a c a d", words, "given")
    )
    edit = _masked(inner=[Delete(find="b"), Delete(find="c")], words="b a c")
    result = Chain([edit])(source, route="dsp", seed=1)
    assert result.utterance.transcript == "a a a d"
    with pytest.raises(StepeditError, match="'d' is not said"):
        Chain([_masked(inner=[Delete(find="b"), Delete(find="d")], words="b a c")])(
            source, route="dsp", seed=1
        )


@pytest.mark.parametrize("inner", [[Redact(words=("c",))], [Redact(words=("c",)), Volume(db=-6)]])
def test_records_keep_no_words_that_are_hidden(inner: list[Edit]) -> None:
    shown = _masked(inner=inner, words="a secret c").public_data()
    assert "secret" not in str(shown) and shown["words"] == "withheld"
    assert "'c'" not in str(shown) and '"c"' not in str(shown)
    assert _masked(inner=Volume(db=-6), words="a b c").public_data()["words"] == "a b c"


def test_margins_are_counted_from_both_ends() -> None:
    source = _utterance()
    edited = Chain([_masked(inner=Volume(db=-12), margins=(0.5, 1.0))])(source, seed=1).utterance
    assert _outside_is_kept(source, edited, 0.5, 2.0)
    assert not np.array_equal(source.samples, edited.samples)
    with pytest.raises(StepeditError, match="leave nothing of 3 s"):
        Chain([_masked(inner=Volume(db=-12), margins=(2.0, 1.0))])(source, seed=1)


def test_one_number_is_one_sentence() -> None:
    assert parse_edit("masked:inner=denoise,sentences=2").to_data()["sentences"] == [2]
