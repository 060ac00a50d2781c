from __future__ import annotations

import re
from typing import Literal

import pytest

from stepedit_core import Edit
from stepedit_core.errors import PluginError
from stepedit_core.phrases import FieldNames, Named, names_problem, read_phrases

GOOD = """
[dim]
does = { en = "dim it", zh = "变暗" }
[[dim.ask]]
en = ["dimmer"]
[[dim.example]]
say = "dimmer"
edit = "dim"
"""


NAMED = GOOD.replace(
    "[[dim.ask]]",
    """[dim.fields]
to = { zh = "亮度", about = { zh = "变到多暗。" }, values = { low = { zh = "低" } } }
where = { zh = "哪里" }
[dim.slots.to]
kind = "choice"
choices.low = { zh = ["(昏|暗)"] }
choices.lower = { zh = ["[很](更暗(淡|色)?|漆黑)的?[样子]?"] }
[[dim.ask]]""",
)


class Dim(Edit):
    """Dim it."""

    to: Literal["low", "lower"] | None = None
    where: tuple[Literal["left", "right"], ...] = ()
    how: str = "quickly"


def test_fields_and_values_have_names_and_values_fall_back_on_phrases() -> None:
    phrases = read_phrases(NAMED, "dim")
    assert names_problem(phrases, Dim) is None
    values = {"low": Named(zh="低"), "lower": Named(zh="更暗")}
    to = FieldNames(zh="亮度", about=Named(zh="变到多暗。"), values=values)
    assert phrases.named_fields() == {"to": to, "where": FieldNames(zh="哪里")}
    assert read_phrases(GOOD, "dim").named_fields() == {}


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ('too = { zh = "暗" }', r"dim\.fields\.too: dim has no parameter 'too' \(to, where, how\)"),
        ('to = { values = { dark = { zh = "暗" } } }', r"'dark' is no value of to \(low, lower\)"),
        ('where = { values = { up = { zh = "上" } } }', r"'up' is no value of where"),
    ],
)
def test_names_of_what_an_edit_has_not_are_one_line(names: str, why: str) -> None:
    text = GOOD.replace("[[dim.ask]]", f"[dim.fields]\n{names}\n[[dim.ask]]")
    problem = names_problem(read_phrases(text, "dim"), Dim)
    assert problem is not None
    assert re.search(why, problem)
    assert "\n" not in problem


def test_a_free_text_has_names_for_any_value() -> None:
    text = GOOD.replace(
        "[[dim.ask]]", '[dim.fields]\nhow = { values = { slow = { zh = "慢" } } }\n[[dim.ask]]'
    )
    assert names_problem(read_phrases(text, "dim"), Dim) is None


def test_reads() -> None:
    assert read_phrases(GOOD, "dim").ask[0].en == ("dimmer",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[dim", "not TOML"),
        ("[other]", r"no table \[dim\]"),
        (GOOD.replace("dimmer", "[dimmer", 1), "is not closed"),
        (GOOD.replace("dimmer", "{much} dimmer", 1), "is not described"),
        (GOOD.replace("en = [", "fr = [", 1), "fr"),
        (NAMED.replace('zh = "亮度"', 'zh = ""'), "fields"),
        (NAMED.replace('zh = "亮度"', 'fr = "luminosité"'), "fr"),
        (NAMED.replace('zh = "亮度"', r'zh = "亮\n度"'), "fields"),
        (GOOD.split("[[dim.example]]")[0], "example"),
    ],
)
def test_refuses_in_one_line(text: str, why: str) -> None:
    with pytest.raises(PluginError, match=why) as caught:
        read_phrases(text, "dim")
    assert "\n" not in str(caught.value)
