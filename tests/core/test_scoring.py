from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.registry.registry import Registry
from stepedit_core.scoring import (
    Case,
    Prepared,
    Score,
    Scorer,
    bootstrap_interval,
    read_cases,
)
from stepedit_core.utterance import Utterance
from tests.toy_edits import Gain


def test_a_score_is_measured_or_says_why_not() -> None:
    assert Score(True, {"x": 1.0}).unscored is None
    failed = Score.failed("the judge refused", x=None)
    assert (failed.reached, failed.unscored, failed.values) == (
        None,
        "the judge refused",
        {"x": None},
    )
    with pytest.raises(ValueError, match=r"says why"):
        Score(None)
    with pytest.raises(ValueError, match=r"does not"):
        Score(True, {}, "but")


def test_bootstrap_interval() -> None:
    rng = np.random.default_rng(0)
    few = bootstrap_interval(list(rng.normal(5, 1, 20)), np.random.default_rng(1))
    many = bootstrap_interval(list(rng.normal(5, 1, 2000)), np.random.default_rng(1))
    assert few.low < few.mean < few.high
    assert many.low < 5 < many.high
    assert many.high - many.low < 0.2 * (few.high - few.low)
    assert (few.n, many.n) == (20, 2000)
    # The width of a normal interval is 2 * 1.96 / sqrt(n).
    assert many.high - many.low == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.15)


def test_bootstrap_is_seeded_and_needs_values() -> None:
    values = [1.0, 2.0, 4.0]
    one, two = (bootstrap_interval(values, np.random.default_rng(3)) for _ in range(2))
    assert one == two
    assert bootstrap_interval([2.0], np.random.default_rng(0)).low == 2.0
    with pytest.raises(ValueError, match=r"no values"):
        bootstrap_interval([], np.random.default_rng(0))


def test_cases_are_read_line_by_line(toys: Registry) -> None:
    text = (
        '{"id": "a", "edit": {"edit": "gain", "db": 3}, "audio": "speech:garden"}\n\n'
        '{"id": "b", "edit": {"edit": "gain"}, "audio": "x.wav", "prepare": {"snr_db": 5}}\n'
    )
    first, second = read_cases(text)
    assert first.edit == Gain(db=3)
    assert second.prepare == {"snr_db": 5}
    assert Case.model_validate_json(first.model_dump_json()) == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a"}', "line 1"),
        ('\n{"id": "a", "edit": {"edit": "nix"}, "audio": "x"}', "line 2.*unknown edit 'nix'"),
        ('{"id": "a", "edit": {"edit": "gain"}, "audio": "x"}\n' * 2, "ids occur twice: a"),
        ("not json", "line 1"),
    ],
)
def test_wrong_cases_name_the_line(toys: Registry, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        read_cases(text)


def test_a_scorer_prepares_nothing_by_default(toys: Registry, speech: Utterance) -> None:
    class Plain(Scorer):
        def score(
            self, case: Case, prepared: Prepared, output: Utterance, measures: object
        ) -> Score:
            return Score(True)

    case = Case(id="a", edit=Gain(), audio="speech:garden")
    prepared = Plain().prepare(case, speech, np.random.default_rng(0))
    assert prepared.source is speech
    assert prepared.reference is None


def test_line_separators_in_cases(toys: Registry) -> None:
    line = (
        '{"id": "%s", "edit": {"edit": "gain", "db": 3}, "audio": "x.wav", '
        '"transcript": "one\u2028two"}'
    )
    first, _ = read_cases(f"{line % 'a'}\n{line % 'b'}\n")
    assert first.transcript == "one\u2028two"
    with pytest.raises(ValueError, match="case ids occur twice: a"):
        read_cases(f"{line % 'a'}\n{line % 'a'}")
