"""The condition ``cut``: the stretch of a recording that its codes cover."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from stepedit_bench.figures import gates
from stepedit_bench.figures.families import ROWS, items_of
from stepedit_bench.figures.making import ENGINE, Maker
from stepedit_bench.figures.running import Run, Settings, conditions_of

from stepedit_core import DualCodes, Utterance
from stepedit_core.testing import FakeEngine
from tests.bench.test_figures_target import held, items


class Trimming(FakeEngine):
    """Codes that leave out the first 0.3 s and the last 0.4 s or so."""

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        made = []
        for one in utterances:
            inner = one.slice((0.3, one.seconds - 0.4))
            made.append(dataclasses.replace(super().encode([inner])[0], start=0.3))
        return made


def test_the_yardstick_of_coding_is_the_stretch_that_was_coded(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "baseline", tmp_path / "engine", Trimming(), 0)
    asked = items("identity", 2)
    for item, made in zip(asked, maker.make("cut", asked), strict=True):
        source, got = maker.prepared(item).source, made.steps[0]
        first = round(0.3 * source.sample_rate)
        assert source.seconds - 0.85 < got.seconds < source.seconds - 0.55
        wanted = source.samples[first : first + len(got.samples)]
        np.testing.assert_allclose(got.samples, wanted, atol=1e-4)
        assert got.transcript == source.transcript
        assert maker.path(item, "cut").is_relative_to(tmp_path / "engine")


@pytest.mark.parametrize("row", ROWS)
def test_only_the_identity_edit_is_held_to_it(row: str, tmp_path: Path) -> None:
    for item in items_of(row, {"synthetic": held()}):
        asked = conditions_of(item, Settings(tmp_path, tmp_path), ENGINE)
        assert ("cut" in asked) is (row == "identity")


def test_the_drop_is_taken_from_the_stretch_and_from_the_whole(tmp_path: Path) -> None:
    item = items("identity", 1)[0]
    lines = {
        name: {"kept": {"dnsmos_ovrl": value}}
        for name, value in {"original": 3.4, "cut": 3.3, "identity": 3.1, "world": 3.3}.items()
    }
    run = Run(tmp_path, [item], {item.id: lines}, Maker(tmp_path, tmp_path, None, 0))
    found = {gate.name: gate for gate in gates.GATES}

    def drop(name: str, condition: str) -> float | None:
        numbers = found[name].measure(run, item, lines, condition)
        return None if numbers is None else round(numbers[0], 6)

    assert drop("identity.ovrl_drop", "identity") == 0.2
    assert drop("identity.ovrl_drop_uncut", "identity") == 0.3
    assert drop("identity.ovrl_drop", "world") == drop("identity.ovrl_drop_uncut", "world") == 0.1
    del lines["cut"]
    assert drop("identity.ovrl_drop", "identity") is None
