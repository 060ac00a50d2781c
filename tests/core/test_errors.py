"""How messages are worded."""

from __future__ import annotations

import pytest

from stepedit_core import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 cues overlap"), (1, "1 cue overlaps"), (2, "2 cues overlap")]
)
def test_numbers_and_nouns_agree(number: int, said: str) -> None:
    assert counted(number, "cue overlaps", "cues overlap") == said
    assert counted(number, "cue") == said.rsplit(" ", 1)[0]
