"""The command that measures what whole edits cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stepedit_bench.speed import cost

from stepedit_core.testing import speech_like
from tests.models.tiny_checkpoint import MODEL, write_engine


@pytest.mark.slow
def test_cost_of_given_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_engine(tmp_path / "engine") / MODEL
    speech = speech_like(1.5).write(tmp_path / "a.wav")
    given = tmp_path / "given.json"
    given.write_text(json.dumps([[str(speech), "some words"]] * 2))
    cost.main(str(folder), str(given))
    assert json.loads(capsys.readouterr().out)["n"] == 1
