"""Tables at widths that people have: no word is broken, nothing is left out."""

from __future__ import annotations

import re

import pytest

from stepedit_core.cli.tables import print_table

ROWS = [
    ("emotion:to=happy", "llm dsp", "Make the speech carry an emotion, or remove it.", "a 1.0"),
    ("paralinguistic:tags=2026", "llm", "Add sounds at tags in the text.", "stepedit 0.1.0"),
]
HEADINGS = ("edit", "routes", "what it does", "plugin")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_word_is_broken(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(HEADINGS, ROWS, prose={2}, title="Edits")
    text = capsys.readouterr().out
    assert all(len(line) <= width for line in text.splitlines())
    for word in re.findall(r"\S+", " ".join(cell for row in ROWS for cell in row)):
        assert word in text
    if width >= 80:
        assert text.splitlines()[1].split() == " ".join(HEADINGS).split()
        assert len(text.splitlines()) <= 6
