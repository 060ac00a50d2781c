from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from stepedit_core.recording.joining import Joiner, is_quiet
from stepedit_core.recording.levels import Levels, measure_levels

FloatArray = npt.NDArray[np.float32]
RATE = 16_000
NOISE = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32)


def joined(*calls: tuple[str, slice, float]) -> tuple[FloatArray, Joiner]:
    """Join parts of the noise that are left alone, or edited by a change of level."""
    written: list[FloatArray] = []
    joiner = Joiner(written.append, RATE)
    for kind, part, gain in calls:
        if kind == "leave":
            joiner.leave(NOISE[part])
        else:
            joiner.add(gain * NOISE[part], NOISE[part], 0)
    joiner.close()
    return np.concatenate(written), joiner


def test_what_is_left_alone_stays_and_seams_fade_inside_the_edited_piece() -> None:
    a, b, c = slice(0, RATE), slice(RATE, 2 * RATE), slice(2 * RATE, 3 * RATE)
    whole, joiner = joined(("leave", a, 1), ("edit", b, 0.5), ("leave", c, 1))
    np.testing.assert_array_equal(whole[a], NOISE[a])
    np.testing.assert_array_equal(whole[c], NOISE[c])
    inner = slice(RATE + joiner.fade, 2 * RATE - joiner.fade)
    np.testing.assert_array_equal(whole[inner], 0.5 * NOISE[inner])
    assert joiner.lengths == [RATE] * 3
    assert (joiner.faded, joiner.spliced) == (2, 0)


def test_edits_that_change_nothing_change_nothing() -> None:
    parts = [slice(k * RATE, (k + 1) * RATE) for k in range(3)]
    whole, _ = joined(*(("edit", part, 1.0) for part in parts))
    np.testing.assert_allclose(whole, NOISE[: 3 * RATE], atol=1e-6)


def test_overlaps_take_no_time() -> None:
    written: list[FloatArray] = []
    joiner, ahead = Joiner(written.append, RATE), 400
    joiner.add(NOISE[: RATE + ahead].copy(), NOISE[: RATE + ahead], ahead)
    joiner.add(NOISE[RATE : 2 * RATE].copy(), NOISE[RATE : 2 * RATE], 0)
    joiner.close()
    np.testing.assert_allclose(np.concatenate(written), NOISE[: 2 * RATE], atol=1e-6)


def test_quiet_seams_are_spliced() -> None:
    written: list[FloatArray] = []
    joiner = Joiner(written.append, RATE)
    silence = np.zeros(RATE, np.float32)
    joiner.leave(silence)
    joiner.add(silence.copy(), silence, 0)
    joiner.close()
    assert (joiner.faded, joiner.spliced) == (0, 1)
    assert is_quiet(np.full(100, 0.3, np.float32)) and not is_quiet(NOISE)


def with_pauses(*places: float) -> Levels:
    """The levels of noise with pauses of 0.3 s; blocks of odd lengths."""
    samples = NOISE.copy()
    for place in places:
        samples[round(place * RATE) : round((place + 0.3) * RATE)] = 0
    return measure_levels((samples[k : k + 1_237] for k in range(0, len(samples), 1_237)), RATE)


def test_levels_do_not_depend_on_blocks() -> None:
    whole = measure_levels([NOISE], RATE)
    parts = measure_levels(np.array_split(NOISE, 77), RATE)
    np.testing.assert_allclose(whole.power, parts.power, rtol=1e-5)
    assert whole.samples == len(NOISE) and len(whole.power) == 400
    assert measure_levels([], RATE).samples == 0


def test_cuts_lie_in_pauses() -> None:
    levels = with_pauses(0.9, 2.1)
    assert levels.quietest(0, 2 * RATE) / RATE == pytest.approx(1.05, abs=0.03)
    cuts = [cut / RATE for cut in levels.cuts(0, 4 * RATE, 1.8)]
    assert any(abs(cut - 1.05) < 0.05 for cut in cuts)
    edges = [0.0, *cuts, 4.0]
    assert max(b - a for a, b in pairwise(edges)) <= 1.8
