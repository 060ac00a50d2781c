from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stepedit_bench.compare import compare_runs, compare_values
from stepedit_bench.runner import BenchConfig, run_bench
from stepedit_bench.summary import share

from stepedit_core.errors import StepeditError
from tests.bench.bench_kit import Gain, LightMeasures, cases, install

pytest.importorskip("scipy")


def test_constant_difference_p_value() -> None:
    mean, low, high, p = compare_values([0.0] * 6, [1.0] * 6, 0)
    assert (mean, low, high) == (1, 1, 1)
    assert p == pytest.approx(2 / 2**6), "both ways out of all 64 flips"


def test_equal_values_differ_by_nothing() -> None:
    assert compare_values([0.3, 0.5], [0.3, 0.5], 0) == (0, 0, 0, 1.0)


def test_p_agrees_with_the_t_test_on_normal_differences() -> None:
    from scipy import stats

    rng = np.random.default_rng(1)
    first = rng.normal(0, 1, 60)
    second = first + rng.normal(0.25, 1, 60)
    mean, low, high, p = compare_values(list(first), list(second), 0)
    theirs = stats.ttest_rel(second, first)
    assert p == pytest.approx(theirs.pvalue, abs=0.015)
    interval = theirs.confidence_interval(0.95)
    assert mean == pytest.approx(float(np.mean(second - first)))
    assert (low, high) == (
        pytest.approx(interval.low, abs=0.06),
        pytest.approx(interval.high, abs=0.06),
    )


def test_p_values_are_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(2)
    p = [
        compare_values(list(rng.normal(size=9)), list(rng.normal(size=9)), 0)[3] for _ in range(60)
    ]
    assert 0 <= np.mean(np.array(p) < 0.05) <= 0.15
    assert 0.35 < np.mean(p) < 0.65


def test_share_interval() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for number in range(100):
        interval = share([bool(x) for x in rng.random(40) < 0.7], number)
        assert interval is not None
        covered += interval.low <= 0.7 <= interval.high
    assert 88 <= covered <= 100
    # Wilson's interval at the ends: 0 of 10 is 0..0.2775 (Wilson 1927; e.g. R's prop.test).
    nothing, everything = share([False] * 10, 0), share([True] * 10, 0)
    assert nothing is not None and everything is not None
    assert (nothing.low, nothing.high) == (0, pytest.approx(0.2775, abs=1e-4))
    assert (everything.low, everything.high) == (pytest.approx(0.7225, abs=1e-4), 1)
    assert share([None, None], 0) is None


def test_runs_are_compared_case_by_case(tmp_path: Path) -> None:
    for name, extra in (("a", 0.0), ("b", 2.0)):
        changed = [
            case.model_copy(update={"edit": Gain(db=case.edit.db + extra)})  # type: ignore[attr-defined]
            for case in cases(6)
        ]
        install(changed if name == "a" else changed[:5])
        run_bench(BenchConfig(), tmp_path / name, measures=LightMeasures())
    found = {item.metric: item for item in compare_runs(tmp_path / "a", tmp_path / "b")}
    gain = found["gain_db"]
    assert gain.mean == pytest.approx(2.0, abs=0.02) and gain.n == 5 and gain.left_out == 1
    assert found["loudness_lufs"].mean == pytest.approx(2.0, abs=0.05)
    assert found["reached"].mean == 0 and found["reached"].p == 1.0
    assert all(item.p_adjusted >= item.p for item in found.values())
    assert "lost" not in found, "a metric that nobody measured is not compared"


def test_unlike_runs_are_not_compared(tmp_path: Path) -> None:
    install(cases(2))
    for name in "ab":
        run_bench(BenchConfig(), tmp_path / name, measures=LightMeasures())
    settings = json.loads((tmp_path / "b/run.json").read_text())
    settings["thresholds"]["quality_drop"] = 9
    (tmp_path / "b/run.json").write_text(json.dumps(settings))
    with pytest.raises(StepeditError, match="differ in thresholds"):
        compare_runs(tmp_path / "a", tmp_path / "b")
