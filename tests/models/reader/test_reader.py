"""Codes read back as words."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.codes import DualCodes
from stepedit_core.errors import CheckpointError
from stepedit_core.models.reader import (
    BLANK,
    FRAMES_PER_GROUP,
    READER,
    PhoneNetwork,
    PhoneReader,
    phones_of,
)
from stepedit_core.models.text.pronunciations import PHONES, Pronunciations
from tests.models.clear_reader import ClearNetwork, spoken, write_dictionary

LINES = "a AH\nbee B IY\nsea S IY\ntea T IY\n"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Pronunciations:
    return write_dictionary(tmp_path_factory.mktemp("words"), LINES)


@pytest.fixture
def reader(words: Pronunciations) -> PhoneReader:
    return PhoneReader(ClearNetwork(), words)


def random_codes(groups: int, seed: int = 0) -> DualCodes:
    rng = np.random.default_rng(seed)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))


def test_phones_are_those_of_all_words_in_order(words: Pronunciations) -> None:
    expected = [PHONES.index(name) for name in ("B", "IY", "AH")]
    assert phones_of("Bee, [laugh] a!", words) == expected
    for unread in ("", "  ...", "bee 42", "bee xyzzy", "bee R2D2", "你好", "bee 你"):
        assert phones_of(unread, words) is None
    assert phones_of("bee xyzzy a", words, 99) == [*expected[:2], 99, expected[2]]
    assert phones_of("bee R2D2 naïve", words, 99) == [*expected[:2], 99, 99]
    for unread in ("", "bee 你", "你好"):
        assert phones_of(unread, words, 99) is None


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
    assert reader.score(spoken("B IY"), "bee 你") is None
    assert reader.score(DualCodes([], []), "bee") is None and reader.reads("bee")


def test_an_unknown_word_may_sound_like_anything_but_the_others_may_not(
    reader: PhoneReader,
) -> None:
    text = "bee sea xyzzy tea"
    assert reader.reads(text) and not reader.reads("xyzzy bee")

    def score(said: str) -> float:
        found = reader.score(spoken(said), text)
        assert found is not None
        return found

    right = score("B IY S IY _ Z IH _ T IY")
    assert abs(score("B IY S IY _ K AA K AA _ T IY") - right) < 0.3
    assert score("B IY S IY _ Z IH _ K IY") < right - 0.5
    assert score("S IY _ Z IH _ T IY") < right - 0.5


def test_scores_are_those_of_all_paths_together(words: Pronunciations) -> None:
    torch.manual_seed(1)
    network = PhoneNetwork(8, 1)
    with torch.no_grad():  # some phones more probable than others
        network.head.weight.mul_(10)
    reader, codes = PhoneReader(network, words), random_codes(1)
    heard = reader.hear([codes])[0].numpy().astype(np.float64)
    bee = [PHONES.index("B"), PHONES.index("IY")]
    paths = itertools.product([*bee, BLANK], repeat=FRAMES_PER_GROUP)
    chances = [
        sum(heard[frame, label] for frame, label in enumerate(path))
        for path in paths
        if [label for label, _ in itertools.groupby(path) if label != BLANK] == bee
    ]
    assert reader.score(codes, "bee") == pytest.approx(np.logaddexp.reduce(chances) / 2, rel=1e-5)


def test_several_are_read_as_each_alone(words: Pronunciations) -> None:
    torch.manual_seed(2)
    reader = PhoneReader(PhoneNetwork(8, 1), words)
    answers = [random_codes(length, length) for length in (3, 1, 3, 2)] + [DualCodes([], [])]
    alone = [reader.score(one, "bee sea") for one in answers]
    assert alone[-1] is None and None not in alone[:-1]
    assert reader.scores(answers, "bee sea")[:-1] == pytest.approx(alone[:-1], rel=1e-5)
    assert reader.scores(answers, "bee 42") == [None] * 5


def test_padded_codes_sound_as_they_do_alone(words: Pronunciations) -> None:
    torch.manual_seed(0)
    reader = PhoneReader(PhoneNetwork(16, 2), words)
    one, other = random_codes(7), random_codes(12, 1)
    linguistic, semantic = (
        pad_sequence([torch.from_numpy(a.copy()).long(), torch.from_numpy(b.copy()).long()], True)
        for a, b in ((one.linguistic, other.linguistic), (one.semantic, other.semantic))
    )
    with torch.inference_mode():
        together = reader.network(linguistic, semantic, torch.tensor([7, 12]))
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


def test_the_bound_falls_as_an_answer_is_said_and_is_never_exceeded(words: Pronunciations) -> None:
    torch.manual_seed(0)
    reader = PhoneReader(PhoneNetwork(16, 2), words)
    text = "bee sea tea a"
    whole = random_codes(30)
    bounds = [reader.best_score(whole.slice_groups(0, groups), text) for groups in range(1, 31)]
    assert bounds[0] == np.inf  # nothing is settled yet
    settled = bounds[2:]
    assert all(later <= earlier + 1e-5 for earlier, later in itertools.pairwise(settled))
    for seed in range(5):
        end = random_codes(9, seed + 1)
        longer = DualCodes([*whole.linguistic, *end.linguistic], [*whole.semantic, *end.semantic])
        for codes in (whole, longer):
            score = reader.score(codes, text)
            assert score is not None and score <= settled[-1] + 1e-5
    assert reader.best_score(whole, "bee sea tea a bee xyzzy") == np.inf


def test_what_is_said_again_and_again_cannot_become_the_best(reader: PhoneReader) -> None:
    right = reader.score(spoken("_ B IY _ S IY _ T IY _"), "bee sea tea")
    endless = spoken("_ B IY _ B IY _ B IY _ B IY _ B IY _")
    going_well = spoken("_ B IY _ S IY _")
    assert right is not None
    assert reader.best_score(endless, "bee sea tea") < right - 1
    assert reader.best_score(going_well, "bee sea tea") > right - 0.01
