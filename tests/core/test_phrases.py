from __future__ import annotations

import pytest

from stepedit_core.errors import PluginError
from stepedit_core.phrases import read_phrases

GOOD = """
[dim]
does = { en = "dim it", zh = "变暗" }
[[dim.ask]]
en = ["dimmer"]
[[dim.example]]
say = "dimmer"
edit = "dim"
"""


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
        (GOOD.split("[[dim.example]]")[0], "example"),
    ],
)
def test_refuses_in_one_line(text: str, why: str) -> None:
    with pytest.raises(PluginError, match=why) as caught:
        read_phrases(text, "dim")
    assert "\n" not in str(caught.value)
