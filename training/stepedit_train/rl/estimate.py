"""Estimate the memory and the time of a training step, without weights or recordings.

The model is built on torch's ``meta`` device, which has shapes and no numbers, and an update of the
stage is carried out there while operations are counted. Everything else is arithmetic on facts of
the accelerator, which are stated with the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from stepedit_core.codes import (
    GROUP_SECONDS,
    GROUP_SIZE,
    LINGUISTIC_PER_GROUP,
    LINGUISTIC_SIZE,
)
from stepedit_core.models.lm.constraints import CODE_COUNT
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.step1 import Step1Config
from stepedit_core.models.lm.step1.alignment import Alignment
from stepedit_core.models.lm.step1.loading import read_config
from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_train.rl.layout import AnswerRow
from stepedit_train.rl.log_probs import collate_answers, token_log_probs
from stepedit_train.rl.online import OnlineSettings
from stepedit_train.rl.ppo import PpoSettings
from stepedit_train.rl.settings import RlSettings
from stepedit_train.settings import resolve_path

__all__ = ["Estimate", "estimate", "estimate_lines"]

SECONDS = 8.0
"""Duration of the source, and of the answer, that is assumed."""
PROMPT_WORDS = 120
"""Ids of a prompt besides its codes."""
DEVICES = (1, 8, 64)
PEAK, USED = 989e12, 0.4
"""Operations per second of an H100 in bfloat16, and the part of them that training reaches."""
BANDWIDTH, READ = 3.35e12, 0.6
"""Bytes per second of its memory, and the part that generation reaches."""
LINK = 400e9
"""Bytes per second in which gradients are exchanged."""
HALF, FULL = 2, 4


@dataclass(frozen=True)
class Estimate:
    """Memory of one device and cost of one step.

    Attributes:
        parameters: of the language model.
        trained: of them, or of its adapters.
        held: bytes of weights, gradients and the optimiser's state, by what they belong to.
        working: bytes of activations, or of the cache of draws, whichever is more.
        operations: of one answer's update.
        answers: in a step.
        tokens: of one answer.
        cache: bytes of one answer's keys and values.
    """

    parameters: int
    trained: int
    held: dict[str, int]
    working: int
    operations: int
    answers: int
    tokens: int
    cache: int

    @property
    def memory(self) -> int:
        """Bytes on one device."""
        return sum(self.held.values()) + self.working


def _row(config: Any, guidance: float) -> AnswerRow:
    """Return an answer of usual length, of any codes."""
    groups = round(SECONDS / GROUP_SECONDS)
    base = min(65536, config.vocab_size - CODE_COUNT)
    phase = np.arange(GROUP_SIZE * groups + 1) % GROUP_SIZE
    semantic = phase >= LINGUISTIC_PER_GROUP
    ids = np.where(semantic, base + LINGUISTIC_SIZE, base)
    ids[-1] = 3
    prompt = [base] * (GROUP_SIZE * groups + PROMPT_WORDS)
    place = None
    if config.source_alignment is not None:
        stop = GROUP_SIZE * groups
        place = Alignment(1, stop, len(prompt), "audio", ((0.0, 1.0),))
    flags = np.ones(len(ids), bool)
    none = np.full(len(ids), -1)
    against = prompt if guidance != 1 else None
    sampling = Sampling(temperature=1.0, guidance=guidance)
    return AnswerRow(prompt, ids, flags, semantic, phase == 0, none, sampling, base, place, against)


def _operations(model: Any, rows: list[AnswerRow], layout: TokenLayout) -> int:
    """Return the operations of a forward and a backward pass, counted on the meta device."""
    batch = collate_answers(rows, aligned=model.config.source_alignment is not None)
    meta = batch.to(torch.device("meta"))
    with FlopCounterMode(display=False) as counter:
        token_log_probs(model, meta, layout).chosen.sum().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def _count(model: Any, settings: RlSettings) -> tuple[int, int]:
    """Return all parameters, and those that are trained."""
    total = sum(weight.numel() for weight in model.parameters())
    if settings.lora is None:
        return total, total
    rank, trained = settings.lora.rank, 0
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name:
            trained += rank * (module.in_features + module.out_features)
    return total, trained


def _held(settings: RlSettings, total: int, trained: int) -> dict[str, int]:
    """Return bytes of what stays in memory, by name; optimiser state is Adam's."""
    learning = FULL * total + 3 * FULL * trained if settings.lora else 4 * FULL * total
    held = {"policy, gradients, optimiser": learning}
    if isinstance(settings, PpoSettings):
        held["critic, gradients, optimiser"] = learning
    beta = getattr(settings, "beta", None)
    is_compared = isinstance(settings, PpoSettings) or bool(beta)
    if settings.lora is None and is_compared and not getattr(settings, "reference_free", False):
        held["reference"] = FULL * total
    if isinstance(settings, OnlineSettings):
        held["engine's own copy for encoding and decoding"] = HALF * total
        models = [one for one in settings.rewards if one.name == "reward_model"]
        if models:
            held["reward model"] = HALF * total * len(models)
    return held


def estimate(settings: RlSettings, config: Any) -> Estimate:
    """Return the estimated memory and cost of a step on one device.

    Args:
        settings: of the stage.
        config: of the model.
    """
    with torch.device("meta"):
        model: Any = Step1ForCausalLM(config).train()
    model.config.use_cache = False
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    total, trained = _count(model, settings)
    guidance = getattr(settings, "guidance", None) or 1.0
    row = _row(config, guidance)
    operations = _operations(model, [row], TokenLayout(row.base, 3))
    passes = 1
    if isinstance(settings, OnlineSettings):
        answers = int(settings.budget) * settings.answers
        passes = settings.passes
        operations = operations * passes + operations  # what draws, policy and reference read
    else:
        answers = max(2, int(settings.budget) // row.tokens)
    if isinstance(settings, PpoSettings):
        operations *= 2
    half = HALF if settings.precision != "float32" else FULL
    layers = config.num_hidden_layers
    kept = (
        layers * config.hidden_size * half
        if settings.gradient_checkpointing
        else (layers * (12 * config.hidden_size + 3 * config.intermediate_size) * half)
    )
    logits = 3 * FULL * (CODE_COUNT + 1) * len(row.ids) // row.tokens
    cache = 2 * layers * config.num_attention_groups * config.head_dim * FULL * row.tokens
    working = (kept + logits) * settings.tokens
    if isinstance(settings, OnlineSettings):
        working = max(working, cache * min(settings.width, answers))
    return Estimate(
        total, trained, _held(settings, total, trained), working, operations, answers, row.tokens,
        cache,
    )  # fmt: skip


def _seconds(made: Estimate, settings: RlSettings, devices: int) -> dict[str, float]:
    """Return seconds of a step's parts on so many devices, the answers shared out evenly."""
    own = max(1, -(-made.answers // devices))
    parts = {"update": own * made.operations / (PEAK * USED)}
    if isinstance(settings, OnlineSettings):
        batches = -(-own // settings.width)
        width = min(own, settings.width)
        steps = round(SECONDS / GROUP_SECONDS) * GROUP_SIZE
        read = FULL * made.parameters + width * made.cache
        parts["draws"] = batches * steps * read / (BANDWIDTH * READ)
    if devices > 1:
        parts["exchange"] = 2 * FULL * made.trained / LINK
    return parts


def estimate_lines(settings: RlSettings) -> Iterator[str]:
    """Yield the estimate of a stage as lines of text, for 1, 8 and 64 devices."""
    folder = resolve_path(settings, settings.model)
    if (folder / "config.json").is_file():
        config: Any = read_config(folder)[0]
    else:
        config = Step1Config()
        yield f"{folder} is not here: counted with the sizes of the public 3B checkpoint"
    made = estimate(settings, config)
    gib = 2**30
    yield (
        f"{made.parameters / 1e6:,.1f} M parameters, {made.trained / 1e6:,.1f} M trained; "
        f"{made.answers} answers of {SECONDS:g} s ({made.tokens} tokens with prompt) in a step"
    )
    for name, size in made.held.items():
        yield f"  {name}: {size / gib:.1f} GiB"
    yield f"  activations and caches at {settings.tokens} tokens: {made.working / gib:.1f} GiB"
    yield f"memory of each device: {made.memory / gib:.1f} GiB"
    yield f"operations of a step: {made.answers * made.operations:.2e}"
    for devices in DEVICES:
        parts = _seconds(made, settings, devices)
        text = ", ".join(f"{name} {value:.2f} s" for name, value in parts.items())
        yield f"{devices} x H100: {sum(parts.values()):.2f} s for each step ({text})"
    yield (
        f"assumed: {PEAK / 1e12:.0f} TFLOP/s at {USED:.0%}, {BANDWIDTH / 1e12:.2f} TB/s at "
        f"{READ:.0%}, answers shared out over devices that each hold a whole copy (the stages "
        "themselves run on one device so far); rewards that hear audio come on top"
    )
