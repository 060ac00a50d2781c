"""Online reinforcement learning, as GRPO and PPO share it: settings, rollouts, rewards, the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from stepedit_core.atomic import write_atomically
from stepedit_core.config import EngineConfig
from stepedit_core.errors import StepeditError, counted
from stepedit_core.models.engine import Engine
from stepedit_core.reward import Answer
from stepedit_core.storage.stored_json import read_json
from stepedit_train.batching import BatchPlan
from stepedit_train.lm.training import base_and_out
from stepedit_train.loop import Losses, Task, run_loop
from stepedit_train.precision import arithmetic
from stepedit_train.rl.layout import AnswerRow
from stepedit_train.rl.log_probs import AnswerBatch, collate_answers, parts_within
from stepedit_train.rl.losses import clipped_policy_loss
from stepedit_train.rl.measures import Tools, TrainingMeasures
from stepedit_train.rl.policy import Reference, log_probs_of, plain_model, save_policy
from stepedit_train.rl.prompts import Prompt, PromptSource, read_prompts
from stepedit_train.rl.rewarding import Rewards, RewardSettings, make_reward
from stepedit_train.rl.rollouts import (
    OwnGenerator,
    RolloutGenerator,
    Rollouts,
    ServedGenerator,
    rollout_rules,
)
from stepedit_train.rl.settings import RlSettings, planned
from stepedit_train.rl.watch import WatchSettings, objection
from stepedit_train.seeds import rng_of
from stepedit_train.settings import resolve_path

__all__ = [
    "Experience",
    "OnlineSettings",
    "OnlineTask",
    "engine_and_prompts",
    "hardest_of",
    "minibatches",
    "prompts_digest",
    "train_online",
    "what_is_asked",
]


class OnlineSettings(RlSettings):
    """Settings of stages whose answers the model draws itself."""

    free: ClassVar[frozenset[str]] = RlSettings.free | {"vllm", "watch", "width"}

    prompts: tuple[PromptSource, ...]
    """Sources of requests."""
    rewards: tuple[RewardSettings, ...] = (RewardSettings(name="scorer"),)
    """Rewards, whose weighted sum is the reward."""
    budget: float = Field(default=8.0, ge=1)
    """Requests in a step."""
    answers: int = Field(default=16, ge=1)
    """Answers to each request."""
    passes: int = Field(default=1, ge=1)
    """Times that the optimiser goes over the answers of a step."""
    minibatches: int = Field(default=1, ge=1)
    """Parts of a step's answers; the optimiser moves once after each."""
    clip_ratio: float = Field(default=0.2, gt=0)
    """Lower bound of a token's probability ratio is 1 minus this; beyond it, no gradient."""
    clip_ratio_high: float | None = Field(default=None, gt=0)
    """Upper bound is 1 plus this; None: as ``clip_ratio``."""
    temperature: float | None = Field(default=None, gt=0)
    """Temperature of sampling; None: the model's own for each edit."""
    guidance: float | None = Field(default=None, ge=0)
    """Guidance of sampling, at twice the cost; None: the model's own for each edit."""
    copy_penalty: float = Field(default=1.0, ge=0)
    """Taken off an answer that copies its source; less for a copy with few changes."""
    copied_allowed: float = Field(default=0.98, ge=0, lt=1)
    """Share of an answer that may be the source's before anything is taken off."""
    around: float | None = Field(default=None, gt=0)
    """Seconds that are decoded on either side of what is put in, where all else is the source's
    own; None decodes whole answers."""
    recogniser: str = "none"
    """Recogniser of words for scorers and for ``words``, by name; ``none``: not measured."""
    hardest: float = Field(default=1.0, gt=0, le=1)
    """Share of the requests that is trained on: those with the lowest rewards before training."""
    hardest_answers: int = Field(default=4, ge=1)
    """Answers to each request by which the hardest are found."""
    validation_requests: int = Field(default=16, ge=0)
    """Requests of held-out speakers that validation answers, once each."""
    width: int = Field(default=64, ge=1)
    """Answers that are drawn, and decoded, in one batch."""
    rollouts: Literal["own", "vllm"] = "own"
    """Who draws answers: the engine's own loop, or vLLM (extra ``vllm``), in this process; not for
    models with position priors, guidance or adapters."""
    vllm: dict[str, Any] = Field(default_factory=dict)
    """Options of ``vllm.LLM``, such as ``gpu_memory_utilization``: the policy, its reference and
    the optimiser need memory, too."""
    log_every: int = Field(default=1, ge=1)
    """Steps between entries of the log."""
    validate_every: int = Field(default=20, ge=1)
    """Steps between validations."""
    watch: WatchSettings = WatchSettings()
    """Conditions that stop the run."""

    @model_validator(mode="after")
    def _held_out_is_not_rewarded(self) -> OnlineSettings:
        both = {one.name for one in self.rewards} & {one.name for one in self.watch.held_out}
        if both:
            raise ValueError(f"{', '.join(sorted(both))}: a held-out judge must not be a reward")
        return self

    @model_validator(mode="after")
    def _served_weights_are_whole(self) -> OnlineSettings:
        if self.rollouts == "vllm" and self.lora is not None:
            raise ValueError("rollouts by vllm train all weights: leave lora out")
        return self

    def curve(self) -> dict[str, Any]:
        """Return the settings that the curve depends on, as JSON values."""
        # Unsaid where it is usual, so that runs from before there was a choice go on.
        usual = {"rollouts"} if self.rollouts == "own" else set()
        usual |= {"around"} if self.around is None else set()
        return {name: value for name, value in super().curve().items() if name not in usual}


@dataclass(frozen=True)
class Experience:
    """The answers of a step.

    Attributes:
        rows: all answers, those to one request after each other.
        rewards: float32 ``(requests, answers)``, 0 where unknown.
        known: bool, the same shape.
        dense: what each code of each answer adds to its reward; empty for stages that do not
            learn from single tokens.
        gains: what each code of each answer gains over the other answers; empty where answers are
            compared as wholes.
        figures: for the log.
    """

    rows: list[AnswerRow]
    rewards: Tensor
    known: Tensor
    dense: list[Any]
    figures: dict[str, float]
    gains: list[Any] = field(default_factory=list)


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """Return a hash of requests, so that a run does not go on with others."""
    digest = hashlib.sha256()
    for one in prompts:
        digest.update(f"{one.name} {one.edit.model_dump_json()} {one.speaker}\n".encode())
    return digest.hexdigest()[:16]


class OnlineTask(Task):
    """Draws answers and rewards them; what is learned from them is the stage's own.

    Attributes:
        policy: the model that answers.
        reference: as it was before training; None where nothing is compared with it.
    """

    validates_first: ClassVar[bool] = True
    token_rewards: ClassVar[bool] = False
    """Whether the stage learns from rewards of single tokens; most cost a second look."""
    by_part: bool = False
    """Whether answers are compared part by part."""
    settings: OnlineSettings
    step: int = 0

    def __init__(
        self,
        policy: Any,
        engine: Engine,
        prompts: tuple[list[Prompt], list[Prompt]],
        settings: OnlineSettings,
        *,
        compared: bool,
    ) -> None:
        self.policy, self.engine, self.settings = policy, engine, settings
        self.train, self.dev = prompts
        self.dev = self.dev[: settings.validation_requests]
        self.reference = Reference(policy, settings) if compared else None
        self.aligned = plain_model(policy).config.source_alignment is not None
        tools = Tools(engine, TrainingMeasures(engine, settings.recogniser))
        self.rewards = Rewards(
            settings.rewards, tools, settings.base, settings.copy_penalty, settings.copied_allowed
        )
        self.held_out = [make_reward(one, tools, settings.base) for one in settings.watch.held_out]
        self.layout = engine.parts.layout

    @cached_property
    def rollouts(self) -> Rollouts:
        """Sampler of answers from the policy."""
        settings = self.settings
        rules = rollout_rules(self.engine, settings.temperature, settings.guidance)
        generator: RolloutGenerator = OwnGenerator(self.engine, self.policy, settings.width)
        if settings.rollouts == "vllm":
            base, _ = base_and_out(settings, settings.model)
            generator = ServedGenerator(self.engine, self.policy, base, settings.vllm)
        return Rollouts(
            self.engine, generator, rules, settings.max_tokens, settings.width, settings.around
        )

    def _drawn(
        self, prompts: Sequence[Prompt], count: int, *names: object, decoded: bool
    ) -> tuple[list[Any], int]:
        # On a CPU answers are drawn in float32: half precision is not known to all that makes and
        # decodes them, and their log-probabilities are taken afterwards.
        precision = "float32" if self.device.type == "cpu" else self.settings.precision
        with torch.inference_mode(), arithmetic(precision, self.device):
            return self.rollouts.draw(prompts, count, self.settings.seed, *names, decoded=decoded)

    def batch(self, indices: Sequence[int], step: int) -> Experience:
        """Draw and reward the answers of a step; the seed and the step decide the draws."""
        self.step = step
        prompts = [self.train[index] for index in indices]
        count = self.settings.answers
        groups, refused = self._drawn(
            prompts, count, "step", step, decoded=self.rewards.needs_audio
        )
        if not groups:
            raise StepeditError(
                f"step {step}: none of its {refused} requests could be asked; shorter sources or "
                "a larger max_tokens may help"
            )
        answers = [answer for group in groups for answer in group.answers]
        rewarded = self.rewards(answers)
        rewards = torch.tensor([value or 0.0 for value in rewarded.totals]).view(-1, count)
        known = torch.tensor([value is not None for value in rewarded.totals]).view(-1, count)
        spread = rewards.masked_fill(~known, -torch.inf).amax(1) > rewards.masked_fill(
            ~known, torch.inf
        ).amin(1)
        figures = {
            **rewarded.figures(),
            "length": float(np.mean([a.codes.groups / a.expected_groups for a in answers])),
            "refused": float(refused),
            "groups_with_contrast": float(spread.float().mean()),
        }
        rows = [row for group in groups for row in group.rows]
        dense = self.rewards.per_token(answers, rewarded.totals) if self.token_rewards else []
        gains = self.rewards.advantages(answers, rewarded, count) if self.by_part else []
        return Experience(rows, rewards.float(), known, dense, figures, gains)

    def parts(self, rows: Sequence[AnswerRow]) -> Iterator[tuple[list[int], AnswerBatch]]:
        """Yield answers in batches that the model reads at once, with their numbers."""
        for part in parts_within(rows, self.settings.tokens):
            batch = collate_answers([rows[at] for at in part], aligned=self.aligned)
            yield part, batch.to(self.device)

    def moves(
        self, count: int, move: Callable[[list[int]], Mapping[str, float]]
    ) -> tuple[dict[str, float], int]:
        """Go over the answers of a step as often as the settings say.

        Args:
            count: answers.
            move: moves the optimiser after those of some numbers; returns figures.

        Returns:
            The figures' means, and how often the optimiser moved.
        """
        own = self.settings
        made = [
            move(part)
            for number in range(own.passes)
            for part in minibatches(count, own.minibatches, own.seed, self.step, number)
        ]
        means = {name: sum(one[name] for one in made) / len(made) for name in (made or [{}])[0]}
        return means, len(made)

    def policy_loss(
        self, made: Tensor, before: Tensor, advantages: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the clipped loss of each decision, and where the clip acts."""
        own = self.settings
        high = own.clip_ratio if own.clip_ratio_high is None else own.clip_ratio_high
        return clipped_policy_loss(made, before, advantages, own.clip_ratio, high)

    def loss(self, batch: Experience) -> Losses:
        """Not used: a step moves the optimiser several times, see ``update``."""
        raise NotImplementedError

    def reference_log_probs(self, rows: Sequence[AnswerRow]) -> Tensor | None:
        """Return the reference's log-probabilities of answers, or None without a reference."""
        if self.reference is None:
            return None
        self.reference.to(self.device)
        with self.reference.using(self.policy) as model:
            return log_probs_of(model, rows, self.layout, self.settings, self.device).chosen

    def validate(self) -> Mapping[str, float]:
        """Return rewards and held-out judges of answers to held-out speakers' requests."""
        if not self.dev:
            return {}
        hears = self.rewards.needs_audio or any(one.needs_audio for one in self.held_out)
        groups, _ = self._drawn(self.dev, 1, "dev", decoded=hears)
        answers = [answer for group in groups for answer in group.answers]
        if not answers:
            return {}
        found = self.rewards(answers).figures()
        for judge in self.held_out:
            known = [value for value in judge.score(answers) if value is not None]
            if known:
                found[f"held_out_{judge.name}"] = float(np.mean(known))
        return found

    def objection(self, entries: Sequence[Mapping[str, Any]]) -> str | None:
        """Return why the run is not to go on."""
        return objection(entries, self.settings.watch)

    def difficulty(self, prompts: Sequence[Prompt]) -> list[float]:
        """Return each request's mean reward before training; inf where no answer has one."""
        count = self.settings.hardest_answers
        found: list[float] = []
        for at, prompt in enumerate(prompts):
            groups, _ = self._drawn(
                [prompt], count, "hardest", at, decoded=self.rewards.needs_audio
            )
            answers: list[Answer] = [answer for group in groups for answer in group.answers]
            known = [v for v in self.rewards(answers).totals if v is not None] if answers else []
            found.append(float(np.mean(known)) if known else float("inf"))
        return found


def hardest_of(task: OnlineTask, out: Path) -> list[Prompt]:
    """Return the requests that the model answers worst, by its own rewards before training.

    The ranking is kept in ``out/hardest.json``, so that a run that is started again trains on the
    same ones.
    """
    settings, prompts = task.settings, task.train
    if settings.hardest >= 1:
        return prompts
    path = out / "hardest.json"
    if path.is_file():
        scores = read_json(path, "delete it to ask the model again")
    else:
        made = task.difficulty(prompts)
        scores = {one.name: value for one, value in zip(prompts, made, strict=True)}
        scores = {name: value for name, value in scores.items() if value != float("inf")}
        write_atomically(path, json.dumps(scores, indent=1, ensure_ascii=False))
    known = [one for one in prompts if one.name in scores]
    known.sort(key=lambda one: (scores[one.name], one.name))
    kept = known[: max(1, round(settings.hardest * len(known)))]
    if not kept:
        raise StepeditError(f"{path}: no request has a reward")
    return kept


def minibatches(count: int, parts: int, seed: int, *names: object) -> list[list[int]]:
    """Return indices, drawn by the seed into parts of about one size; each part is in order.

    Answers to one request then stand together in a part, and share what is read of it.
    """
    order = rng_of(seed, "minibatches", *names).permutation(count).tolist()
    size = max(1, -(-count // parts))
    return [sorted(order[begin : begin + size]) for begin in range(0, count, size)]


def engine_and_prompts(
    settings: OnlineSettings,
) -> tuple[Engine, tuple[list[Prompt], list[Prompt]]]:
    """Return the engine of a run, and its requests to train and to validate on.

    Raises:
        StepeditError: if there is nothing to ask, or a file is missing or damaged.
    """
    base, _ = base_and_out(settings, settings.model)
    sources = [
        one.model_copy(update={"path": resolve_path(settings, one.path)})
        for one in settings.prompts
    ]
    prompts = read_prompts(sources, settings.dev_share, settings.seed)
    engine = Engine.from_config(EngineConfig(name_or_path=str(base), device=settings.device))
    return engine, prompts


def what_is_asked(engine: Engine, prompts: tuple[list[Prompt], list[Prompt]]) -> Iterator[str]:
    """Yield how many requests there are, and which edits the model in use does not answer.

    A model may speak the source's own codes with an edit's label (``own_codes`` in
    ``sampling.json``): what the language model learns of such an edit is not heard in use. It may
    be held to them in their order (``follow_source``), and then choose where silence goes alone.
    The first request of each edit is looked at.
    """
    train, dev = prompts
    yield f"{counted(len(train), 'request')} to train on, {len(dev)} to validate on"
    firsts = {one.edit.name: one for one in reversed(train)}
    for name in sorted(firsts):
        try:
            plan = firsts[name].edit.plan(firsts[name].ready().prepared.source)
        except StepeditError:
            continue  # drawing counts what cannot be asked
        if engine.answers_with_own_codes(plan):
            yield (
                f"{name}: this model speaks the source's own codes (own_codes in sampling.json); "
                "what its language model learns of the edit is not heard"
            )
        elif engine.follows_source(plan):
            yield (
                f"{name}: this model is held to the source's own codes (follow_source in "
                "sampling.json); of what its language model learns of the edit, where silence is "
                "cut is all that is heard"
            )


def train_online(task: OnlineTask, base: Path, out: Path) -> Iterator[str]:
    """Train on the requests of a task, or go on, and save its policy; yield lines of what was done.

    Args:
        task: its ``train`` requests are final.
        base: folder of the model that the run begins with.
        out: folder of the run.
    """
    plan = BatchPlan([1.0] * len(task.train), task.settings.budget, task.settings.seed)
    steps = planned(task.settings, plan).steps
    task.settings = settings = task.settings.model_copy(update={"steps": steps})
    done = run_loop(task, plan, settings, out, prompts_digest([*task.train, *task.dev]))
    if done.step < settings.steps:
        yield f"stopped after {counted(done.step, 'step')}, as asked; call again to go on"
        return
    save_policy(task.policy, settings, base, out)
    yield (
        f"{counted(done.step, 'step')} in {done.seconds / 60:.1f} minutes; model in {out / 'model'}"
    )
