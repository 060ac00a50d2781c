"""Codes read back as words."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from stepedit_core.codes import DualCodes
from stepedit_core.errors import CheckpointError
from stepedit_core.models.pronunciations import PHONES, Pronunciations
from stepedit_core.models.reading import (
    BLANK,
    FRAMES_PER_GROUP,
    READER,
    PhoneNetwork,
    PhoneReader,
    phones_of,
)
from stepedit_core.models.reading.prefixes import beginning_scores
from tests.models.clear_reader import ClearNetwork, spoken

LINES = "a AH\nbee B IY\nsea S IY\ntea T IY\n"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Pronunciations:
    path = tmp_path_factory.mktemp("words") / "pronunciations.txt.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    return Pronunciations(path)


@pytest.fixture
def reader(words: Pronunciations) -> PhoneReader:
    return PhoneReader(ClearNetwork(), words)


def random_codes(groups: int, seed: int = 0) -> DualCodes:
    rng = np.random.default_rng(seed)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))


def test_phones_are_those_of_all_words_in_order(words: Pronunciations) -> None:
    expected = [PHONES.index(name) for name in ("B", "IY", "AH")]
    assert phones_of("Bee, [laugh] a!", words) == expected
    for unread in ("", "  ...", "bee 42", "bee xyzzy", "你好", "bee 你"):
        assert phones_of(unread, words) is None


def test_what_is_left_out_or_said_twice_reads_worse(reader: PhoneReader) -> None:
    right = reader.score(spoken("_ B IY _ S IY _ T IY _"), "bee sea tea")
    for wrong in (
        "_ B IY _ T IY _",  # left out
        "_ B IY _ S IY _ S IY _ T IY _",  # said twice
        "_ S IY _ B IY _ T IY _",  # another order
        "_ B IY _ S AH _ T IY _",  # another phone
    ):
        score = reader.score(spoken(wrong), "bee sea tea")
        assert right is not None and score is not None and score < right - 0.5
    # Tempo and pauses hardly matter.
    slow = reader.score(spoken("B IY S IY _ _ T IY", each=4), "bee sea tea")
    assert slow is not None and right is not None and abs(slow - right) < 0.3
    assert reader.score(spoken("B"), "bee sea tea tea tea tea") == -np.inf  # no room
    assert reader.score(spoken("B IY"), "bee 42") is None and not reader.reads("bee 42")
    assert reader.score(DualCodes([], []), "bee") is None and reader.reads("bee")


def test_scores_are_those_of_all_paths_together() -> None:
    rng = np.random.default_rng(3)
    heard = rng.normal(size=(2, 5, BLANK + 1))
    heard -= np.logaddexp.reduce(heard, axis=-1, keepdims=True)
    phones = np.array([4, 4, 7])

    def says(path: tuple[int, ...]) -> list[int]:
        return [label for label, _ in itertools.groupby(path) if label != BLANK]

    paths = list(itertools.product([4, 7, BLANK], repeat=5))
    chances = np.array([sum(heard[0, t, label] for t, label in enumerate(p)) for p in paths])
    whole = [says(path) == [4, 4, 7] for path in paths]
    begun = [says(path) == [4, 4, 7][: len(says(path))] for path in paths]
    frames, ended = np.array([5, 3]), np.array([True, False])
    scores = beginning_scores(heard, frames, ended, phones)
    assert scores[0] == pytest.approx(np.logaddexp.reduce(chances[whole]))
    assert beginning_scores(heard, frames, ~ended, phones)[0] == pytest.approx(
        np.logaddexp.reduce(chances[begun])
    )
    # What follows the frames of a row changes nothing.
    changed = heard.copy()
    changed[1, 3:] = -1.0
    np.testing.assert_allclose(beginning_scores(changed, frames, ended, phones), scores)
    loss = F.ctc_loss(
        torch.from_numpy(heard[:1]).transpose(0, 1), torch.from_numpy(phones)[None],
        torch.tensor([5]), torch.tensor([3]), blank=BLANK, reduction="sum",
    )  # fmt: skip
    assert scores[0] == pytest.approx(-float(loss))
    assert beginning_scores(heard[:, :2], frames - 3, ended, phones)[0] == -np.inf


def test_beginnings_are_followed_as_they_grow(reader: PhoneReader) -> None:
    text = "bee sea tea"
    good, slipped = spoken("_ B IY _ S IY _ _ _ _"), spoken("_ B IY _ T IY _ _ _ _")
    going = reader.follow([good, slipped], [False, False], text)
    assert going[0] > going[1] + 3 and going[0] > -3
    # What has ended must have said all of it.
    over = reader.follow([good, spoken("_ B IY _ S IY _ T IY _")], [True, True], text)
    assert over[1] > over[0] + 3
    # The last two groups of what goes on are not looked at; there may be nothing else.
    assert reader.follow([spoken("T IY")], [False], text)[0] == pytest.approx(0, abs=1e-6)


def test_padded_codes_sound_as_they_do_alone(words: Pronunciations) -> None:
    torch.manual_seed(0)
    reader = PhoneReader(PhoneNetwork(16, 2), words)
    one, other = random_codes(7), random_codes(12, 1)
    together = reader.hear([one, other])
    assert together.shape == (2, 12 * FRAMES_PER_GROUP, BLANK + 1)
    assert together.exp().sum(-1).allclose(torch.ones(2, 72))
    torch.testing.assert_close(together[0, : 7 * FRAMES_PER_GROUP], reader.hear([one])[0])
    torch.testing.assert_close(together[1], reader.hear([other])[0])
    # Both streams are heard.
    deaf = DualCodes(one.linguistic, random_codes(7, 5).semantic)
    assert not reader.hear([deaf]).allclose(reader.hear([one]), atol=1e-3)


def test_weights_give_their_own_sizes(tmp_path: Path, words: Pronunciations) -> None:
    assert PhoneReader.load(tmp_path, words) is None
    network = PhoneNetwork(24, 3, 5)
    weights = {name: tensor.half() for name, tensor in network.state_dict().items()}
    save_file(weights, tmp_path / READER)
    assert PhoneReader.load(tmp_path, None) is None
    reader = PhoneReader.load(tmp_path, words)
    assert reader is not None and reader.network.head.weight.dtype == torch.float32
    assert len(reader.network.blocks) == 3
    torch.testing.assert_close(
        reader.hear([random_codes(4)]),
        PhoneReader(network, words).hear([random_codes(4)]),
        atol=0.02,
        rtol=0.02,
    )


def test_damaged_readers_are_refused(tmp_path: Path, words: Pronunciations) -> None:
    weights = dict(PhoneNetwork(8, 1).state_dict())
    lacking = {name: t for name, t in weights.items() if not name.startswith("linguistic")}
    narrow = weights | {"head.bias": torch.zeros(3)}
    blockless = {name: t for name, t in weights.items() if "blocks" not in name}
    for broken in (lacking, narrow, blockless, {"other": torch.zeros(3)}):
        save_file(broken, tmp_path / READER)
        with pytest.raises(CheckpointError, match=r"reader\.safetensors"):
            PhoneReader.load(tmp_path, words)
    for content in (b"no weights", b""):
        (tmp_path / READER).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"reader\.safetensors"):
            PhoneReader.load(tmp_path, words)
