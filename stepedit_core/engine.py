"""What core asks of an engine; torch-free, so that fakes and other backends can implement it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from stepedit_core.codes import DualCodes
from stepedit_core.prompt import Prompt
from stepedit_core.registry.moved import moved_names
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.edit import Edit

__all__ = [
    "FreeGroups",
    "GenerateRequest",
    "KeepingEngine",
    "SpeechEngine",
    "answer_starts",
]


@dataclass(frozen=True)
class FreeGroups:
    """Groups of the source that the model may replace; all others are copied.

    Attributes:
        start: first group, inclusive.
        stop: last group, exclusive.
        length: how many groups to generate in their place.
        new: whether they are put in: all but the first and the last half of a group is nothing
            that the source holds.
    """

    start: int
    stop: int
    length: int
    new: bool = False


def answer_starts(free: Sequence[FreeGroups]) -> list[int]:
    """Return the group at which each free part begins in the answer; parts are in order."""
    starts, shift = [], 0
    for part in free:
        starts.append(part.start + shift)
        shift += part.length - (part.stop - part.start)
    return starts


@dataclass(frozen=True)
class GenerateRequest:
    """One generation by the language model.

    Attributes:
        prompt: the words, with one audio slot.
        codes: codes for the audio slot.
        utterance: the utterance that they encode, with its transcript.
        seed: makes the draw repeatable, alone or in a batch.
        length_ratio: expected output duration over input duration, for budgets.
        free: where generation is confined to, in order; None leaves all free.
        known_length: whether the ratio is what was asked for, and not a guess.
        sampled_as: names of edits whose own rules of sampling hold, later ones first.
        decoded_as: what the decoder may know the edit by.
        even_pace: whether the source is told at one pace from its beginning to its end.
        words: what the whole answer is to say, where that is known.
    """

    prompt: Prompt
    codes: DualCodes
    utterance: Utterance
    seed: int = 0
    length_ratio: float = 1.0
    free: tuple[FreeGroups, ...] | None = None
    known_length: bool = False
    sampled_as: tuple[str, ...] = ()
    decoded_as: str = ""
    even_pace: bool = False
    words: str | None = None


@runtime_checkable
class SpeechEngine(Protocol):
    """An audio tokenizer, a language model and a decoder on one device."""

    @property
    def name(self) -> str:
        """Short name that results carry."""

    @property
    def sample_rate(self) -> int:
        """Rate of decoded audio, in Hz."""

    def describe(self) -> Mapping[str, Any]:
        """Return name, device, dtype and a hash of the weights; JSON data."""

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance."""

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return the output codes of each request, all in one batch."""

    def decode(
        self, codes: Sequence[DualCodes], references: Sequence[Utterance], seeds: Sequence[int]
    ) -> list[Utterance]:
        """Return audio for codes, in the voice of the reference beside each."""


@runtime_checkable
class KeepingEngine(Protocol):
    """What an engine may offer besides: to generate insertions alone and copy the rest."""

    def keeps_rest(self, edit: Edit) -> bool:
        """Whether all but the insertions of this edit is to be copied."""


__getattr__ = moved_names(__name__, {"Engine": "stepedit_core.models.engine"})
