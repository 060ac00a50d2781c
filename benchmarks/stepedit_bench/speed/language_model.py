"""Generation by the language model: ours against the plain way, alone, batched, and forked."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from stepedit_bench.speed.plain import plain_generate, with_plain_attention
from stepedit_bench.speed.sizes import Sizes, build_model
from stepedit_bench.speed.timing import Measurement, Settings, Took, copy_bandwidth, in_turn, paired
from stepedit_core.models.lm.answers import Generated
from stepedit_core.models.lm.constraints import grammar
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.kept_graphs import release_graphs
from stepedit_core.models.lm.sampling import GREEDY
from stepedit_core.models.lm.step1.network import fuse_projections
from stepedit_core.models.lm.token_layout import TokenLayout

if TYPE_CHECKING:
    from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM

__all__ = ["measure_language_model"]

_AUDIO_BASE = 324
_TOKENS_PER_SECOND = 5 / 0.12
_CHECKED = 40
_MANY = 16
_COMPARED = 2
"""Groups of the answers that are compared with those alone."""
_ONE, _ONE_THREAD = "one item", "one item, one thread"


def measure_language_model(sizes: Sizes, settings: Settings) -> Iterator[Measurement]:
    """Yield one line each for one item, batches of different prompts, and answers to one prompt.

    Before anything is timed, greedy ids of both ways are compared, and answers in a batch with
    those alone; how many agree is in the notes. Batches and one item take turns; on several
    threads one item is given all of them and one in turn, and the faster way counts.
    """
    model = build_model(sizes, settings.device, settings.dtype)
    plain = with_plain_attention(model)
    fuse_projections(model)
    base = model.config.vocab_size - 9216 if model.config.vocab_size > 10_000 else _AUDIO_BASE
    rng = np.random.default_rng(0)
    count = settings.new_tokens // 5
    most = max(_MANY, settings.batch)
    prompts = (base + rng.integers(0, 1024, (most, settings.prompt_tokens))).tolist()
    ids = torch.tensor(prompts[:1], device=settings.device)
    audio = settings.new_tokens / _TOKENS_PER_SECOND

    def ours(given: list[list[int]], groups: int = count, first: int = 0) -> list[Generated]:
        return generate(
            model,
            given,
            layout=TokenLayout(audio_base=base),
            constraints=[grammar(groups, groups)] * len(given),
            seeds=list(range(first, first + len(given))),
            max_new_tokens=5 * groups,
        )

    same = _agreement(model, plain, prompts[0], base)
    alone = paired(
        lambda: ours(prompts[:1]), lambda: plain_generate(plain, ids, 5 * count), settings
    )
    moved = sum(p.numel() * p.element_size() for p in model.model.layers.parameters())
    moved += 5121 * model.config.hidden_size * settings.dtype.itemsize
    floor = 5 * count * moved / copy_bandwidth(settings.device, settings)
    rate = 5 * count / alone.ours
    note = (
        f"transformers generate, plain attention; {rate:.0f} tokens/s; "
        f"{same} of {_CHECKED} greedy ids equal"
    )
    yield Measurement("language model, one item", alone.ours, alone.plain, floor, audio, note)
    batches = {
        f"batch of {settings.batch}": prompts[: settings.batch],
        f"batch of {_MANY}": prompts[:_MANY],
        f"{_MANY} answers to one prompt": prompts[:1] * _MANY,
    }
    equal = {name: _as_alone(ours, given) for name, given in batches.items()}
    works = {
        _ONE: lambda: ours(prompts[:1]),
        _ONE_THREAD: lambda: _on_one_thread(ours, prompts[:1]),
    }
    works |= {name: partial(ours, given) for name, given in batches.items()}
    took = in_turn(works, settings)
    one = [min(a.counted, b.counted) for a, b in zip(took[_ONE], took[_ONE_THREAD], strict=True)]
    for name, given in batches.items():
        runs = took[name]
        yield Measurement(
            f"language model, {name}",
            statistics.median(run.counted for run in runs),
            alone.plain * len(given),
            floor,
            audio * len(given),
            f"the same one after another; {_gain(len(given), one, runs, took[_ONE_THREAD])}; "
            f"{equal[name]} of {len(given)} answers as alone",
        )
    release_graphs(model)


def _as_alone(
    ours: Callable[[list[list[int]], int, int], list[Generated]], given: list[list[int]]
) -> int:
    """Return how many short answers of a batch are those of their prompts alone, by equal seeds."""
    together = ours(given, _COMPARED, 0)
    alone = [ours([prompt], _COMPARED, seed)[0] for seed, prompt in enumerate(given)]
    return sum(one == other for one, other in zip(together, alone, strict=True))


def _gain(
    size: int, one: Sequence[float], runs: Sequence[Took], on_one_thread: Sequence[Took]
) -> str:
    """Say how much more a batch gets done than one item, in the median of runs in turn.

    Args:
        size: items of the batch.
        one: seconds of one item.
        runs: of the batch.
        on_one_thread: of one item on one thread, whose processor time is all that it needs.
    """
    gain = statistics.median(size * a / run.counted for a, run in zip(one, runs, strict=True))
    said = f"{gain:.1f} x the throughput of one item ({statistics.median(one):.3g} s)"
    threads = torch.get_num_threads()
    if threads == 1:
        return said
    pairs = zip(on_one_thread, runs, strict=True)
    free = statistics.median(threads * size * a.processor / b.processor for a, b in pairs)
    processor = statistics.median(run.processor for run in runs)
    return f"{said}; {free:.1f} x by processor time ({processor:.3g} s) on {threads} free cores"


def _on_one_thread(work: Callable[[list[list[int]]], object], given: list[list[int]]) -> None:
    """Do work on one thread, which a single item is faster on where others want the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        work(given)
    finally:
        torch.set_num_threads(before)


def _agreement(
    model: Step1ForCausalLM, plain: Step1ForCausalLM, prompt: list[int], base: int
) -> int:
    """Return how many of the first greedy ids are the same by both ways."""
    layout = TokenLayout(audio_base=base, eot=10**6)
    (own,) = generate(model, [prompt], layout=layout, sampling=GREEDY, max_new_tokens=_CHECKED)
    ids = torch.tensor([prompt], device=model.lm_head.weight.device)
    other = plain_generate(plain, ids, _CHECKED, greedy=True)
    return sum(one == two for one, two in zip(own.ids, other, strict=True))
