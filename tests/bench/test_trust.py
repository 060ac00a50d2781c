"""The benchmark of limits: what is asked of which recording, and what is counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from stepedit_bench.judging import JudgeChoice
from stepedit_bench.measuring import MeasureConfig, StandardMeasures
from stepedit_bench.trust.commands import CHAIN, EDITS, summarise
from stepedit_bench.trust.measuring import is_wrong
from stepedit_bench.trust.units import SOUNDS, recordings, units

from stepedit_core.errors import StepeditError
from stepedit_core.testing import speech_like

COLUMNS = "path,set,speaker,language,text,text_source,suggested_split,seconds,kind\n"


def test_held_out_utterances_of_a_stratum_real_and_synthetic_in_turn(tmp_path: Path) -> None:
    speech_like(4.5).write(tmp_path / "a.wav")
    speech_like(4.6).write(tmp_path / "b.wav")
    rows = [
        "a.wav,libri_a,1,en,one two three,reference,test,4.5,read",
        "b.wav,libri_a,2,en,three two one,reference,train,4.6,read",
    ]
    (tmp_path / "manifest.csv").write_text(COLUMNS + "\n".join(rows) + "\n")
    measures = StandardMeasures(MeasureConfig(), JudgeChoice(), tmp_path)
    ((_, speech),) = recordings(tmp_path, tmp_path / "out", 3, 0, measures)
    assert speech.transcript == "one two three" and 4 <= speech.seconds <= 10
    with pytest.raises(StepeditError, match="no length 'tiny'"):
        recordings(tmp_path, tmp_path / "out", 3, 0, measures, ["tiny"])


@pytest.mark.parametrize("count", [7, 8])
def test_no_pair_comes_twice(count: int) -> None:
    speech = [(str(at), speech_like(1.0).replace(transcript="a b c d")) for at in range(count)]
    asked = list(units(speech, EDITS, CHAIN, count * len(EDITS)))
    parts = Counter(unit.part for unit in asked)
    assert parts["edit"] == count * len(EDITS) and parts["level"] == count
    names = [unit.name for unit in asked if unit.part == "edit"]
    assert len(set(names)) == len(names)
    chains = [unit for unit in asked if unit.part == "chain"]
    assert all(len(unit.edits) == 5 for unit in chains)
    for unit, sound in zip(chains, SOUNDS, strict=False):
        assert f"a b [{sound}] c d" in repr(unit.edits)


def row(accepted: bool, joint: bool, tiny: float, sphinx: float) -> dict[str, Any]:
    made = {"tiny": tiny, "sphinx": sphinx, "level": -1.0}
    return {
        "source": {"tiny": 0.0, "sphinx": 0.2},
        "off": {**made, "seconds": 2.0, "joint": False},
        "on": {**made, "seconds": 5.0, "joint": joint, "accepted": accepted},
        "wrong": None,
    }


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (row(True, True, 0.0, 0.2), False),
        (row(True, True, 0.5, 0.2), False),
        (row(True, False, 0.5, 0.9), True),
        (row(False, False, 0.5, 0.9), None),
    ],
)
def test_wrong_acceptance(found: dict[str, Any], wrong: bool | None) -> None:
    assert is_wrong(found, 10) is wrong


def test_figures_of_what_is_finished() -> None:
    speech = [("a", speech_like(1.0).replace(transcript="a b"))]
    work = [unit for unit in units(speech, EDITS[:2], CHAIN, 2) if unit.part == "edit"]
    done = {"edit/a/" + EDITS[0]: {**row(True, True, 0.1, 0.2), "wrong": False}}
    figures = summarise(work, done)["edit"]
    assert figures["n"] == 1 and figures["cost"] == 2.5
    assert figures["joint"] == {"off": {"of": 1, "share": 0.0}, "on": {"of": 1, "share": 1.0}}
    assert figures["word_error_added"]["on"] == {"tiny": 0.1, "sphinx": 0.0}
