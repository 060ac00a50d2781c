"""Held-out speech and light measurements for tests of the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepedit_bench.measuring import MeasureConfig, StandardMeasures

from stepedit_core import Utterance
from stepedit_core.testing import speech_like
from stepedit_core.testing.fake_measures import FakeMeasures


class LightKept(StandardMeasures):
    """Rules instead of models; every recogniser repeats the words that it should hear."""

    def __init__(self, folder: Path) -> None:
        super().__init__(MeasureConfig(dnsmos="one"), folder=folder)
        self._light = FakeMeasures()

    def hears(self, language: str | None) -> bool:
        return True

    def transcribe(self, utterance: Utterance) -> str:
        return utterance.transcript or "words that were heard here"

    def second_text(self, utterance: Utterance) -> str:
        return self.transcribe(utterance)

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        return self._light.speaker_similarity(first, second)

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        return self._light.dnsmos(utterance)


def _row(path: Path, speaker: str, **more: Any) -> dict[str, Any]:
    base = {
        "path": path.name,
        "speaker": speaker,
        "language": "en",
        "seconds": Utterance.read(path).seconds,
        "suggested_split": "test",
    }
    return base | more


def write_data(folder: Path) -> Path:
    """Two voices of synthetic and two of real speech that were held out, and one that was not."""
    synthetic, real = [], []
    for number in range(4):
        speech = speech_like(2.4, seed=number, f0=110 + 20 * (number % 2))
        path = speech.write(folder / "made" / f"m{number}.wav")
        text = f"We asked for the words of number {number}."
        synthetic.append(_row(path, f"made{number % 2}", text=text, voices=["a"]))
        read = speech_like(2.2, seed=10 + number).write(folder / "made" / f"r{number}.wav")
        real.append(_row(read, f"read{number}", text="Not what it says", text_source="whisper"))
    real[3] |= {"suggested_split": "train"}
    real[2] |= {"language": "pl"}
    real[1] |= {"text_source": "reference", "text": "These are the words spoken"}
    text = "\n".join(json.dumps(one) for one in [*synthetic, *real])
    (folder / "made" / "manifest.jsonl").write_text(text)
    return folder
