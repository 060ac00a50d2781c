from __future__ import annotations

import numpy as np
from stepedit_pairs.encoding import encode_pairs

from stepedit_core import DualCodes, Edit, EditPair, Utterance
from stepedit_core.errors import StepeditError
from stepedit_core.testing import FakeEngine


class Any(Edit):
    """Stands for any edit."""


class Recorded(FakeEngine):
    """Gives codes that were decided beforehand."""

    def __init__(self, *codes: DualCodes) -> None:
        super().__init__()
        self.codes = list(codes)

    def encode(self, utterances: object) -> list[DualCodes]:
        return self.codes


def codes(groups: int, value: int, start: float = 0.0) -> DualCodes:
    return DualCodes(np.full(2 * groups, value), np.full(3 * groups, value), start)


def pair(**details: object) -> EditPair:
    source, target = (Utterance(np.full(24_000, x, np.float32), 24_000) for x in (0.1, 0.2))
    return EditPair(source, target, Any(), 8.0, details)


def encoded(engine: Recorded, made: EditPair) -> dict[str, DualCodes]:
    (found,) = encode_pairs(engine, [made])
    assert isinstance(found, dict), found
    return found


def test_without_an_engine_there_are_no_codes() -> None:
    assert encode_pairs(None, [pair()]) == [{}]


def test_codes_outside_free_groups() -> None:
    free = [{"start": 4, "stop": 6, "length": 3}]
    found = encoded(Recorded(codes(8, 1), codes(9, 2)), pair(free_groups=free))
    target = found["target"]
    assert target.groups == 9
    assert target.linguistic.tolist() == [1] * 8 + [2] * 6 + [1] * 4
    assert found["source"] == codes(8, 1)


def test_trimmed_beginning() -> None:
    free = [{"start": 4, "stop": 6, "length": 2}]
    engine = Recorded(codes(8, 1, start=0.18), codes(8, 2, start=0.18))
    target = encoded(engine, pair(free_groups=free))["target"]
    # 0.48 s to 0.72 s lies at 2.5 to 4.5 groups after 0.18 s.
    assert target.linguistic.tolist() == [1] * 4 + [2] * 6 + [1] * 6


def test_codes_on_two_grids_are_refused() -> None:
    free = [{"start": 1, "stop": 2, "length": 1}]
    engine = Recorded(codes(8, 1), codes(8, 2, start=0.05))
    (apart,) = encode_pairs(engine, [pair(free_groups=free)])
    assert isinstance(apart, StepeditError) and "0.050 s apart" in str(apart)
    (short,) = encode_pairs(Recorded(codes(8, 1), codes(1, 2)), [pair(free_groups=free)])
    assert isinstance(short, StepeditError) and "do not align" in str(short)


def test_groups_on_the_code_grid() -> None:
    free = [{"start": 4, "stop": 6, "length": 2}]
    engine = Recorded(codes(8, 1, start=0.18), codes(8, 2, start=0.18))
    target = encoded(engine, pair(free_groups=free, codes_start=0.18))["target"]
    assert target.linguistic.tolist() == [1] * 8 + [2] * 4 + [1] * 4
