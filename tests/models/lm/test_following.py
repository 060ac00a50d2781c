from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from stepedit_core import (
    Engine,
    GenerateRequest,
    GenerationPolicy,
    Omission,
    Plan,
    Prompt,
    SamplingConfig,
    Span,
)
from stepedit_core.alignment import Alignment as WordTimes
from stepedit_core.alignment import TimedWord
from stepedit_core.codes import DualCodes
from stepedit_core.errors import BudgetError, EngineError
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.llm_route.omissions import Passage
from stepedit_core.models.lm.constraints import Follow, Free, plan
from stepedit_core.models.lm.generation import generate, stream
from stepedit_core.models.lm.joining import can_join, is_time, join
from stepedit_core.models.lm.sampling import GREEDY, Sampling
from stepedit_core.models.lm.session import Session
from stepedit_core.models.lm.step1.alignment import Alignment, alignment_tensor, pointed, targets
from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM
from stepedit_core.recordings import packaged_speech
from tests.models.lm.begun_session import session_of
from tests.models.lm.test_position_priors import RULE
from tests.models.test_engine import Brighter
from tests.models.tiny_checkpoint import write_engine
from tests.models.tiny_step1 import LAYOUT, tiny_model

PROMPTS = [list(range(5, 5 + size)) for size in (9, 14, 6)]
SAMPLINGS = [GREEDY, Sampling(), Sampling(temperature=1.5, guidance=1.5)]


@pytest.fixture(scope="module", params=[False, True])
def model(request: pytest.FixtureRequest) -> Step1ForCausalLM:
    return tiny_model(source_alignment=RULE) if request.param else tiny_model()


def passage(seed: int, groups: int = 12) -> Passage:
    """Return ways through codes with much that repeats, as silence does."""
    rng = np.random.default_rng(seed)
    codes = DualCodes(rng.integers(0, 4, 2 * groups), rng.integers(0, 4, 3 * groups))
    parts = [Omission(Span(0.0, 0.2)), Omission(Span(0.5, 0.94), 0.14), Omission(Span(1.2, 9.0))]
    return Passage.of(codes, parts)


def alignment(row: Sequence[int]) -> Alignment:
    return Alignment(2, len(row) - 1, len(row), "audio", ((0.0, 1.0),))


CONSTRAINTS = [[Follow(passage(1))], [Follow(passage(2, 15))], [Free(3, 6)]]


def begun(model: Step1ForCausalLM, sampling: Sampling, items: Sequence[int]) -> Session:
    return session_of(model, sampling, items, PROMPTS, CONSTRAINTS, alignment)


def ids_of(session: Session) -> list[list[int]]:
    for _ in session.run(None):
        pass
    return [found.ids for found in session.results()]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_answers_are_ways_alone_and_in_batches(model: Step1ForCausalLM, sampling: Sampling) -> None:
    alone = [ids_of(begun(model, sampling, [n]))[0] for n in range(3)]
    assert ids_of(begun(model, sampling, [0, 1, 2])) == alone
    for ids, (first, *_) in zip(alone, CONSTRAINTS, strict=True):
        answer = DualCodes.from_interleaved([one - LAYOUT.audio_base for one in ids])
        if isinstance(first, Follow):
            places = first.passage.places(answer)
            assert places[0] == 5 and 24 < places[-1] <= 32
            assert (np.diff(places) >= 3).all()
    row = PROMPTS[1]
    streamed = stream(
        model, row, layout=LAYOUT, sampling=sampling, constraint=CONSTRAINTS[1], seed=101,
        alignment=alignment(row), against=list(reversed(row)),
    )  # fmt: skip
    assert list(streamed) == alone[1]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_rows_that_join_say_what_they_say_alone(
    model: Step1ForCausalLM, sampling: Sampling
) -> None:
    alone = [ids_of(begun(model, sampling, [n]))[0] for n in range(3)]
    session, other = begun(model, sampling, [0]), begun(model, sampling, [1, 2])
    free = begun(model, sampling, [2])
    next(free.run(None))
    joined = False
    for _ in session.run(None):
        if not joined and len(session.ended_items()) < session.count:
            assert not can_join(session, free)
            if other.decoder is None:
                next(other.run(None))
            if is_time(session, other):
                join(session, other)
                joined = True
    assert joined
    assert [found.ids for found in session.results()] == alone


def test_equal_ways_read_the_model_once(model: Step1ForCausalLM) -> None:
    whole = Passage.of(DualCodes(range(20), range(30)), [])
    (made,) = generate(
        model, [PROMPTS[0]], layout=LAYOUT, sampling=GREEDY, constraints=[[Follow(whole)]],
        alignments=[alignment(PROMPTS[0])],
    )  # fmt: skip
    assert made.finish == "stop"
    wanted = DualCodes(range(20), range(30)).interleave() + LAYOUT.audio_base
    assert made.ids == wanted.tolist()


def test_what_follows_stands_alone_and_fits() -> None:
    follow = Follow(passage(1))
    with pytest.raises(ValueError, match="whole answer"):
        plan([follow, Free(1, 2)], 1000)
    with pytest.raises(BudgetError, match="60 tokens but 50"):
        plan([follow], 50)


def test_a_record_is_pointed_further() -> None:
    records = alignment_tensor([alignment(PROMPTS[0]), None, alignment(PROMPTS[1])])
    moved = pointed(records, torch.tensor([2.0, torch.nan, torch.nan]))
    index = torch.tensor([[0, 2, 5, 12]])
    assert (targets(moved, index)[0] - targets(records, index)[0]).tolist() == [10.0] * 4
    assert torch.equal(moved[1:], records[1:])


class Quieter(Brighter):
    """Leave out what a policy of its own says."""

    def plan(self, utterance: object) -> Plan:
        return (
            super()
            .plan(utterance)
            .but(  # type: ignore[arg-type]
                omissions=(Omission(Span(0.0, 0.3)), Omission(Span(0.8, 1.2), 0.1))
            )
        )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    policy = GenerationPolicy(edits={"quieter": {"follow_source": True, "best_of": 4}})
    folder: Path = write_engine(tmp_path_factory.mktemp("engine"))
    return Engine.load(folder, sampling=SamplingConfig(max_length=900), generation=policy)


def test_an_edit_keeps_its_words_at_their_times(engine: Engine) -> None:
    words = packaged_speech("surpassed")
    times = (TimedWord("surpassed", 0.4, 0.7), TimedWord("all", 1.3, 1.5))
    speech = words.replace(transcript="surpassed all").replace(
        alignment=WordTimes("surpassed all", times, "hand")
    )
    edit = Quieter()
    assert engine.follows_source(edit.plan(speech))
    assert not engine.follows_source(Brighter().plan(speech))
    assert not engine.follows_source(edit.plan(speech).but(spans=(Span(0.1, 0.5),)))
    (made,) = apply_by_llm([edit], [speech], engine, [1])
    source = engine.encode([speech])[0]
    way = Passage.of(source, edit.plan(speech).omissions or ())
    assert made.codes is not None and made.details["follows_source"] is True
    places = way.places(made.codes)
    assert (np.diff(places) > 3).any()
    carried = made.utterance.alignment
    assert carried is not None
    gone = 0.04 * (places[-1] - 3 * (len(places) - 1))
    assert carried.words[1].start == pytest.approx(1.3 - source.start - gone, abs=0.13)
    chunks = list(engine.stream(speech, edit, seed=1))
    assert sum(map(len, chunks)) == pytest.approx(made.codes.seconds * engine.sample_rate, rel=0.05)


def test_where_nothing_goes_the_length_stays(engine: Engine) -> None:
    speech = packaged_speech("books").slice((0.0, 1.7))
    plan = Quieter().plan(speech).but(omissions=())
    (made,) = apply_by_llm([Quieter()], [speech], engine, [1], plans=[plan])
    assert made.details["follows_source"] is True
    assert made.utterance.seconds == pytest.approx(speech.seconds, abs=1e-3)


def test_candidates_are_drawn_where_they_are_asked_for(engine: Engine) -> None:
    speech = packaged_speech("surpassed")
    source = engine.encode([speech])[0]
    request = GenerateRequest(Prompt.edit("x"), source, speech, 3, Quieter().plan(speech))
    batch = engine.inflight_batch()
    batch.add(1, request)
    found: list[tuple[int, list[DualCodes] | Exception]] = []
    while len(batch):
        found += batch.step()
    assert found == [(1, engine.generate([request] * 2)[:1])]


def test_speech_that_is_all_silence_has_no_answer(engine: Engine) -> None:
    speech = packaged_speech("surpassed")
    source = engine.encode([speech])[0]
    gone = Plan(omissions=(Omission(Span(-1.0, 60.0)),), rules=("quieter",))
    with pytest.raises(EngineError, match="without any speech"):
        engine.generate([GenerateRequest(Prompt.edit("x"), source, speech, 3, gone)])
