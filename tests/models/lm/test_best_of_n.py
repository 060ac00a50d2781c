"""The choice among several answers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from stepedit_core import Engine, GenerationPolicy, Plan, SamplingConfig, Utterance
from stepedit_core.codes import DualCodes
from stepedit_core.engine import DecodeRequest, GenerateRequest
from stepedit_core.llm_route.planning import request_for
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm import read_again
from stepedit_core.models.lm.best_of_n import answer_by_choice, best_answers
from stepedit_core.models.lm.framing import Rules
from stepedit_core.models.lm.generate_codes import answer_requests
from stepedit_core.models.reader import PhoneReader
from stepedit_core.models.text.pronunciations import Pronunciations
from stepedit_core.recordings import packaged_speech
from tests.models.clear_reader import ClearNetwork, write_dictionary
from tests.models.tiny_checkpoint import write_engine
from tests.saying_edit import Say


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Pronunciations:
    return write_dictionary(tmp_path_factory.mktemp("words"), "bee B IY\nsea S IY\n")


class ShortSay(Say):
    """Say other words, for less than a third of the time."""

    def plan(self, utterance: Utterance) -> Plan:
        return super().plan(utterance).but(length_ratio=0.3)


class Preferring(PhoneReader):
    """A fake: prefers answers whose codes are high."""

    def scores(self, answers: Sequence[DualCodes], text: str) -> list[float | None]:
        return [float(codes.linguistic.mean()) for codes in answers]

    def best_score(self, codes: DualCodes, text: str) -> float:
        return math.inf


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = write_engine(tmp_path_factory.mktemp("engine"))
    return Engine.load(
        folder,
        sampling=SamplingConfig(max_length=400),
        generation=GenerationPolicy(max_growth=1.0),
    )


@pytest.fixture(scope="module")
def parts(engine: Engine, words: Pronunciations) -> EngineParts:
    return dataclasses.replace(engine.parts, reader=Preferring(ClearNetwork(), words))


def asked(engine: Engine, text: str, seed: int) -> GenerateRequest:
    speech = packaged_speech("office")
    (codes,) = engine.encode([speech])
    return request_for(ShortSay(text=text), speech, codes, seed)


def rules(engine: Engine, best_of: int) -> Rules:
    policy = engine.config.generation.model_copy(update={"best_of": best_of})
    return Rules(engine.config.sampling, policy)


def level(codes: DualCodes) -> float:
    return float(codes.linguistic.mean())


def test_of_several_answers_the_one_that_reads_best_is_kept(
    engine: Engine, parts: EngineParts
) -> None:
    known, unknown = asked(engine, "bee sea", 5), asked(engine, "bee 42", 5)
    assert known.words == "bee sea"
    one, many = rules(engine, 1), rules(engine, 4)
    plain = answer_requests(parts, one, [known, unknown])
    chosen = answer_by_choice(parts, many, [known, unknown])
    assert chosen[1] == plain[1]  # nobody could choose
    more = [answer_by_choice(parts, many, [asked(engine, "bee sea", s)])[0] for s in range(4)]
    first = [answer_requests(parts, one, [asked(engine, "bee sea", s)])[0] for s in range(4)]
    gains = [level(a) - level(b) for a, b in zip(more, first, strict=True)]
    assert min(gains) >= 0 and max(gains) > 0
    # Alone or in a batch, and again: the same.
    assert answer_by_choice(parts, many, [known]) == [chosen[0]]


def test_several_answers_come_best_first(engine: Engine, parts: EngineParts) -> None:
    request = asked(engine, "bee sea", 5)
    one, many = rules(engine, 1), rules(engine, 4)
    (best,) = answer_by_choice(parts, many, [request])
    (three,) = best_answers(parts, one, [request], draws=4, keep=3)
    assert len(three) == 3 and three[0] == best
    assert [level(codes) for codes in three] == sorted(map(level, three), reverse=True)
    # Rules that draw more than is asked for are kept, and nothing is ranked without a reader.
    assert best_answers(parts, many, [request], draws=2, keep=3) == [three]
    (alone,) = best_answers(engine.parts, one, [request], draws=4, keep=3)
    assert alone == answer_requests(parts, one, [request])


def test_without_a_reader_or_a_wish_one_answer_is_drawn(engine: Engine, parts: EngineParts) -> None:
    request = asked(engine, "bee sea", 5)
    one, many = rules(engine, 1), rules(engine, 4)
    (plain,) = answer_requests(engine.parts, one, [request])
    assert answer_by_choice(engine.parts, many, [request]) == [plain]
    assert answer_by_choice(parts, one, [request]) == [plain]


def test_the_best_few_are_read_again_as_they_sound(engine: Engine, parts: EngineParts) -> None:
    request, many = asked(engine, "bee sea", 5), rules(engine, 4)
    again = Rules(many.sampling, many.policy.model_copy(update={"read_again": 3}))
    (plain,) = best_answers(parts, many, [request], keep=4)
    (heard,) = best_answers(parts, again, [request], keep=4)
    reader = parts.reader
    assert reader is not None and len(plain) == 4
    audio = engine.decode([DecodeRequest(codes, request.utterance, 5) for codes in plain[:3]])
    scores = [reader.score(codes, "bee sea") or -math.inf for codes in engine.encode(audio)]
    order = sorted(range(3), key=lambda at: -scores[at])
    assert heard == [*(plain[at] for at in order), plain[3]]
    assert answer_by_choice(parts, again, [request, request]) == [heard[0]] * 2


def test_who_hears_the_best_few(
    engine: Engine,
    parts: EngineParts,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    request, many = asked(engine, "bee sea", 5), rules(engine, 4)

    def order(heard_by: str, language: str | None = "en") -> list[DualCodes]:
        policy = many.policy.model_copy(update={"read_again": 3, "heard_by": heard_by})
        own = replace(request, utterance=request.utterance.replace(language=language))
        return best_answers(parts, Rules(many.sampling, policy), [own], keep=4)[0]

    heard: list[tuple[float, str]] = []

    def likelihood(made: Utterance, text: str) -> float | None:
        heard.append((made.seconds, text))
        return float(len(heard))  # the later one is the likelier one

    monkeypatch.setattr(read_again, "missing_phones", lambda: None)
    monkeypatch.setattr(read_again, "phone_likelihood", likelihood)
    (plain,) = best_answers(parts, many, [request], keep=4)
    by_codes = order("codes")
    assert not heard
    assert order("phones") == [plain[2], plain[1], plain[0], plain[3]]
    assert len(heard) == 3 and {text for _, text in heard} == {"bee sea"}
    assert order("phones", "zh") == by_codes and len(heard) == 3
    monkeypatch.setattr(read_again, "phone_likelihood", lambda made, text: None)
    assert order("phones") == by_codes
    monkeypatch.setattr(read_again, "missing_phones", lambda: "hama is not installed")
    monkeypatch.setattr(read_again, "phone_likelihood", likelihood)
    assert order("phones") == by_codes and len(heard) == 3
    order("phones")
    assert caplog.text.count("hama is not installed: spoken answers are read again by") == 1
