"""Generation by the language model: ours against the plain way, alone, batched, and forked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from stepedit_bench.speed.plain import plain_generate, with_plain_attention
from stepedit_bench.speed.sizes import Sizes, build_model
from stepedit_bench.speed.timing import Measurement, Settings, copy_bandwidth, paired, seconds_of
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


def measure_language_model(sizes: Sizes, settings: Settings) -> Iterator[Measurement]:
    """Yield one line each for one item, batches of different prompts, and answers to one prompt.

    Before anything is timed, greedy ids of both ways are compared; how many agree is in the note.
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

    def ours(given: list[list[int]]) -> object:
        return generate(
            model,
            given,
            layout=TokenLayout(audio_base=base),
            constraints=[grammar(count, count)] * len(given),
            seeds=list(range(len(given))),
            max_new_tokens=5 * count,
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
    rows = [
        (f"language model, batch of {settings.batch}", prompts[: settings.batch]),
        (f"language model, batch of {_MANY}", prompts[:_MANY]),
        (f"language model, {_MANY} answers to one prompt", prompts[:1] * _MANY),
    ]
    for stage, given in rows:
        size = len(given)
        took = seconds_of(lambda given=given: ours(given), settings)  # type: ignore[misc]
        speedup = size * alone.ours / took
        yield Measurement(
            stage,
            took,
            alone.plain * size,
            floor,
            audio * size,
            f"the same one after another; {speedup:.1f} x the throughput of one item",
        )
    release_graphs(model)


def _agreement(
    model: Step1ForCausalLM, plain: Step1ForCausalLM, prompt: list[int], base: int
) -> int:
    """Return how many of the first greedy ids are the same by both ways."""
    layout = TokenLayout(audio_base=base, eot=10**6)
    (own,) = generate(model, [prompt], layout=layout, sampling=GREEDY, max_new_tokens=_CHECKED)
    ids = torch.tensor([prompt], device=model.lm_head.weight.device)
    other = plain_generate(plain, ids, _CHECKED, greedy=True)
    return sum(one == two for one, two in zip(own.ids, other, strict=True))
