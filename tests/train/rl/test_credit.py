"""Credit of single codes: each part of a request is compared with itself in other answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from stepedit_train.rl import heard_phones
from stepedit_train.rl.credit import part_advantages
from stepedit_train.rl.rewarding import Rewards, RewardSettings, make_reward

from stepedit_core.dsp.phones import missing_phones, phone_signs, text_phones
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry, set_registry
from stepedit_core.reward import Answer, PlacedValue
from stepedit_core.testing import FakeEngine
from tests.train.rl.making import RewardPlugin
from tests.train.rl.test_rewards import _tools, answer


@pytest.fixture(autouse=True)
def _rewards() -> Iterator[None]:
    set_registry(None)
    get_registry().register(RewardPlugin(), "rewarding")
    yield
    set_registry(None)


def test_by_hand() -> None:
    good = [PlacedValue(0, 1, 1.0), PlacedValue(1, 3, 0.5)]
    bad = [PlacedValue(0, 2, 0.5), PlacedValue(1, 2, 0.5)]
    first, unknown, second = part_advantages([good, None, bad], [3, 2, 2], weight=2.0)
    assert first.tolist() == [0.5] * 5 + [0.0] * 10
    assert unknown.tolist() == [0.0] * 10 and second.tolist() == [-0.5] * 10
    assert part_advantages([None], [1])[0].tolist() == [0.0] * 5
    with pytest.raises(StepeditError, match=r"have \[1, 2\] parts"):
        part_advantages([good, bad[:1]], [3, 2])


def test_what_has_no_parts_is_the_whole_answer_s() -> None:
    chosen = [RewardSettings(name="low_quarters", weight=2.0), RewardSettings(name="length")]
    rewards = Rewards(chosen, _tools(FakeEngine()), Path())
    source = list(range(8))
    low, high = answer(range(4), source), answer([*range(2), 3000, 3000], source)
    answers = [low, low, high, low]  # the second one is not scored
    rewarded = rewards(answers)
    gains = rewards.advantages(answers, rewarded, 4)
    assert [len(one) for one in gains] == [20] * 4 and not gains[1].any()
    assert gains[0].tolist() == pytest.approx([0.0] * 10 + [2 / 3] * 10, abs=1e-6)
    assert gains[2].tolist() == pytest.approx([0.0] * 10 + [-4 / 3] * 10, abs=1e-6)
    assert np.mean([gains[at] for at in (0, 2, 3)]) == pytest.approx(0.0, abs=1e-6)
    # Longer answers are worse by their length in all their codes.
    answers = [low, low, answer([*range(8), *range(8)], source), low]
    gains = rewards.advantages(answers, rewards(answers), 4)
    assert (gains[2] < 0).all() and (gains[0] > 0).all()


@pytest.mark.skipif(missing_phones() is not None, reason="hama is not installed")
def test_phones_that_are_heard() -> None:
    tools = _tools(FakeEngine())
    reward = make_reward(RewardSettings(name="heard_phones"), tools, Path())
    made = answer(range(5), range(5))
    sound = made.prepared.source.replace(samples=np.zeros(int(0.6 * 8000), np.float32))
    made = replace(made, audio=sound)
    scores = np.full((30, len(phone_signs()[0])), np.log(0.01), np.float32)
    ids = text_phones("words")
    for at, phone in enumerate(ids):
        scores[5 * at + 4, phone] = np.log(0.9)
    with patch.object(heard_phones, "phone_posteriors", return_value=scores) as heard:
        assert reward.score([made]) == [pytest.approx(0.9)]
        found, dense = reward.by_part([made]), reward.per_token([made])
        assert found is not None and dense is not None
        parts, placed = found[0], dense[0]
        assert heard.call_count == 1
    assert parts is not None and len(parts) == len(ids)
    assert all(0 <= one.begin < one.end <= 5 for one in parts)
    assert [one.end for one in parts] == sorted(one.end for one in parts)
    assert len(placed) == 25 and sum(placed) == pytest.approx(0.9)
    with patch.object(heard_phones, "phone_posteriors", return_value=scores[:2]):
        assert reward.score([replace(made)]) == [0.0]  # too short to say them
    silent: Sequence[Answer] = [
        replace(
            made,
            request=replace(made.request, words=None, utterance=sound.replace(transcript=None)),
        )
    ]
    assert reward.score(silent) == [None]
