from __future__ import annotations

import numpy as np
import pytest
from stepedit_bench.calibrate import Recording, calibrate

from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance
from tests.bench.bench_kit import LightMeasures

pytest.importorskip("jiwer")
pytest.importorskip("whisper_normalizer")


class Mishearing(LightMeasures):
    """Hears every third recording's first word wrong."""

    def transcribe(self, utterance: Utterance) -> str:
        words = str(utterance.transcript).split()
        return " ".join(["wrong", *words[1:]]) if "fox" in words else " ".join(words)

    def recogniser(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        return type("Named", (), {"name": "a fake"})


def test_pooled_error_of_a_known_mishearing() -> None:
    rng = np.random.default_rng(0)
    texts = ["red fox sleeps now", "the bird sings", "rain fell all night"] * 4
    recordings = [
        Recording(Utterance(rng.normal(0, 0.1, 8000), 16_000, text, "en"), str(n % 2))
        for n, text in enumerate(texts)
    ]
    found = calibrate(recordings, Mishearing())
    assert found.error.mean == pytest.approx(4 / 44)
    assert found.error.low < 4 / 44 < found.error.high
    assert found.length == 44 and found.unit == "word" and found.recordings == 12
    assert found.same_voice is not None and found.other_voice is not None


def test_nothing_to_measure_is_said() -> None:
    with pytest.raises(StepeditError, match="nothing"):
        calibrate([], LightMeasures())
