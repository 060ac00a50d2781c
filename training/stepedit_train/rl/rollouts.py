"""Rollouts: answers drawn by the policy, decoded and made ready for rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from stepedit_core.codes import DualCodes
from stepedit_core.config import GenerationPolicy, SamplingConfig, without_own_weights
from stepedit_core.edit import Outcome
from stepedit_core.engine import DecodeRequest, GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.llm_route.planning import request_for
from stepedit_core.models.engine import Engine
from stepedit_core.models.lm.framing import Rules, aligned_prompt, constraint_of
from stepedit_core.models.lm.generate_codes import answer_requests
from stepedit_core.models.vllm_serving.generator import VllmGenerator
from stepedit_core.reward import Answer
from stepedit_core.utterance import Utterance
from stepedit_train.rl.around import stretch_around
from stepedit_train.rl.layout import AnswerRow, Vocabulary, lay_out
from stepedit_train.rl.policy import plain_model
from stepedit_train.rl.prompts import Prompt, Ready
from stepedit_train.seeds import rng_of

__all__ = [
    "Group",
    "OwnGenerator",
    "RolloutGenerator",
    "Rollouts",
    "ServedGenerator",
    "rollout_rules",
]


_KEPT = 256
"""Requests whose preparation is kept."""


class RolloutGenerator(Protocol):
    """Draws answers: the model itself, or a server that holds a copy of its weights.

    Whoever draws them, their log probabilities are taken by the trained model afterwards, under the
    same rules: a server that rounds otherwise changes nothing but which answers come.
    """

    def generate(self, requests: Sequence[GenerateRequest], rules: Rules) -> list[DualCodes]:
        """Return an answer to each request, drawn by its seed under rules that all share."""


class OwnGenerator:
    """Draws by the trained model in the engine's own loop.

    Args:
        engine: its vocabulary and limits.
        policy: the trained model.
        width: answers in a batch.
    """

    def __init__(self, engine: Engine, policy: Any, width: int) -> None:
        self.engine, self.policy, self.width = engine, policy, width

    def generate(self, requests: Sequence[GenerateRequest], rules: Rules) -> list[DualCodes]:
        """Return an answer to each request; raises EngineError as the engine does."""
        parts = replace(self.engine.parts, model=plain_model(self.policy))
        was_training = self.policy.training
        self.policy.eval()
        found: list[DualCodes] = []
        try:
            for begin in range(0, len(requests), self.width):
                part = requests[begin : begin + self.width]
                found += answer_requests(parts, rules, part, graphs=False)
        finally:
            self.policy.train(was_training)
        return found


class ServedGenerator:
    """Draws by vLLM, which is given the trained weights before each draw.

    Args:
        engine: its vocabulary and limits.
        policy: the trained model, all of whose weights are trained.
        folder: of the model that the run begins with.
        options: fields of ``vllm.LLM``.

    Raises:
        EngineError: if vLLM does not serve such a model.
        PluginError: if vLLM is not installed.
    """

    def __init__(
        self, engine: Engine, policy: Any, folder: Path, options: Mapping[str, Any]
    ) -> None:
        self.policy = policy
        self._generator = VllmGenerator(folder, engine.parts, **options)

    def generate(self, requests: Sequence[GenerateRequest], rules: Rules) -> list[DualCodes]:
        """Return an answer to each request; raises EngineError as vLLM's generator does."""
        self._generator.load_weights(self.policy.state_dict().items())
        return self._generator.generate(requests, rules)


def rollout_rules(engine: Engine, temperature: float | None, guidance: float | None) -> Rules:
    """Return the rules that answers are drawn by: the model's own, without top-k and top-p.

    What is taught answers, also where the model has weights of an edit's own.

    Args:
        engine: has those of the model.
        temperature: another one, for all edits.
        guidance: another one, for all edits.
    """
    given: dict[str, Any] = {"top_k": None, "top_p": None, "grammar": True}
    given |= {} if temperature is None else {"temperature": temperature}
    given |= {} if guidance is None else {"guidance": guidance}
    sampling = SamplingConfig(**given).filled(engine.parts.sampling)
    policy = GenerationPolicy().filled(without_own_weights(engine.parts.generation))
    return Rules(sampling, policy)


@dataclass(frozen=True)
class Group:
    """Answers to one request.

    Attributes:
        prompt: what was asked.
        answers: as rewards see them.
        rows: the same, as the model reads them.
    """

    prompt: Prompt
    answers: list[Answer]
    rows: list[AnswerRow]


@dataclass(frozen=True)
class _PreparedRequest:
    """A request to the model, with its prompt and rules."""

    prompt: Prompt
    ready: Ready
    request: GenerateRequest
    rules: Rules


class _Given:
    """An engine whose answers are known: everything else is the engine's own."""

    def __init__(self, engine: Engine, codes: Sequence[DualCodes]) -> None:
        self._engine, self._codes = engine, list(codes)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return the given codes."""
        return self._codes

    def spoken_at_once(self, rules: tuple[str, ...]) -> tuple[None, None]:
        """Return that all is said at once: each answer is one to the whole prompt."""
        return None, None

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Decode as the engine does."""
        return self._engine.decode(requests)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class Rollouts:
    """Draws groups of answers.

    Args:
        engine: encodes sources and decodes answers.
        generator: draws.
        rules: of sampling; edits have their own.
        max_tokens: of prompt and answer together.
        width: answers that are decoded in a batch.
        around: seconds that are decoded on either side of what is put in, where all else is the
            source's own; None decodes all.
    """

    def __init__(
        self,
        engine: Engine,
        generator: RolloutGenerator,
        rules: Rules,
        max_tokens: int,
        width: int,
        around: float | None = None,
    ) -> None:
        self.engine, self.generator, self.rules = engine, generator, rules
        self.vocabulary = Vocabulary.of_parts(engine.parts)
        self.max_tokens, self.width, self.around = max_tokens, width, around
        self._kept: dict[str, _PreparedRequest] = {}

    def _ready(self, prompt: Prompt) -> _PreparedRequest:
        """Return a request that may have been prepared before: aligning its words takes long."""
        kept = self._kept.pop(prompt.name, None)
        if kept is None or kept.prompt is not prompt:
            kept = self._prepared(prompt)
        self._kept[prompt.name] = kept
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return kept

    def _prepared(self, prompt: Prompt) -> _PreparedRequest:
        """Return the request to the model, with its rules.

        Raises:
            StepeditError: if it cannot be asked, as where prompt and answer are too long.
        """
        ready = prompt.ready()
        source = ready.prepared.source
        codes = ready.codes or self.engine.encode([source])[0]
        plan = prompt.edit.plan(source)
        if plan.replacements:
            raise StepeditError(f"{prompt.edit.name}: replaced words are not learned from")
        own = self.rules.for_edit(*plan.rules)
        own = Rules(
            own.sampling.model_copy(update={"max_length": self.max_tokens}),
            # What is learned is what the model says by itself.
            own.policy.model_copy(update={"best_of": 1, "follow_source": False}),
        )
        alone = own.policy.regenerate == "insertions"
        request = request_for(prompt.edit, source, codes, 0, plan=plan, insertions_only=alone)
        parts = self.engine.parts
        ids = aligned_prompt(request, parts.text, parts.encoding).ids
        constraint_of(request, ids, parts.budget(len(ids), self.max_tokens), own)
        return _PreparedRequest(prompt, ready, request, own)

    def draw(
        self, prompts: Sequence[Prompt], count: int, seed: int, *names: object, decoded: bool
    ) -> tuple[list[Group], int]:
        """Return ``count`` answers to each request, and how many requests could not be asked.

        Args:
            prompts: the requests.
            count: answers to each.
            seed: of the run.
            names: what the draws depend on besides, such as the step.
            decoded: whether the answers are to be heard.
        """
        asked: list[_PreparedRequest] = []
        refused = 0
        for prompt in prompts:
            try:
                asked.append(self._ready(prompt))
            except StepeditError:
                refused += 1
        drawn: list[list[GenerateRequest]] = []
        for one in asked:
            seeds = rng_of(seed, "answers", *names, one.prompt.name).integers(2**31, size=count)
            drawn.append([replace(one.request, seed=int(own)) for own in seeds])
        codes = self._generate(asked, drawn)
        groups = [self._group(one, drawn[at], codes[at], decoded) for at, one in enumerate(asked)]
        return groups, refused

    def _generate(
        self, asked: Sequence[_PreparedRequest], drawn: Sequence[Sequence[GenerateRequest]]
    ) -> dict[int, list[DualCodes]]:
        """Draw all answers, those under the same rules together."""
        found: dict[int, list[DualCodes]] = {}
        left = list(range(len(asked)))
        while left:
            rules = asked[left[0]].rules
            same = [at for at in left if asked[at].rules == rules]
            left = [at for at in left if at not in same]
            requests = [request for at in same for request in drawn[at]]
            made = iter(self.generator.generate(requests, rules))
            found |= {at: [next(made) for _ in drawn[at]] for at in same}
        return found

    def _group(
        self,
        asked: _PreparedRequest,
        requests: Sequence[GenerateRequest],
        codes: Sequence[DualCodes],
        decoded: bool,
    ) -> Group:
        rows = [
            lay_out(request, one, self.vocabulary, asked.rules)
            for request, one in zip(requests, codes, strict=True)
        ]
        prompt, ready = asked.prompt, asked.ready
        answers = [
            Answer(prompt.edit, request, one, ready.case, ready.prepared, ready.target)
            for request, one in zip(requests, codes, strict=True)
        ]
        if decoded:
            answers = [
                replace(answer, audio=outcome.utterance, details=outcome.details)
                for answer, outcome in zip(
                    answers, self.outcomes(prompt, requests, codes), strict=True
                )
            ]
        return Group(prompt, answers, rows)

    def outcomes(
        self, prompt: Prompt, requests: Sequence[GenerateRequest], codes: Sequence[DualCodes]
    ) -> list[Outcome]:
        """Return the outcomes of a request whose answers these codes are, each by itself."""
        cut = None if self.around is None else stretch_around(requests[0], self.around)
        if cut is not None:
            parts = [replace(cut.request, seed=one.seed) for one in requests]
            made = self._outcomes(prompt, parts, [cut.codes_of(one) for one in codes])
            return [cut.joined(one, whole) for one, whole in zip(made, codes, strict=True)]
        return self._outcomes(prompt, requests, codes)

    def _outcomes(
        self, prompt: Prompt, requests: Sequence[GenerateRequest], codes: Sequence[DualCodes]
    ) -> list[Outcome]:
        found: list[Outcome] = []
        for begin in range(0, len(codes), self.width):
            part = list(codes[begin : begin + self.width])
            own = requests[begin : begin + self.width]
            given: Any = _Given(self.engine, part)
            found += apply_by_llm(
                [prompt.edit] * len(part),
                [one.utterance for one in own],
                given,
                [one.seed for one in own],
                [one.codes for one in own],
                plans=[one.plan.but(fits=None) for one in own],  # nothing is chosen among them
            )
        return found
