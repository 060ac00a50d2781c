"""Rewards of an answer by its edit's scorer, its phones, words and voice, and a reward model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field

from stepedit_core.edit import Outcome
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.reward import Answer, Reward, RewardOptions, RewardTools
from stepedit_core.scoring import Score, Scorer
from stepedit_train.rl.last_answers import LastAnswers
from stepedit_train.rl.layout import READING, Vocabulary, lay_out
from stepedit_train.rl.log_probs import collate_answers, parts_within
from stepedit_train.rl.reward_model import load_reward_model

__all__ = ["Fits", "Phones", "RewardModelScore", "ScorerReward", "Voice", "Words"]


class ScorerOptions(RewardOptions):
    """Options of ``scorer``."""

    reached_alone: bool = False
    """Reward whether the target is reached, not how far an answer has come."""


class ScorerReward(Reward):
    """Grade of the answer by the scorer of the edit's plugin."""

    name: ClassVar[str] = "scorer"
    needs_audio: ClassVar[bool] = True
    options: ClassVar[type[RewardOptions]] = ScorerOptions

    def __init__(self, tools: RewardTools, options: RewardOptions) -> None:
        super().__init__(tools, options)
        assert isinstance(options, ScorerOptions)
        self.reached_alone = options.reached_alone
        self._scorers: dict[type[Any], Scorer] = {}

    def measured(self, answer: Answer) -> Score:
        """Return the scorer's measurement; unscored where it fails."""
        kind = type(answer.edit)
        if kind not in self._scorers:
            self._scorers[kind] = get_registry().scorer(kind)
        assert answer.audio is not None
        try:
            return self._scorers[kind].score(
                answer.case, answer.prepared, answer.audio, self.tools.measures
            )
        except StepeditError as error:
            return Score.failed(str(error))

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return the scorer's grade, or whether the target is reached, 0 or 1."""
        found: list[float | None] = []
        for answer in answers:
            made = self.measured(answer)
            if self.reached_alone or made.reached is None:
                found.append(None if made.reached is None else float(made.reached))
            else:
                found.append(self._scorers[type(answer.edit)].grade(made))
        return found


class Fits(Reward):
    """How well the edit itself finds that the outcome fits, as where it chooses among draws."""

    name: ClassVar[str] = "fits"
    needs_audio: ClassVar[bool] = True

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return the exponential of ``Plan.fits``, at most 1; None where the edit cannot tell.

        Fits are log probabilities, or mean nothing but their order. What is far from fitting is
        told apart no further, so that single answers do not outweigh all others.
        """
        found: list[float | None] = []
        for answer in answers:
            fits = answer.request.plan.fits
            if fits is None:
                found.append(None)
                continue
            assert answer.audio is not None
            outcome = Outcome(answer.audio, "llm", answer.codes, answer.details)
            found.append(math.exp(min(0.0, fits(outcome))))
        return found


class Phones(Reward):
    """Probability of the words' phones in the codes, by the model's phone reader; no audio."""

    name: ClassVar[str] = "phones"

    def __init__(self, tools: RewardTools, options: RewardOptions) -> None:
        super().__init__(tools, options)
        self.reader: Any = getattr(getattr(tools.engine, "parts", None), "reader", None)
        if self.reader is None:
            raise StepeditError(
                f"the reward 'phones' needs a model with a phone reader, and "
                f"{tools.engine.name!r} has none (`stepedit train reader` makes one)"
            )

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return the mean probability (geometric) of the words' phones, 0..1."""
        found: list[float | None] = []
        for answer in answers:
            words = answer.request.words or answer.request.utterance.transcript
            read = None if not words else self.reader.score(answer.codes, words)
            found.append(None if read is None else math.exp(read))
        return found


class Words(Reward):
    """Word accuracy of the answer, by the run's recogniser."""

    name: ClassVar[str] = "words"
    needs_audio: ClassVar[bool] = True

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return 1 less the word error rate, at least 0; None where the words are not known."""
        found: list[float | None] = []
        for answer in answers:
            words = answer.request.words or answer.request.utterance.transcript
            assert answer.audio is not None
            try:
                error = None if not words else self.tools.measures.word_error(words, answer.audio)
            except StepeditError:
                error = None
            found.append(None if error is None else max(0.0, 1 - error))
        return found


class Voice(Reward):
    """Speaker similarity of answer and source, by the engine's speaker encoder."""

    name: ClassVar[str] = "voice"
    needs_audio: ClassVar[bool] = True

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return cosine similarities."""
        found: list[float | None] = []
        for answer in answers:
            assert answer.audio is not None
            source = answer.prepared.source
            try:
                found.append(self.tools.measures.speaker_similarity(source, answer.audio))
            except StepeditError:
                found.append(None)
        return found


class RewardModelOptions(RewardOptions):
    """Options of ``reward_model``."""

    path: Path
    """Folder ``model`` of a run of ``stepedit train reward``."""
    tokens: int = Field(default=16_384, ge=1)
    """Tokens that it reads at once."""


class RewardModelScore(Reward):
    """Standardised score of a reward model: three standard deviations are 1."""

    name: ClassVar[str] = "reward_model"
    options: ClassVar[type[RewardOptions]] = RewardModelOptions

    def __init__(self, tools: RewardTools, options: RewardOptions) -> None:
        super().__init__(tools, options)
        assert isinstance(options, RewardModelOptions)
        parts: Any = getattr(tools.engine, "parts", None)
        device = "cpu" if parts is None else parts.device
        folder = options.path.expanduser().resolve()
        is_half = torch.device(device).type == "cuda"
        dtype = torch.bfloat16 if is_half else torch.float32
        self.model = load_reward_model(folder, dtype=dtype, device=device)
        self.vocabulary = Vocabulary.of_folder(folder)
        self.budget, self.device = options.tokens, torch.device(device)
        self._last: LastAnswers[list[Sequence[float]]] = LastAnswers()

    def per_token(self, answers: Sequence[Answer]) -> list[Sequence[float]]:
        """Return each code's part of the score; those scored last are not read again."""
        return self._last.get(answers, self._read)

    @torch.inference_mode()
    def _read(self, answers: Sequence[Answer]) -> list[Sequence[float]]:
        """Run the model over answers, in parts of at most so many tokens."""
        rows = [lay_out(one.request, one.codes, self.vocabulary, READING) for one in answers]
        aligned = self.model.model.config.source_alignment is not None
        found: list[Sequence[float]] = [()] * len(rows)
        for part in parts_within(rows, self.budget):
            batch = collate_answers([rows[at] for at in part], aligned=aligned).to(self.device)
            scores = (self.model.token_scores(batch) - self.model.centre) / (3 * self.model.spread)
            for at, values, spoken in zip(part, scores.cpu(), batch.spoken.cpu(), strict=True):
                own = values[spoken]
                found[at] = (own / max(1, len(own))).tolist()
        return found

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return sums over the codes."""
        return [math.fsum(values) for values in self.per_token(answers)]
