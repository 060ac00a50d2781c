"""Codes read back as words, and the choice among several answers by it."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest

from stepedit_core import Edit, Engine, Prompt, SamplingConfig, Utterance
from stepedit_core.codes import DualCodes
from stepedit_core.errors import CheckpointError
from stepedit_core.llm_route import request_for
from stepedit_core.models.answering import answer_requests
from stepedit_core.models.choosing import answer_by_choice
from stepedit_core.models.pronunciations import PHONES, Pronunciations
from stepedit_core.models.reading import (
    READER,
    SILENCE,
    PhoneReader,
    best_path,
    phone_states,
)
from stepedit_core.speech import packaged_speech
from tests.models.tiny_checkpoint import write_engine

LINES = "a AH\nbee B IY\nsea S IY\ntea T IY\n"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Pronunciations:
    path = tmp_path_factory.mktemp("words") / "pronunciations.txt.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    return Pronunciations(path)


def clear_emissions() -> np.ndarray:
    """Each phone has a code of its own: the code ``n`` is said in phone ``n``."""
    counts = np.full((SILENCE + 1, 1024), 0.01)
    counts[np.arange(SILENCE + 1), np.arange(SILENCE + 1)] = 100.0
    return np.log(counts / counts.sum(1, keepdims=True))


@pytest.fixture
def reader(words: Pronunciations) -> PhoneReader:
    return PhoneReader(clear_emissions(), words)


def spoken(text: str, each: int = 2) -> DualCodes:
    """Return codes that say phones, each so many times."""
    linguistic = [
        SILENCE if name == "_" else PHONES.index(name) for name in text.split() for _ in range(each)
    ]
    return DualCodes(linguistic, [0] * (3 * len(linguistic) // 2))


def test_states_are_phones_with_silences_around_words(words: Pronunciations) -> None:
    states = phone_states("Bee, [laugh] a!", words)
    b, iy, ah = (PHONES.index(name) for name in ("B", "IY", "AH"))
    assert states is not None and states.tolist() == [SILENCE, b, iy, SILENCE, ah, SILENCE]
    for unread in ("", "  ...", "bee 42", "bee xyzzy", "你好", "bee 你"):
        assert phone_states(unread, words) is None


def test_the_best_path_goes_through_all_phones_in_order(words: Pronunciations) -> None:
    states = phone_states("bee sea", words)
    assert states is not None
    codes = spoken("B IY IY S IY _", each=1).linguistic
    told, path = best_path(clear_emissions()[states][:, codes].T, states)
    assert [int(state) for state in states[path]] == codes.tolist()
    assert (np.diff(path) >= 0).all() and np.isfinite(told)
    # One code for a text: the path cannot reach its end, and says so by its price.
    assert best_path(clear_emissions()[states][:, codes[:1]].T, states)[0] < -1e8


def test_what_is_left_out_or_said_twice_reads_worse(reader: PhoneReader) -> None:
    right = reader.score(spoken("_ B IY _ S IY _ T IY _"), "bee sea tea")
    for wrong in (
        "_ B IY _ T IY _",  # left out
        "_ B IY _ S IY _ S IY _ T IY _",  # said twice
        "_ S IY _ B IY _ T IY _",  # another order
        "_ B IY _ S AH _ T IY _",  # another phone
    ):
        score = reader.score(spoken(wrong), "bee sea tea")
        assert right is not None and score is not None and score < right - 0.2
    # Tempo and pauses hardly matter.
    slow = reader.score(spoken("B IY S IY _ _ T IY", each=3), "bee sea tea")
    assert slow is not None and right is not None and abs(slow - right) < 1.5
    assert reader.score(spoken("B IY"), "bee 42") is None and not reader.reads("bee 42")
    assert reader.score(DualCodes([], []), "bee") is None and reader.reads("bee")


def test_damaged_readers_are_refused(tmp_path: Path, words: Pronunciations) -> None:
    assert PhoneReader.load(tmp_path, words) is None
    np.savez(tmp_path / READER, emissions=clear_emissions().astype(np.float16))
    assert PhoneReader.load(tmp_path, None) is None
    assert PhoneReader.load(tmp_path, words) is not None
    for broken in ({"emissions": np.zeros((3, 4))}, {"other": np.zeros(3)}):
        np.savez(tmp_path / READER, **broken)
        with pytest.raises(CheckpointError, match=r"reader\.npz"):
            PhoneReader.load(tmp_path, words)
    for content in (b"no archive", b"", b"PK\x03\x04 cut"):
        (tmp_path / READER).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"reader\.npz"):
            PhoneReader.load(tmp_path, words)


class Say(Edit):
    """Say other words."""

    text: str
    """Which."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.clone(utterance.transcript or "", self.text)

    def transcript_after(self, utterance: Utterance) -> str:
        return self.text

    def length_ratio(self, utterance: Utterance) -> float:
        return 0.3


class Preferring(PhoneReader):
    """A fake: prefers answers whose first code is high, to see which one is taken."""

    def score(self, codes: DualCodes, text: str) -> float | None:
        return float(codes.linguistic[0])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = write_engine(tmp_path_factory.mktemp("engine"))
    return Engine.load(folder, sampling=SamplingConfig(max_length=900, max_growth=1.0))


def test_of_several_answers_the_one_that_reads_best_is_kept(
    engine: Engine, words: Pronunciations
) -> None:
    parts = dataclasses.replace(engine.parts, reader=Preferring(clear_emissions(), words))
    speech = packaged_speech("office")
    (codes,) = engine.encode([speech])
    known = request_for(Say(text="bee sea"), speech, codes, 5)
    unknown = request_for(Say(text="bee 42"), speech, codes, 5)
    assert known.words == "bee sea"
    one = engine.config.sampling
    many = one.model_copy(update={"candidates": 4})
    plain = answer_requests(parts, one, [known, unknown])
    chosen = answer_by_choice(parts, many, [known, unknown])
    assert chosen[1] == plain[1]  # nobody could choose
    assert chosen[0].linguistic[0] >= plain[0].linguistic[0]
    more = [answer_by_choice(parts, many, [request_for(Say(text="bee sea"), speech, codes, s)])
            for s in range(4)]  # fmt: skip
    first = [answer_requests(parts, one, [request_for(Say(text="bee sea"), speech, codes, s)])
             for s in range(4)]  # fmt: skip
    gains = [int(a[0].linguistic[0]) - int(b[0].linguistic[0])
             for a, b in zip(more, first, strict=True)]  # fmt: skip
    assert min(gains) >= 0 and max(gains) > 0
    # Alone or in a batch, and again: the same.
    assert answer_by_choice(parts, many, [known]) == [chosen[0]]
    assert chosen[0].origin is not None


def test_without_a_reader_or_a_wish_one_answer_is_drawn(
    engine: Engine, words: Pronunciations
) -> None:
    speech = packaged_speech("office")
    (codes,) = engine.encode([speech])
    request = request_for(Say(text="bee sea"), speech, codes, 5)
    one = engine.config.sampling
    (plain,) = answer_requests(engine.parts, one, [request])
    many = one.model_copy(update={"candidates": 4})
    assert answer_by_choice(engine.parts, many, [request]) == [plain]
    parts = dataclasses.replace(engine.parts, reader=Preferring(clear_emissions(), words))
    assert answer_by_choice(parts, one, [request]) == [plain]
