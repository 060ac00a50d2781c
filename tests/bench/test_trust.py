"""The benchmark of limits: what is asked of which recording, and what is counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from stepedit_bench.trust.commands import CHAIN, EDITS, summarise
from stepedit_bench.trust.measuring import is_wrong
from stepedit_bench.trust.units import recordings, units

from stepedit_core.errors import StepeditError
from stepedit_core.testing import speech_like

COLUMNS = "path,set,language,text,suggested_split,seconds\n"


def test_only_held_out_recordings_of_the_stratum(tmp_path: Path) -> None:
    speech_like(4.5).write(tmp_path / "a.wav")
    rows = [
        "a.wav,libri_a,en,one two,test,4.5",
        "b.wav,libri_a,en,one two,train,4.5",
        "c.wav,libri_a,zh,one two,test,4.5",
        "d.wav,libri_a,en,one two,test,12.0",
        "e.wav,other,en,one two,test,4.5",
        "f.wav,libri_a,en,,test,4.5",
    ]
    (tmp_path / "manifest.csv").write_text(COLUMNS + "\n".join(rows) + "\n")
    ((name, speech),) = recordings(tmp_path, "libri", 0)
    assert name == "a" and speech.transcript == "one two"
    with pytest.raises(StepeditError, match="no held-out recording"):
        recordings(tmp_path, "nothing", 0)


@pytest.mark.parametrize("count", [7, 8])
def test_no_pair_comes_twice(count: int) -> None:
    speech = [(str(at), speech_like(1.0).replace(transcript="a b c d")) for at in range(count)]
    asked = list(units(speech, EDITS, CHAIN, count * len(EDITS)))
    parts = Counter(unit.part for unit in asked)
    assert parts["edit"] == count * len(EDITS) and parts["level"] == count
    names = [unit.name for unit in asked if unit.part == "edit"]
    assert len(set(names)) == len(names)
    chain = next(unit for unit in asked if unit.part == "chain")
    assert len(chain.edits) == 5 and "a b [Breathing] c d" in repr(chain.edits)


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
