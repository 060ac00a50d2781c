"""The time-aligned prior: what it looks at, and that every path computes the same."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from stepedit_core.codes import DualCodes
from stepedit_core.engine import FreeGroups, GenerateRequest
from stepedit_core.models.lm import session
from stepedit_core.models.lm.constraints import Segment, grammar, mask
from stepedit_core.models.lm.framing import aligned_prompt, prompt_ids
from stepedit_core.models.lm.generation import generate, stream
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.step1 import (
    DEFAULT_ALIGNMENT,
    Alignment,
    Step1ForCausalLM,
    alibi,
    alignment_tensor,
    decoding,
)
from stepedit_core.models.lm.step1.alibi import alibi_slopes
from stepedit_core.models.lm.step1.alignment import AlignmentRule, targets
from stepedit_core.models.lm.step1.decoding import GraphDecoder
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.testing import speech_like
from tests.models.lm.test_generation import ReplayedStep
from tests.models.tiny_step1 import LAYOUT, tiny_config, tiny_model

RULE: list[dict[str, Any] | None] = [
    {"kind": "source", "slope": 8.0, "offset": 0},
    {"kind": "recent", "slope": 2.0, "offset": -1},
    None,
    {"kind": "source", "slope": 4.0, "offset": 5},
    {"kind": "source", "slope": 0.5, "offset": -5},
    None,
]
LENGTHS = (9, 24, 17)


@pytest.fixture(scope="module")
def model() -> Step1ForCausalLM:
    return tiny_model(source_alignment=RULE)


def codes(groups: int) -> DualCodes:
    rng = np.random.default_rng(groups)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))


def prompts() -> list[list[int]]:
    return [
        torch.randint(68, 5000, (n,), generator=torch.Generator().manual_seed(n)).tolist()
        for n in LENGTHS
    ]


def alignments() -> list[Alignment | None]:
    return [
        Alignment(2, 7, LENGTHS[0], "audio", ((0.0, 1.0),)),
        Alignment(5, 20, LENGTHS[1], "audio", ((0.0, 1.0), (2.0, 0.5), (3.0, -0.5))),
        Alignment(4, 11, LENGTHS[2], "text", ((0.0, 3.5),)),
    ]


def places(alignment: Alignment, count: int) -> list[float]:
    records = alignment_tensor([alignment])
    found: list[float] = targets(records, torch.arange(count)[None])[0].tolist()
    return found


def test_even_pace_points_at_the_same_token() -> None:
    same = Alignment(10, 4010, 5000, "audio", ((0.0, 1.0),))
    assert places(same, 4000) == list(range(4000))


@pytest.mark.parametrize("pace", [1.35, 1 / 1.35, 1.6, 1 / 1.6])
def test_another_pace_points_at_the_token_of_its_kind_at_that_time(pace: float) -> None:
    found = places(Alignment(0, 900, 900, "audio", ((0.0, pace),)), 300)
    for index, place in enumerate(found):
        group, slot = divmod(index, 5)
        rate, first = (2, 0) if slot < 2 else (3, 2)
        middle = (group + (slot - first + 0.5) / rate) * pace * 0.12
        source_group, source_slot = divmod(int(place), 5)
        assert (source_slot < 2) == (slot < 2)
        begin = (source_group + (source_slot - first) / rate) * 0.12
        assert begin - 1e-4 <= middle < begin + 0.12 / rate + 1e-4


def test_text_is_passed_through_evenly() -> None:
    found = places(Alignment(0, 30, 60, "text", ((0.0, 3.0),)), 50)
    assert found[0] == pytest.approx(0.3 - 0.5)
    assert np.allclose(np.diff(found), 0.6, atol=1e-5)


def by_hand(alignment: Alignment, length: int) -> torch.Tensor:
    """The bias by its definition, one pair at a time; float64 ``(heads, length, length)``."""
    ordinary = alibi_slopes(6).tolist()
    where = places(alignment, max(1, length + 1 - alignment.answer))
    bias = torch.full((6, length, length), -math.inf, dtype=torch.float64)
    for head, own_rule in enumerate(RULE):
        for q in range(length):
            for k in range(q + 1):
                said = q + 1 - alignment.answer
                own, distance = ordinary[head], float(q - k)
                if own_rule is not None and own_rule["kind"] == "recent":
                    own, distance = own_rule["slope"], abs(q + own_rule["offset"] - k)
                elif own_rule is not None and said >= 0:
                    own = own_rule["slope"]
                    if alignment.start - 1 <= k <= alignment.stop:
                        place = alignment.start + where[said] + own_rule["offset"]
                        place = min(max(place, alignment.start - 1), alignment.stop)
                        distance = abs(place - k)
                bias[head, q, k] = -own * math.sqrt(distance)
    return bias


@pytest.mark.parametrize("index", range(3))
def test_the_bias_is_what_its_definition_says(model: Step1ForCausalLM, index: int) -> None:
    alignment = alignments()[index]
    assert alignment is not None
    length = alignment.answer + 13
    records = alignment_tensor([alignment])
    made = model.model.bias(length, 0, None, records).whole(length).view(6, length, length)
    expected = by_hand(alignment, length)
    seen = expected > -math.inf
    torch.testing.assert_close(made[seen].double(), expected[seen], rtol=1e-5, atol=1e-5)
    assert made[~seen].max() == torch.finfo(torch.float32).min


def test_a_row_without_alignment_keeps_the_ordinary_bias() -> None:
    rule = [None if head and head["kind"] == "recent" else head for head in RULE]
    model, plain = tiny_model(source_alignment=rule), tiny_model()
    ids = torch.tensor([prompts()[1]])
    with torch.no_grad():
        ours = model(ids, alignment=alignment_tensor([None])).logits
        torch.testing.assert_close(ours, plain(ids).logits)
        aligned = model(ids, alignment=alignment_tensor(alignments()[1:2])).logits
        # All rows but the last stand before the answer.
        torch.testing.assert_close(aligned[:, :-1], ours[:, :-1])
        assert (aligned[:, -1] - ours[:, -1]).abs().max() > 1e-3


def slow_greedy(model: Step1ForCausalLM, index: int, groups: int) -> list[int]:
    """Grammar-bound argmax over the whole text at every step."""
    out = list(prompts()[index])
    records = alignment_tensor([alignments()[index]])
    for step in range(5 * groups):
        with torch.no_grad():
            logits = model(torch.tensor([out]), alignment=records).logits[0, -1]
        first, last = (0, 1024) if step % 5 < 2 else (1024, 5120)
        out.append(324 + first + int(logits[324 + first : 324 + last].argmax()))
    return out[LENGTHS[index] :]


GREEDY = Sampling(temperature=0, repetition_window=0)


def test_step_by_step_equals_the_whole_and_a_batch_equals_single_calls(
    model: Step1ForCausalLM,
) -> None:
    request: dict[str, Any] = {"layout": LAYOUT, "sampling": GREEDY}
    free = [grammar(4, 4)] * 3
    batch = generate(model, prompts(), constraints=free, alignments=alignments(), **request)
    for index, item in enumerate(batch):
        assert item.ids == slow_greedy(model, index, 4)
        own = alignments()[index]
        streamed = stream(model, prompts()[index], constraint=free[0], alignment=own, **request)
        assert list(streamed) == item.ids
    moved = [None if a is None else dataclasses.replace(a, start=a.start + 1) for a in alignments()]
    assert generate(model, prompts(), constraints=free, alignments=moved, **request) != batch


MASKS: list[tuple[Segment, ...]] = [
    mask(codes(8), [(2, 4), (6, 7)]),
    mask(codes(5), [(0, 2)]),
    mask(codes(9), [(1, 2), (5, 9)]),
]


@pytest.mark.parametrize("constraints", [[grammar(3, 3)] * 3, MASKS])
def test_prompts_in_parts_copies_and_static_shapes_change_nothing(
    model: Step1ForCausalLM, constraints: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    request: dict[str, Any] = {
        "layout": LAYOUT, "sampling": GREEDY, "constraints": constraints,
        "alignments": alignments(),
    }  # fmt: skip
    whole = generate(model, prompts(), **request)

    def capture(self: GraphDecoder, limit: int) -> tuple[ReplayedStep, torch.Tensor]:
        step = ReplayedStep(self, limit)
        return step, step.logits

    monkeypatch.setattr(GraphDecoder, "_capture", capture)
    monkeypatch.setattr(decoding, "_BUCKET", 16)
    assert generate(model, prompts(), graphs=True, **request) == whole
    monkeypatch.setattr(decoding, "_PREFILL_ROWS", 4)
    monkeypatch.setattr(alibi, "_BLOCK_ELEMENTS", 6 * 40 * 3 * 2)
    monkeypatch.setattr(session.Session, "_copy_ahead", lambda *_: None)
    assert generate(model, prompts(), **request) == whole


def test_what_lacks_an_alignment_or_has_no_use_for_it_is_refused(model: Step1ForCausalLM) -> None:
    ids = torch.tensor(prompts()[:1])
    with pytest.raises(ValueError, match="give alignment"):
        model(ids)
    with pytest.raises(ValueError, match="leave alignment out"):
        tiny_model()(ids, alignment=alignment_tensor([None]))
    with pytest.raises(ValueError, match="one alignment per prompt"):
        generate(model, prompts(), layout=LAYOUT, sampling=GREEDY)
    with pytest.raises(ValueError, match="3 prompts but 1 alignments"):
        generate(model, prompts(), layout=LAYOUT, sampling=GREEDY, alignments=[None])
    head = {"kind": "recent", "slope": 1.0, "offset": 0.0}
    changes: list[dict[str, Any]] = [
        {"kind": "far"}, {"slope": -1.0}, {"slope": None}, {"offset": 1.0}, {"more": 1},
    ]  # fmt: skip
    for wrong in (RULE[:5], *([head | change] * 6 for change in changes)):
        with pytest.raises(ValueError, match="each of 6 heads"):
            tiny_config(source_alignment=wrong)
    assert tiny_config(source_alignment=None).source_alignment is None
    sizes = {"hidden_size": 32, "num_attention_heads": 8}
    assert tiny_config(source_alignment=DEFAULT_ALIGNMENT, **sizes).source_alignment is not None


def request_for(prompt: Prompt, groups: int, ratio: float, **more: Any) -> GenerateRequest:
    speech = speech_like(0.12 * groups, 8000, seed=1).replace(transcript="It rains.")
    plan = Plan(length_ratio=ratio)
    return GenerateRequest(prompt, codes(groups), speech, 0, plan, **more)


@pytest.mark.parametrize("encoding", ["r1", "r2"])
def test_requests_name_their_audio_or_their_words(encoding: Any) -> None:
    tokenizer = ByteTokenizer()
    edit = request_for(Prompt.edit("Louder: It rains.\n"), 6, 0.5)
    made = aligned_prompt(edit, tokenizer, encoding)
    assert made.ids == prompt_ids(edit, tokenizer, encoding)
    where = made.alignment
    audio = tokenizer.audio_ids(codes(6).interleave().tolist())
    assert made.ids[where.start : where.stop] == audio
    assert (where.kind, where.answer, where.bends) == ("audio", len(made.ids), ((0.0, 2.0),))
    clone = aligned_prompt(
        request_for(Prompt.clone("It rains.", "New words"), 6, 2.0), tokenizer, encoding
    )
    where = clone.alignment
    assert tokenizer.decode(clone.ids[where.start : where.stop]) == "New words"
    assert (where.kind, where.bends) == ("text", ((0.0, 9 / 12),))


@pytest.mark.parametrize("length", [0, 2, 7])
def test_confined_requests_bend_where_their_parts_meet(length: int) -> None:
    free = (FreeGroups(3, 6, length), FreeGroups(8, 9, 1))
    request = request_for(Prompt.edit("Do\n"), 12, 1.0, free=free)
    where = aligned_prompt(request, ByteTokenizer(), "r1").alignment
    found = places(where, 5 * (12 - 3 + length))
    assert found[:15] == list(range(15))
    joins = 5 * (3 + length) + (5 if length == 0 else 0)
    shift = 5 * (3 - length)
    assert found[joins:] == [index + shift for index in range(joins, len(found))]
    assert all(15 <= place < 35 for place in found[15:joins])


def test_what_is_put_in_has_no_place_in_the_source() -> None:
    free = (FreeGroups(3, 4, 5, new=True), FreeGroups(8, 9, 3, new=True))
    request = request_for(Prompt.edit("Do\n"), 12, 1.5, free=free)
    where = aligned_prompt(request, ByteTokenizer(), "r1").alignment
    assert len(where.away) == 2
    found = places(where, 5 * 18)
    far = [index for index, place in enumerate(found) if place >= 60]
    # Half of the group that a sound is put into is told before it, the other half after it.
    first = [16, 18, 19, *range(20, 35), 35, 37]
    second = [61, 63, 64, *range(65, 70), 70, 72]
    assert far == first + second
    assert found[:15] == list(range(15))
    assert found[40:60] == list(range(20, 40)) and found[75:] == list(range(45, 60))


def test_stretches_away_are_in_the_record_and_padded_as_bends_are() -> None:
    plain = Alignment(2, 12, 20, "audio", ((0.0, 1.0),))
    away = Alignment(2, 12, 20, "audio", ((0.0, 1.0),), ((1.0, 2.0),))
    records = alignment_tensor([plain, away])
    assert records.shape == (2, 8)
    found = targets(records, torch.arange(20)[None].expand(2, -1))
    assert found[0].tolist() == list(range(20))
    assert found[1, :5].tolist() == list(range(5)) and found[1, 15:].tolist() == list(range(15, 20))
    assert (found[1, 5:15] > 1000).all()


def test_a_pace_may_begin_before_the_answer() -> None:
    early = Alignment(2, 62, 70, "audio", ((-0.5, 2.0),), ((0.0, 1.0),))
    plain = Alignment(2, 62, 70, "audio", ((0.0, 2.0), (0.0, 0.0)))
    records = alignment_tensor([early, plain])
    found, expected = targets(records, torch.arange(20)[None].expand(2, -1))
    assert (found[:5] > 1000).all()  # a stretch away may begin at once
    assert found[5:].tolist() == [place + 5 for place in expected[5:].tolist()]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("start", "rows"), [(0, 24), (0, 8), (9, 15), (24, 3), (30, 1)])
@pytest.mark.parametrize("alike", [False, True])
def test_prompts_share_what_holds_before_their_answers(
    start: int, rows: int, padded: bool, alike: bool
) -> None:
    """A start that is known on the host saves work; the numbers are the same to the bit."""
    pads = [max(LENGTHS) - length for length in LENGTHS]
    records = alignment_tensor(alignments(), pads)
    records = records[:1].expand(3, -1) if alike else records
    valid = torch.arange(max(LENGTHS))[None] >= torch.tensor(pads)[:, None] if padded else None
    device = torch.device("cpu")
    rule = AlignmentRule.of(RULE, device)

    def made(begin: int | torch.Tensor) -> torch.Tensor:
        bias = alibi.AlibiBias(
            6, 3, start=begin, rows=rows, dtype=torch.float32, device=device, key_valid=valid,
            rule=rule, records=records,
        )  # fmt: skip
        return bias.whole(start + rows)

    saved, whole = made(start), made(torch.tensor(start))
    assert len(whole) == 3 and len(saved) in (1, 3)
    assert torch.equal(saved.expand_as(whole), whole)
    if alike and not padded:
        assert len(saved) == 1
