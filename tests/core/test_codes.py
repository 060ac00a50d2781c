from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from stepedit_core.codes import DualCodes


def some(groups: int = 3) -> DualCodes:
    rng = np.random.default_rng(1)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))


def test_interleave() -> None:
    codes = DualCodes([1, 2, 3, 4], [0, 10, 4095, 7, 8, 9])
    expected = [1, 2, 1024, 1034, 5119, 3, 4, 1031, 1032, 1033]
    assert codes.interleave().tolist() == expected
    assert codes.token_string().startswith("<audio_1><audio_2><audio_1024>")
    assert DualCodes.from_interleaved(expected) == codes


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_frozen_too(again: Callable[[DualCodes], DualCodes]) -> None:
    codes = again(some())
    assert codes == some()
    for stream in (codes.linguistic, codes.semantic):
        with pytest.raises(ValueError, match="read-only"):
            stream[0] = 1


def test_codes_past_the_last_whole_group_are_left_out() -> None:
    codes = DualCodes([1, 2, 3], [4, 5, 6, 7])
    assert codes.groups == 1
    assert codes.seconds == pytest.approx(0.12)
    assert len(codes.interleave()) == 5


def test_incomplete_last_group() -> None:
    codes = DualCodes.from_interleaved([1, 2, 1024, 1025, 1026, 3])
    assert codes.linguistic.tolist() == [1, 2, 3]
    assert codes.semantic.tolist() == [0, 1, 2]


def test_a_token_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(ValueError, match=r"token 1024 at place 1 should be a linguistic code"):
        DualCodes.from_interleaved([1, 1024])
    with pytest.raises(ValueError, match=r"token 5 at place 2 should be a semantic code"):
        DualCodes.from_interleaved([1, 2, 5])


@pytest.mark.parametrize("bad", [-1, 1024])
def test_values_outside_the_codebook_are_refused(bad: int) -> None:
    with pytest.raises(ValueError, match=f"linguistic code {bad} is outside"):
        DualCodes([0, bad], [1, 2, 3])


def test_streams_are_copied_and_frozen() -> None:
    raw = np.array([1, 2])
    codes = DualCodes(raw, [1, 2, 3])
    raw[0] = 9
    assert codes.linguistic[0] == 1
    with pytest.raises(ValueError, match=r"read-only"):
        codes.linguistic[0] = 5


def test_slicing_groups_moves_the_start() -> None:
    codes = some(4)
    part = codes.slice_groups(1, 3)
    assert part.groups == 2
    assert part.start == pytest.approx(0.12)
    assert part.interleave().tolist() == codes.interleave()[5:15].tolist()


def test_equality_and_hash_ignore_the_start() -> None:
    codes = some()
    same = DualCodes(codes.linguistic, codes.semantic, start=1.0)
    assert codes == same
    assert hash(codes) == hash(same)
    assert codes != some(2)
    assert codes != "codes"


@pytest.mark.parametrize("groups", [1, 3, 4, 7])
def test_another_length_repeats_codes_or_leaves_them_out(groups: int) -> None:
    codes = DualCodes(np.arange(6), np.arange(9), 0.5)
    made = codes.at_length(groups)
    assert made.groups == groups and made.start == 0.5
    assert (np.diff(made.semantic) >= 0).all() and (np.diff(made.linguistic) >= 0).all()
    middle = (np.arange(3 * groups) + 0.5) * 3 / groups
    assert (made.semantic == middle.astype(int)).all()
    assert (made == codes) is (groups == 3)
