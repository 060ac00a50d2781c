from __future__ import annotations

import re

import pytest

from stepedit_core.chain.notation import format_edit, parse_edit, split_params
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError, UnknownEditError
from stepedit_core.registry.registry import Registry
from stepedit_core.utterance import Span
from tests.toy_edits import Burst, Gain, Hiss, Recite, Within

pytestmark = pytest.mark.usefixtures("toys")


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("burst", Burst()),
        ("gain:db=-3.5", Gain(db=-3.5)),
        (" gain : db = 2 ", None),
        ("hiss:amount=much", Hiss(amount="much")),
        ("recite:words=Well, hello there, you", Recite(words="Well, hello there, you")),
        ("recite:words=42", Recite(words="42")),
        ("recite:words=true", Recite(words="true")),
        ('recite:words="a, db=3"', Recite(words="a, db=3")),
        ('recite:words="tab\\tand \\"quotes\\""', Recite(words='tab\tand "quotes"')),
        ("recite:words=[Laughter] so", Recite(words="[Laughter] so")),
        ("recite:words=[Laughter]", Recite(words="[Laughter]")),
        ("recite:words=(aside) so", Recite(words="(aside) so")),
        ("recite:words=a=b", Recite(words="a=b")),
        ("within:inner=hiss", Within(inner=Hiss())),
        (
            "within:inner=hiss:amount=much,spans=[[0.4,1.2]]",
            Within(inner=Hiss(amount="much"), spans=(Span(0.4, 1.2),)),
        ),
        (
            "within:spans=[[0,1],[2,3]],inner=(recite:words=one (two), three)",
            Within(inner=Recite(words="one (two), three"), spans=(Span(0, 1), Span(2, 3))),
        ),
        (
            "within:inner=(within:inner=(gain:db=1),spans=[[0,1]])",
            Within(inner=Within(inner=Gain(db=1), spans=(Span(0, 1),))),
        ),
        (
            'within:inner={"edit":"gain","db":1},spans=[[0,1]]',
            Within(inner=Gain(db=1), spans=(Span(0, 1),)),
        ),
        ('{"edit": "gain", "db": 1}', Gain(db=1)),
    ],
)
def test_parse(text: str, edit: Edit | None) -> None:
    if edit is None:
        with pytest.raises(UnknownEditError):
            parse_edit(text)
        return
    assert parse_edit(text) == edit
    assert parse_edit(format_edit(edit)) == edit
    assert str(edit) == repr(edit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gian", "unknown edit 'gian'; did you mean 'gain'"),
        ("gain:", "gain: parameters are missing after the colon"),
        ("gain:-3", "gain: expected param=value at '-3'"),
        ("gain:db=1,db=2", "gain: parameter 'db' is given twice"),
        ("gain:db=loud", "gain: db: Input should be a valid number.*'loud'"),
        ("gain:level=1", "gain: no parameter 'level'; it takes db"),
        ("within:inner=(gain:db=1", "within: a bracket is not closed"),
        ("within:inner=nothing", "within: unknown edit 'nothing'"),
        ('{"edit": "gain"', "not JSON"),
        ("", "unknown edit ''"),
    ],
)
def test_wrong_text_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(StepeditError, match=message) as caught:
        parse_edit(text)
    assert "\n" not in str(caught.value)


def test_defaults_are_left_out() -> None:
    assert format_edit(Gain()) == "gain"
    assert format_edit(Within(inner=Gain(db=1.0))) == "within:inner=(gain:db=1.0)"


@pytest.mark.parametrize(
    "words", ['"', "a\nb", " padded ", "x, y=1", "{", "[", "(", "((a)", "", "é 你"]
)
def test_any_words_survive(words: str) -> None:
    edit = Recite(words=words)
    assert parse_edit(format_edit(edit)) == edit
    nested = Within(inner=edit, spans=(Span(0, 1),))
    assert parse_edit(format_edit(nested)) == nested


def test_split_keeps_raw_values(toys: Registry) -> None:
    assert split_params("a=1, b = [1, 2] ,c=x, y") == {"a": "1", "b": "[1, 2]", "c": "x, y"}
    assert split_params("") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gain:db=true", "db: true and false are no values of it"),
        ("gain:db=1_5", "db: '1_5' is no number; write it without '_'"),
        ('{"edit": "gain", "db": "+1_0.5"}', "db: '+1_0.5' is no number"),
        ('{"edit": "gain", "db": false}', "db: true and false are no values of it"),
        ("within:inner=(gain:db=1.2),spans=[[true,2]]", "spans: true and false are no values"),
        ("gain:db=NaN", "NaN is no number"),
        ("gain:db=nan", "finite number"),
        ("gain:db=-Infinity", "-Infinity is no number"),
        ("within:inner=(gain:db=1.2),spans=[[NaN,1]]", "NaN is no number"),
        ('{"edit": "gain", "db": 1.1, "db": 1.2}', "the key 'db' is there twice"),
        (
            'within:inner={"edit": "gain", "db": 1.1, "db": 1.2},spans=[[0,1]]',
            "the key 'db' is there twice",
        ),
        (f"hiss:amount={'x' * 30_000}", "amount has 30000 characters; 20000 are the most"),
        ("x" * 100_000, "an edit of 100000 characters"),
    ],
)
def test_values_that_would_be_taken_for_others(text: str, message: str) -> None:
    with pytest.raises(StepeditError, match=re.escape(message)) as caught:
        parse_edit(text)
    assert len(str(caught.value)) < 400
