from __future__ import annotations

import math
from threading import Thread

import pytest

from stepedit_core.models.stage_clock import StageClock, StageTime


def test_stages_add_up_from_any_thread() -> None:
    clock = StageClock()

    def work() -> None:
        with clock.stage("decode") as note:
            note.audio_seconds = 0.5

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (name,) = times = clock.times()
    assert (name, times[name].calls, times[name].audio_seconds) == ("decode", 8, 4.0)
    assert times[name].real_time_factor == times[name].seconds / 4


def test_a_failed_stage_is_not_counted() -> None:
    clock = StageClock()
    with pytest.raises(ValueError), clock.stage("encode", 1.0):
        raise ValueError
    assert clock.times() == {}
    assert math.isnan(StageTime().real_time_factor)
