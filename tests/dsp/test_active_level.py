"""The active level: that of speech, whatever pauses are around it."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.dsp.loudness import active_level
from stepedit_core.utterance import Utterance

RATE = 16_000


def tone(seconds: float, amplitude: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


@pytest.mark.parametrize("pause", [0.0, 1.0, 10.0])
def test_pauses_do_not_lower_it(pause: float) -> None:
    quiet = tone(pause, 1e-4)
    speech = Utterance(np.concatenate([tone(1.0, 0.5), quiet, tone(1.0, 0.5)]), RATE)
    assert active_level(speech) == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)


def test_silence_has_none() -> None:
    assert active_level(Utterance(np.zeros(RATE, np.float32), RATE)) is None
    assert active_level(Utterance(tone(0.005, 0.5), RATE)) is not None
