"""The choice among several answers, at the end and while they are drawn."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from stepedit_core import Edit, Engine, Prompt, SamplingConfig, Utterance
from stepedit_core.codes import DualCodes
from stepedit_core.engines import GenerateRequest
from stepedit_core.llm_route import request_for
from stepedit_core.models.answering import answer_requests
from stepedit_core.models.choosing import answer_by_choice
from stepedit_core.models.generation_session import Session
from stepedit_core.models.parts import EngineParts
from stepedit_core.models.pronunciations import Pronunciations
from stepedit_core.models.reading import PhoneReader
from stepedit_core.models.sampling import Sampling
from stepedit_core.models.steering import Draws, Steering, redrawn
from stepedit_core.speech import packaged_speech
from tests.models.clear_reader import ClearNetwork
from tests.models.tiny_checkpoint import write_engine
from tests.models.tiny_step1 import LAYOUT, prompts, tiny_model

LINES = "a AH\nbee B IY\nsea S IY\n"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Pronunciations:
    path = tmp_path_factory.mktemp("words") / "pronunciations.txt.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    return Pronunciations(path)


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
    """A fake: prefers answers whose codes are high."""

    def score(self, codes: DualCodes, text: str) -> float | None:
        return float(codes.linguistic.mean())

    def follow(
        self, codes: Sequence[DualCodes], ended: Sequence[bool], text: str
    ) -> npt.NDArray[np.float64]:
        return np.array([float(one.linguistic.mean()) for one in codes])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = write_engine(tmp_path_factory.mktemp("engine"))
    return Engine.load(folder, sampling=SamplingConfig(max_length=900, max_growth=1.0))


@pytest.fixture(scope="module")
def parts(engine: Engine, words: Pronunciations) -> EngineParts:
    return dataclasses.replace(engine.parts, reader=Preferring(ClearNetwork(), words))


def asked(engine: Engine, text: str, seed: int) -> GenerateRequest:
    speech = packaged_speech("office")
    (codes,) = engine.encode([speech])
    return request_for(Say(text=text), speech, codes, seed)


def level(codes: DualCodes) -> float:
    return float(codes.linguistic.mean())


def test_of_several_answers_the_one_that_reads_best_is_kept(
    engine: Engine, parts: EngineParts
) -> None:
    known, unknown = asked(engine, "bee sea", 5), asked(engine, "bee 42", 5)
    assert known.words == "bee sea"
    one = engine.config.sampling
    many = one.model_copy(update={"candidates": 4})
    plain = answer_requests(parts, one, [known, unknown])
    chosen = answer_by_choice(parts, many, [known, unknown])
    assert chosen[1] == plain[1]  # nobody could choose
    more = [answer_by_choice(parts, many, [asked(engine, "bee sea", s)])[0] for s in range(4)]
    first = [answer_requests(parts, one, [asked(engine, "bee sea", s)])[0] for s in range(4)]
    gains = [level(a) - level(b) for a, b in zip(more, first, strict=True)]
    assert min(gains) >= 0 and max(gains) > 0
    # Alone or in a batch, and again: the same.
    assert answer_by_choice(parts, many, [known]) == [chosen[0]]
    assert chosen[0].origin is not None


def test_without_a_reader_or_a_wish_one_answer_is_drawn(engine: Engine, parts: EngineParts) -> None:
    request = asked(engine, "bee sea", 5)
    one = engine.config.sampling
    (plain,) = answer_requests(engine.parts, one, [request])
    many = one.model_copy(update={"candidates": 4, "steer_seconds": 0.3})
    assert answer_by_choice(engine.parts, many, [request]) == [plain]
    steered = one.model_copy(update={"steer_seconds": 0.3})
    assert answer_by_choice(parts, steered, [request]) == [plain]


def test_steered_answers_read_better_and_do_not_depend_on_the_batch(
    engine: Engine, parts: EngineParts
) -> None:
    requests = [asked(engine, "bee sea", seed) for seed in range(6)]
    requests.append(asked(engine, "bee 42", 9))
    many = engine.config.sampling.model_copy(update={"candidates": 6})
    steered = many.model_copy(update={"steer_seconds": 0.12})
    kept = answer_by_choice(parts, steered, requests)  # 37 draws: two batches
    chosen = answer_by_choice(parts, many, requests)
    assert kept[6] == chosen[6]
    assert np.mean([*map(level, kept[:6])]) > np.mean([*map(level, chosen[:6])]) + 20
    assert answer_by_choice(parts, steered, [requests[4]]) == [kept[4]]


def test_rows_are_redrawn_by_their_weights() -> None:
    rng = np.random.default_rng(0)
    assert redrawn(np.zeros(8), rng) is None
    assert redrawn(np.full(4, -np.inf), rng) is None
    only = redrawn(np.array([-50.0, 0.0, -60.0, -np.inf]), rng)
    assert only is not None and only.tolist() == [1, 1, 1, 1]
    scores = np.log(np.array([0.5, 0.25, 0.25, 1e-9, 1e-9, 1e-9, 1e-9, 1e-9]))
    rows = redrawn(scores, rng)
    assert rows is not None
    assert np.bincount(rows, minlength=8)[:3].tolist() == [4, 2, 2]
    assert rows[:3].tolist() == [0, 1, 2]  # who is taken stays in place


def test_requests_do_not_take_from_each_other(words: Pronunciations) -> None:
    reader = Preferring(ClearNetwork(), words)
    draws = [Draws(0, 3, "bee", 1), Draws(3, 1, "bee", 2), Draws(4, 2, None, 3)]
    steering = Steering(reader, 100, draws, groups=1)
    low, high = [100, 101, 1124, 1125, 1126], [1000, 1001, 1124, 1125, 1126]
    rows = steering.rows([low, high, low, low, low, high], [False] * 6)
    assert rows == [1, 1, 1, 3, 4, 5]
    assert steering.rows([low, high, low, low, low, high], [True] * 6) is None
    assert steering.rows([high, high, high, low, low, high], [False] * 6) is None


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_an_item_goes_on_from_another_as_if_it_had_been_that_one(guidance: float) -> None:
    model, (prompt, *_) = tiny_model(), prompts(2)
    against = [[0] * len(prompt)] * 3 if guidance != 1 else None
    sampling = Sampling(temperature=1.0, repetition_window=4, guidance=guidance)
    session = Session(
        model, [prompt] * 3, LAYOUT, sampling, None, [1, 2, 3], 30, None, against=against
    )
    for steps in session.run(1):
        if steps == 12:
            ids, ended = session.so_far()
            if any(ended):
                pytest.skip("a seed ended its turn early")
            assert ids[0] != ids[1]
            session.take([0, 0, 2])
            session.keys[1] = session.keys[0]
    first, second, third = (item.ids for item in session.results())
    assert first == second != third and len(first) > 12
    with pytest.raises(RuntimeError), torch.inference_mode():
        session.take([9, 9, 9])
