"""The level of what an engine says: that of its source, as far as the edit allows."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.dsp.loudness import active_level
from stepedit_core.llm_route.level import levelled
from stepedit_core.recordings import packaged_speech
from stepedit_core.utterance import Utterance


def moved(source: Utterance, made: Utterance) -> float:
    before, after = active_level(source), active_level(made)
    assert before is not None and after is not None
    return after - before


@pytest.mark.parametrize(
    ("db", "allowed", "left"),
    [
        (-4.4, (0.0, 0.0), 0.0),
        (3.0, (0.0, 0.0), 0.0),
        (3.0, (0.0, 6.0), 3.0),
        (9.0, (0.0, 6.0), 6.0),
        (-3.0, (0.0, 6.0), 0.0),
        (-7.0, None, -7.0),
    ],
)
def test_level_is_matched(db: float, allowed: tuple[float, float] | None, left: float) -> None:
    source = packaged_speech("books")
    source = source.replace(samples=0.2 * source.samples / np.abs(source.samples).max())
    made = source.replace(samples=source.samples * np.float32(10 ** (db / 20)))
    new, gain = levelled(source, made, allowed)
    assert moved(source, new) == pytest.approx(left, abs=0.05)
    assert 20 * np.log10(gain) == pytest.approx(left - db, abs=0.05)


def test_what_the_engine_lowered_comes_back_within_full_scale() -> None:
    source = packaged_speech("books")
    hot = source.replace(samples=source.samples / np.abs(source.samples).max())
    low = hot.replace(samples=np.float32(0.6) * hot.samples * np.where(hot.samples > 0, 1.15, 1))
    new, gain = levelled(hot, low.replace(samples=low.samples.astype(np.float32)), None, 1 / 0.6)
    assert gain == pytest.approx(1 / 0.6) and np.abs(new.samples).max() <= 1.0
    assert abs(moved(hot, new)) < 1.0


def test_noise_and_silence_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    noise = Utterance(0.1 * rng.standard_normal(24_000).astype(np.float32), 24_000)
    soft = noise.replace(samples=np.float32(0.1) * noise.samples)
    assert moved(noise, levelled(noise, soft, (0.0, 0.0))[0]) == pytest.approx(-20, abs=0.1)
    silent = noise.replace(samples=np.zeros_like(noise.samples))
    assert not levelled(noise, silent, (0.0, 0.0))[0].samples.any()
