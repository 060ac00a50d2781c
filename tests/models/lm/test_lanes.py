"""Batches whose rows are shared out among threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

from stepedit_core.llm_route.progress import listening
from stepedit_core.models.lm import lanes
from stepedit_core.models.lm.answers import Generated
from stepedit_core.models.lm.constraints import Free, grammar, mask
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.sampling import GREEDY, Sampling
from stepedit_core.models.lm.session import Session
from stepedit_core.models.lm.step1 import Step1ForCausalLM
from stepedit_core.models.lm.step1.alignment import Alignment
from tests.models.lm.test_generation import source
from tests.models.lm.test_position_priors import RULE
from tests.models.tiny_step1 import LAYOUT, prompts, tiny_model

PROMPTS = prompts(5)
SEEDS = [11, 12, 13, 14, 15]


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let torch use two threads; return how many lanes there were each time."""
    counted, in_lanes = [], lanes.in_lanes

    def noted(works: Any) -> None:
        counted.append(len(works))
        in_lanes(works)

    monkeypatch.setattr(lanes, "in_lanes", noted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield counted
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=[False, True])
def model(request: pytest.FixtureRequest) -> Step1ForCausalLM:
    return tiny_model(source_alignment=RULE) if request.param else tiny_model()


def by_one_and_two(
    model: Step1ForCausalLM, rows: list[list[int]], **options: Any
) -> tuple[list[Generated], list[Generated]]:
    if model.config.source_alignment is not None:
        options["alignments"] = [
            Alignment(2, len(row) - 1, len(row), "audio", ((0.0, 1.0),)) for row in rows
        ]
    made = []
    for count in (1, 2):
        torch.set_num_threads(count)
        made.append(generate(model, rows, layout=LAYOUT, **options))
    return made[0], made[1]


def test_rows_of_a_prompt_share_a_lane_and_lanes_have_alike_to_do() -> None:
    shared = lanes.shared_out(list("abcabd"), [5] * 6, [10] * 6, 2)
    assert sorted(row for lane in shared for row in lane) == list(range(6))
    assert all(lane == sorted(lane) for lane in shared)
    of = {row: place for place, lane in enumerate(shared) for row in lane}
    assert of[0] == of[3] and of[1] == of[4] and of[0] != of[1]
    assert lanes.shared_out(list("aaaa"), [5] * 4, [10] * 4, 2) == [[0, 1, 2, 3]]
    assert lanes.shared_out(list("abc"), [5, 100, 5], [10] * 3, 2) == [[1], [0, 2]]
    assert lanes.shared_out(list("ab"), [5, 5], [10, 10], 8) == [[0], [1]]


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(1.0, guidance=2.0)])
def test_lanes_say_what_one_thread_says(
    model: Step1ForCausalLM, threads: list[int], sampling: Sampling
) -> None:
    held = [grammar(least, 4 + least) for least in (2, 6, 1, 3, 4)]
    against = [list(reversed(row)) for row in PROMPTS]
    one, two = by_one_and_two(
        model, PROMPTS, sampling=sampling, constraints=held, seeds=SEEDS, against=against
    )
    assert one == two and threads == [2]


def test_lanes_say_what_is_copied_and_what_nothing_holds(
    model: Step1ForCausalLM, threads: list[int]
) -> None:
    held = [
        mask(source(8), [(1, 2), (place, 7)], [Free(0, 5), Free(1, 3)]) for place in range(2, 7)
    ]
    one, two = by_one_and_two(model, PROMPTS, constraints=held, seeds=SEEDS)
    assert one == two
    one, two = by_one_and_two(model, PROMPTS, seeds=SEEDS, max_new_tokens=[3, 9, 0, 20, 1])
    assert one == two and threads == [2, 2]


def test_answers_to_one_prompt_are_said_in_lanes_once_it_is_read(
    model: Step1ForCausalLM, threads: list[int]
) -> None:
    options: dict[str, Any] = {"sampling": Sampling(1.0), "constraints": [grammar(2, 9)] * 16}
    rows = PROMPTS[:1] * 16
    one, two = by_one_and_two(model, rows, seeds=list(range(16)), **options)
    assert one == two and len({tuple(out.ids) for out in two}) > 8
    assert threads == [2]
    options["sampling"] = Sampling(1.0, guidance=1.5)
    against = [list(reversed(rows[0]))] * 16
    one, two = by_one_and_two(model, rows, seeds=list(range(16)), against=against, **options)
    assert one == two and threads == [2, 2]


def test_few_answers_one_prompt_and_one_thread_have_no_lanes(
    threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    options: dict[str, Any] = {"layout": LAYOUT, "sampling": GREEDY, "max_new_tokens": 5}
    generate(model, PROMPTS[:1], **options)
    generate(model, PROMPTS[:1] * 15, **options)
    torch.set_num_threads(1)
    generate(model, PROMPTS, **options)
    torch.set_num_threads(2)
    monkeypatch.setattr(lanes, "folded_stack", lambda stack: None)  # as of a large model
    generate(model, PROMPTS, **options)
    assert not threads


class Dropping:
    """Drops one item, and fails if two ask it at once."""

    def __init__(self, item: int) -> None:
        self.item, self.seen, self._asked = item, set[int](), threading.Lock()

    def hopeless(
        self, finished: Mapping[int, list[int]], running: Mapping[int, list[int]]
    ) -> list[int]:
        assert self._asked.acquire(blocking=False)
        self.seen |= finished.keys() | running.keys()
        time.sleep(0.001)
        self._asked.release()
        return [self.item] if self.item in running else []


@pytest.mark.parametrize("is_shared", [False, True])
def test_watchers_know_items_by_their_numbers(threads: list[int], is_shared: bool) -> None:
    rows = PROMPTS[:1] * 16 if is_shared else prompts(16)
    held = [grammar(1, 1)] * 2 + [grammar(30, 30)] * 13 + [grammar(1, 1)]
    watcher = Dropping(3)
    out = generate(
        tiny_model(), rows, layout=LAYOUT, sampling=GREEDY, constraints=held, watcher=watcher
    )
    assert threads == [2]
    assert [one.finish for one in out] == ["stop"] * 3 + ["dropped"] + ["stop"] * 12
    assert watcher.seen == set(range(16))
    assert 0 < len(out[3].ids) < 150 and len(out[4].ids) == 150


@pytest.mark.parametrize("place", [0, 1])
def test_what_a_lane_raises_is_raised_and_ends_the_others(
    monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    taken: dict[int, int] = {}
    whole = Session._emit

    def failing(self: Session, logits: torch.Tensor) -> None:
        first = min(self.open_items)
        taken[first] = taken.get(first, 0) + 1
        if first == place and taken[first] == 10:
            raise MemoryError("no more")
        whole(self, logits)

    monkeypatch.setattr(Session, "_emit", failing)
    rows, most = [PROMPTS[0], PROMPTS[0][::-1]], 2000
    with pytest.raises(MemoryError, match="no more"):
        generate(tiny_model(), rows, layout=LAYOUT, sampling=GREEDY, max_new_tokens=most)
    assert taken[place] == 10 and taken[1 - place] < most
    assert threading.active_count() == 1 or not any(
        "ThreadPool" in one.name for one in threading.enumerate()
    )


def test_who_listens_hears_the_longest_lane_in_its_own_thread_and_may_end_all(
    threads: list[int],
) -> None:
    heard: list[tuple[int, int]] = []

    def listener(done: int, most: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        heard.append((done, most))
        if done == 7:
            raise KeyboardInterrupt

    held = [grammar(2, 2), grammar(4, 4)]
    with listening(listener), pytest.raises(KeyboardInterrupt):
        generate(tiny_model(), PROMPTS[:2], layout=LAYOUT, sampling=GREEDY, constraints=held)
    assert heard == [(done, 20) for done in range(1, 8)] and threads == [2]
