"""Decoded audio on the clock of its recording."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.llm_route.timing import fit_to_source_timing
from stepedit_core.utterance import Utterance

RATE = 8000


def sound(seconds: float, silent: float = 0.0) -> Utterance:
    samples = np.full(round(seconds * RATE), 0.5, dtype=np.float32)
    samples[len(samples) - round(silent * RATE) :] = 0.001
    return Utterance(samples, RATE, "words")


def test_margins_beyond_the_recording_are_cut() -> None:
    made, start = fit_to_source_timing(sound(1.2, silent=0.2), -0.05, 1.0)
    assert made.seconds == 1.0 and start == -0.05 and made.transcript == "words"
    assert made.samples[7500] == pytest.approx(0.5) and made.samples[7650] == pytest.approx(0.001)
    assert made.samples[0] == made.samples[-1] == 0.0


def test_silence_that_was_cut_is_put_back() -> None:
    made, start = fit_to_source_timing(sound(0.5), 0.2, 1.0)
    assert made.seconds == 1.0 and start == pytest.approx(0.2)
    loud = np.flatnonzero(made.samples)
    assert 1600 <= loud[0] <= 1602 and 5597 <= loud[-1] <= 5600
    assert (made.samples[1700:5500] == 0.5).all()
    assert made.samples[1640] < 0.5 and made.samples[5560] < 0.5


def test_what_is_audible_stays() -> None:
    made, _ = fit_to_source_timing(sound(1.5, silent=0.3), 0.0, 1.0)
    assert made.seconds == pytest.approx(1.2, abs=2e-3)


def test_silence_lasts_as_long_as_it_should() -> None:
    silent = Utterance(np.zeros(1500, dtype=np.float32), RATE)
    assert fit_to_source_timing(silent, -0.1, 1.0)[0].seconds == 1.0
