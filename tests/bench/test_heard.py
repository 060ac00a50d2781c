"""What recognisers heard of a run is kept as it goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from stepedit_bench.words.heard import HEARD, listened

from stepedit_core import StepeditError, Utterance, hookimpl
from stepedit_core.alignment import Recogniser, Transcription
from stepedit_core.registry.registry import Registry
from stepedit_core.scoring import Case
from stepedit_core.testing import speech_like

TEXT = "the cats ran home today"
ASKED = "the dogs ran home today"
RUN = {
    "edits": ["replace"],
    "suite": "cases",
    "seed": 0,
    "engine": {"name": "x"},
    "protocol": {"route": "llm", "iterations": 1},
    "judges": {},
}


class Ear(Recogniser):
    """Hears what was asked in all versions but quiet ones, and may be cut off."""

    name: ClassVar[str] = "ear"
    asked: ClassVar[list[str]] = []
    most: ClassVar[int] = 100

    def transcribe(self, utterance: Utterance) -> Transcription:
        if len(self.asked) >= self.most:
            raise KeyboardInterrupt
        self.asked.append(utterance.digest)
        loud = float(np.abs(utterance.samples).max()) > 0.05
        return Transcription(ASKED if loud else TEXT, "en", self.name)


class Other(Ear):
    """A second one."""

    name: ClassVar[str] = "other"


class Ears:
    """A plugin of both."""

    @hookimpl
    def stepedit_recognisers(self) -> list[type[Recogniser]]:
        return [Ear, Other]


@pytest.fixture
def registry() -> Registry:
    made = Registry(group="stepedit-none", disabled=())
    made.register(Ears(), "ears")
    Ear.asked, Ear.most = [], 100
    return made


@pytest.fixture
def cases(tmp_path: Path) -> dict[str, Case]:
    """Write a run of three edits, the last one quiet."""
    case = {
        "edit": {"edit": "replace", "find": "cats", "by": "dogs"},
        "audio": "speech:garden",
        "transcript": TEXT,
        "language": "en",
    }
    rows = []
    for number, gain in enumerate((0.5, 0.4, 0.01)):
        source = speech_like(2.0, 16_000, seed=number)
        made = source.replace(samples=(gain * source.samples).astype(np.float32))
        for name, sound in (("source", source), ("edit", made)):
            path = tmp_path / f"{number}-{name}.wav"
            sound.write(path)
            text = {"unit": "word", "errors": 1, "length": 5, "rate": 0.2}
            row = {
                "edit": "replace", "case": f"c{number}", "class": "replace", "condition": name,
                "iteration": int(name == "edit"), "status": "ok", "language": "en",
                "speaker": None, "request": {}, "reached": None, "values": {},
                "kept": {"text": text}, "audio": path.name, "audio_sha256": sound.digest,
                "details": {"replacements": [{"output_spans": [[0.5, 1.0]]}]},
            }  # fmt: skip
            rows.append(row)
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {f"c{n}": Case.model_validate({**case, "id": f"c{n}"}) for n in range(3)}


def test_heard_goes_on_where_it_was_cut_off(
    tmp_path: Path, cases: dict[str, Case], registry: Registry
) -> None:
    Ear.most = 2
    with pytest.raises(KeyboardInterrupt):
        list(listened(tmp_path, cases, ["ear"], registry))
    assert len((tmp_path / HEARD).read_text().splitlines()) == 2
    with (tmp_path / HEARD).open("a") as file:
        file.write('{"key": "torn')
    Ear.most = 100
    found = list(listened(tmp_path, cases, ["ear"], registry))
    assert [one.new["ear"] for one in found] == [True, True, False]
    assert len(Ear.asked) == 3
    assert list(listened(tmp_path, cases, ["ear"], registry)) == found
    assert len(Ear.asked) == 3


def test_another_recogniser_hears_alone(
    tmp_path: Path, cases: dict[str, Case], registry: Registry
) -> None:
    list(listened(tmp_path, cases, ["ear"], registry))
    both = list(listened(tmp_path, cases, ["ear", "other"], registry))
    assert len(Ear.asked) == 6 and both[0].right == {"ear": True, "other": True}


def test_an_edit_made_anew_is_heard_anew(
    tmp_path: Path, cases: dict[str, Case], registry: Registry
) -> None:
    list(listened(tmp_path, cases, ["ear"], registry))
    text = (tmp_path / "results.jsonl").read_text()
    (tmp_path / "results.jsonl").write_text(text.replace("[[0.5, 1.0]]", "[[0.6, 1.0]]"))
    list(listened(tmp_path, cases, ["ear"], registry))
    assert len(Ear.asked) == 6


def test_cases_of_another_suite_are_refused(
    tmp_path: Path, cases: dict[str, Case], registry: Registry
) -> None:
    del cases["c1"]
    with pytest.raises(StepeditError, match="case c1 is not in the suite; give"):
        list(listened(tmp_path, cases, ["ear"], registry))
    assert not (tmp_path / HEARD).exists()
