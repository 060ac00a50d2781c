"""The notebook of the embedded model gives the folder that ships."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

TRAINING = Path(__file__).parents[3] / "training"
SHIPPED = files("stepedit_core.embedded")


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((TRAINING / name).read_text("utf-8"))


@pytest.mark.parametrize(
    "name", ["log/2026-11-embedded/assemble.toml", "configs/embedded/assemble.toml"]
)
def test_rules_of_sampling_are_those_that_ship(name: str) -> None:
    assert _read(name)["sampling"] == json.loads((SHIPPED / "sampling.json").read_text("utf-8"))


def test_notes_are_those_of_the_card() -> None:
    card = (SHIPPED / "MODEL_CARD.md").read_text("utf-8")
    paragraphs = {" ".join(paragraph.split()) for paragraph in card.split("\n\n")}
    notes = [
        " ".join(note.split()) for note in _read("log/2026-11-embedded/assemble.toml")["notes"]
    ]
    assert [note for note in notes if note not in paragraphs] == []
