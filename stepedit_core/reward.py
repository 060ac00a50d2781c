"""Rewards: how good an answer of the language model is, while it is being trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from stepedit_core.codes import DualCodes
from stepedit_core.engine import GenerateRequest, SpeechEngine
from stepedit_core.scoring import Case, Measures, Prepared
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.edit import Edit

__all__ = ["Answer", "PlacedValue", "Reward", "RewardOptions", "RewardTools"]


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer to a request.

    Attributes:
        edit: what was asked for.
        request: what the engine was given: prompt, source codes, utterance, plan, words.
        codes: of the answer.
        case: the request as a benchmark item, for scorers.
        prepared: the edit's input, and what is known beyond it.
        target: codes of a recorded answer, where there is one.
        audio: the answer decoded as the engine decodes any edit; None where no reward of the run
            needs to hear it.
        details: what the edit's outcome says of itself, as in `Outcome`; empty without audio.
    """

    edit: Edit
    request: GenerateRequest
    codes: DualCodes
    case: Case
    prepared: Prepared
    target: DualCodes | None = None
    audio: Utterance | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def expected_groups(self) -> float:
        """Groups of 120 ms that the plan expects of an answer."""
        return max(1.0, self.request.codes.groups * self.request.length_ratio)


@dataclass(frozen=True)
class PlacedValue:
    """What one part of the request is worth in an answer, and which of the answer's codes say it.

    Attributes:
        begin: first group of codes that says it.
        end: group after the last.
        value: higher is better, within about -1 to 1.
    """

    begin: int
    end: int
    value: float


class RewardTools(Protocol):
    """Engine and measurements that a reward may use."""

    @property
    def engine(self) -> SpeechEngine:
        """The engine whose language model is trained."""

    @property
    def measures(self) -> Measures:
        """Measurements, as scorers get them; one that is not at hand raises ``StepeditError``."""


class RewardOptions(BaseModel):
    """Base of a reward's options, which a settings file gives; this one has none."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Reward(ABC):
    """Scores answers; brought by ``stepedit_rewards`` and chosen by name in a settings file.

    A run adds several up, with weights. An answer that cannot be scored gets None and is not
    learned from: it is never taken for a bad one.
    """

    name: ClassVar[str]
    """Name in settings files."""
    version: ClassVar[int] = 1
    """Raised whenever the same answer may get another reward."""
    needs_audio: ClassVar[bool] = False
    """Whether answers have to be decoded for it, which costs more than most rewards."""
    options: ClassVar[type[RewardOptions]] = RewardOptions
    """What a settings file may say about it."""

    def __init__(self, tools: RewardTools, options: RewardOptions) -> None:
        """Take what it may use and its options; load models here, once.

        Raises:
            StepeditError: if something that it needs is not at hand; the text names the cure.
        """
        self.tools = tools

    @abstractmethod
    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return the reward of each answer, higher for better ones, or None.

        Keep it within about -1 to 1, so that weights mean what they say.
        """

    def per_token(self, answers: Sequence[Answer]) -> list[Sequence[float]] | None:
        """Return each token's part of its answer's score, or None where that is unknown.

        The numbers of an answer, one for each of its interleaved codes, add up to its score.
        """
        return None

    def by_part(self, answers: Sequence[Answer]) -> list[Sequence[PlacedValue] | None] | None:
        """Return what each part of the request is worth in each answer, or None where it has none.

        Parts are what was asked for, such as the phones of words to say, in their order: as many
        for every answer to one request, so that answers are compared part by part. The mean over
        the parts of an answer is its score. An answer that cannot be scored gets None.
        """
        return None
