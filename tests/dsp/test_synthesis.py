"""Speech from text: another speaker made of a voice."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.dsp import synthesis


def test_a_shift_moves_the_pitch_and_keeps_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    def tone(voice: str, text: str, speed: float, seed: int) -> tuple[np.ndarray, int]:
        time = np.arange(round(16_000 / speed)) / 16_000
        return np.sin(2 * np.pi * 200 * time).astype(np.float32), 16_000

    monkeypatch.setitem(synthesis._SYSTEMS, "hibari", tone)
    for shift in (0.8, 1.0, 1.25):
        samples, rate = synthesis.speak("hibari", "heart", "a tone", speed=0.9, shift=shift)
        assert rate == 16_000 and len(samples) / rate == pytest.approx(1 / 0.9, rel=0.01)
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        peak = spectrum.argmax() * rate / len(samples)
        assert peak == pytest.approx(200 * shift, abs=2)
