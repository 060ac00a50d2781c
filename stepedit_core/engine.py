"""Protocol and requests of engines, torch-free: fakes and other backends implement it, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from stepedit_core.codes import DualCodes, FreeGroups, answer_starts, growth
from stepedit_core.llm_route.omissions import Passage
from stepedit_core.llm_route.source_map import Pairs, SourceMap, expected_tempo
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.registry.moved import moved_names
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.edit import Edit

__all__ = [
    "ChoosingEngine",
    "DecodeRequest",
    "FreeGroups",
    "GenerateRequest",
    "InfillRequest",
    "Infilled",
    "InfillingEngine",
    "Latent",
    "LatentEngine",
    "LimitedEngine",
    "OwnCodes",
    "PartialGeneration",
    "SpeechEngine",
    "SpokenWord",
    "TaughtEngine",
    "answer_starts",
    "answers_with_own_codes",
    "chooses",
    "follows_source",
    "infill_context",
    "is_generated",
    "keeps_latents",
    "knows",
    "languages",
    "longest_seconds",
    "regenerates_insertions_only",
    "spoken_at_once",
    "strength_problem",
]


@dataclass(frozen=True)
class GenerateRequest:
    """One generation by the language model.

    Attributes:
        prompt: the words, with one audio slot.
        codes: codes for the audio slot.
        utterance: the utterance that is edited, with its transcript.
        seed: makes the draw repeatable, alone or in a batch.
        plan: what is known of the edit beforehand.
        words: what the whole answer is to say, where that is known.
        free: where generation is confined to, in groups of ``codes`` and in order, as
            `request_for` derives it from the plan's spans or insertions; None leaves all free.
        shown: what the codes encode in place of the utterance (`Plan.as_reference`); None: itself.
    """

    prompt: Prompt
    codes: DualCodes
    utterance: Utterance
    seed: int = 0
    plan: Plan = field(default_factory=Plan)
    words: str | None = None
    free: tuple[FreeGroups, ...] | None = None
    shown: Utterance | None = None

    @property
    def length_ratio(self) -> float:
        """Expected output duration over input duration."""
        if self.free is None:
            return self.plan.length_ratio
        return 1 + growth(self.free) / self.codes.groups

    @property
    def condition(self) -> str:
        """What a decoder is conditioned on; a sound's label does not hold for speech around it."""
        alone = any(part.new for part in self.free or ())
        return self.plan.label if alone or not self.plan.insertions else ""

    def tempo(self) -> tuple[Pairs, Pairs]:
        """Return the expected changes of rate, and what is inserted; see `expected_tempo`."""
        return expected_tempo(self.length_ratio, self.free)

    def own_codes(self) -> DualCodes:
        """Return the source's own codes at the expected pace, as an answer."""
        codes = self.codes
        if self.free is None:
            return codes.at_length(max(1, round(codes.groups * self.length_ratio)))
        pieces, at = [], 0
        for part in (*self.free, FreeGroups(codes.groups, codes.groups, 0)):
            pieces.append(codes.slice_groups(at, part.start))
            pieces.append(codes.slice_groups(part.start, part.stop).at_length(part.length))
            at = part.stop
        joined = DualCodes.from_interleaved(np.concatenate([one.interleave() for one in pieces]))
        return replace(joined, start=codes.start)

    def passage(self) -> Passage | None:
        """Return the ways through the source of an answer that leaves silence out, or None."""
        gone = self.plan.omissions if self.free is None else None
        return None if gone is None else Passage.of(self.codes, gone)

    def source_map(self, groups: int, offset: float = 0.0, *, is_own: bool = False) -> SourceMap:
        """Return the places in the source of an answer of so many groups, as far as they are known.

        Args:
            groups: of the answer.
            offset: source groups by which the answer's codes begin late.
            is_own: whether the answer is `own_codes`, whose places are known.
        """
        is_known = self.free is not None or self.plan.uniform_tempo
        tempo = self.tempo() if is_known else None
        if is_own and self.free is None:  # they are whole groups, and their pace is exact
            tempo = expected_tempo(groups / self.codes.groups)
        return SourceMap.build(
            groups,
            tempo,
            condition=self.condition,
            free=self.free,
            start=self.codes.start,
            offset=offset,
            placed_inside=self.plan.uniform_tempo_in_spans or is_own,
            strength=self.plan.strength,
        )


@dataclass(frozen=True)
class SpokenWord:
    """Expected place of a word of the new text in an answer.

    Attributes:
        letter: place of its first character in the text.
        groups: where it begins in the source's codes, in groups; None for a new word.
        is_after: whether it comes after the change, and moves with its length.
        share: of a new word, how much of the new stretch comes before it, 0..1.
    """

    letter: int
    groups: float | None = None
    is_after: bool = False
    share: float = 0.0


@dataclass(frozen=True)
class InfillRequest:
    """Other words in one place of a recording; all codes elsewhere stay.

    Attributes:
        prompt: the clone prompt of the new text, with the recording as its speaker.
        codes: of the recording.
        utterance: the recording, with its transcript.
        text: the whole new transcript.
        start: first group that goes.
        stop: group after the last one that goes; equal to ``start`` where words are put in.
        expected: groups that the new words are expected to take.
        words_at: where each word of ``text`` is expected.
        seed: of the draws.
        rules: names of edits whose rules of sampling hold, later ones first.
    """

    prompt: Prompt
    codes: DualCodes
    utterance: Utterance
    text: str
    start: int
    stop: int
    expected: float
    words_at: tuple[SpokenWord, ...]
    seed: int = 0
    rules: tuple[str, ...] = ()

    def as_generation(self) -> GenerateRequest:
        """Return the request whose prompt this one continues."""
        ratio = (self.codes.groups + self.expected - (self.stop - self.start)) / self.codes.groups
        plan = Plan(length_ratio=max(0.01, ratio), rules=self.rules)
        return GenerateRequest(self.prompt, self.codes, self.utterance, self.seed, plan)


@dataclass(frozen=True)
class Infilled:
    """Answer of an engine to an `InfillRequest`.

    Attributes:
        codes: of the whole recording; outside the change they are the source's.
        length: groups of the new stretch.
        details: how it was chosen; JSON data.
        others: further draws, better ones first, for who listens to them.
    """

    codes: DualCodes
    length: int
    details: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[Infilled, ...] = ()


@dataclass(frozen=True, eq=False)
class Latent:
    """Codes and mel that an engine made a recording from; for engines of the same weights.

    An engine that edits its own output can begin with it. Encoding the sound again and taking its
    mel again costs quality with every edit of a chain, as with any lossy coding.

    Attributes:
        codes: that were decoded; their start counts in seconds of the recording.
        state: the engine's own, such as a mel spectrogram; to others it means nothing.
        made_by: fingerprint of the weights.
        digest: of the recording (`Utterance.digest`); another sound has another past.
        gain: what brings the decoded sound back to the level that its reference had.
    """

    codes: DualCodes
    state: Any = field(repr=False)
    made_by: str
    digest: str
    gain: float = 1.0

    def of(self, utterance: Utterance, start: float, gain: float = 1.0) -> Latent:
        """Return the same for samples in which the codes begin at another second.

        Args:
            utterance: the decoded sound, with other ends and another level.
            start: second of it at which the codes begin.
            gain: what it was multiplied by in all.
        """
        codes = replace(self.codes, start=start)
        return replace(self, codes=codes, digest=utterance.digest, gain=gain)


@dataclass(frozen=True)
class DecodeRequest:
    """One decoding of codes to audio.

    Attributes:
        codes: what to speak.
        reference: whose voice.
        seed: of the flow's noise and the vocoder's source.
        source_map: where the codes lie in the reference, where that is their source.
        latent: what the engine made the reference from, where a chain carries it.
        voice: whose speaker vector, where that is not the reference's: in a chain, the first
            recording's.
    """

    codes: DualCodes
    reference: Utterance
    seed: int = 0
    source_map: SourceMap | None = None
    latent: Latent | None = None
    voice: Utterance | None = None


@runtime_checkable
class InfillingEngine(Protocol):
    """Optional ability of an engine: say other words in the middle of a recording."""

    def infill(self, request: InfillRequest) -> Infilled:
        """Return the codes of a recording with other words in one place."""


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

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Return audio for the codes of each request, in the voice of its reference."""


class PartialGeneration(Protocol):
    """Optional ability of an engine: generate insertions alone and copy the rest."""

    def regenerates_insertions_only(self, plan: Plan) -> bool:
        """Whether all but the plan's insertions is to be copied."""


class OwnCodes(Protocol):
    """Optional ability of an engine: answer with the source's own codes."""

    def answers_with_own_codes(self, plan: Plan) -> bool:
        """Whether `GenerateRequest.own_codes` is the answer, so that nothing is generated."""

    def follows_source(self, plan: Plan) -> bool:
        """Whether the answer is one of the ways of `GenerateRequest.passage`."""


class LatentEngine(SpeechEngine, Protocol):
    """Optional ability of an engine: go on from the codes and mel of its own output."""

    def accepts(self, latent: Latent) -> bool:
        """Whether these weights made it and can begin with it."""

    def decode_keeping(self, requests: Sequence[DecodeRequest]) -> list[tuple[Utterance, Latent]]:
        """Return audio as ``decode`` does, and what it was made from.

        The audio is as the decoder gives it; ``Latent.gain`` brings it to its reference's level.
        """


class TaughtEngine(Protocol):
    """Optional ability of an engine: tell which edits it was taught."""

    def knows(self, edit: Edit) -> bool:
        """Whether the model was taught this kind of edit."""


class ChoosingEngine(SpeechEngine, Protocol):
    """Optional ability of an engine: draw several answers and say which reads best."""

    def chooses(self, words: str) -> bool:
        """Whether the engine can say which of several answers reads best as words."""

    def generate_several(
        self, requests: Sequence[GenerateRequest], draws: int, keep: int
    ) -> list[list[DualCodes]]:
        """Return at most ``keep`` of at least ``draws`` answers to each, the best ones first."""


class LimitedEngine(Protocol):
    """Optional ability of an engine: tell how much speech it edits well at once."""

    def longest_seconds(self, edit: Edit) -> float | None:
        """Return the longest piece for an edit, in seconds, or None where that is not known."""


# Stand-ins pass on what their engine offers by __getattr__, which isinstance() does not see.


def knows(engine: SpeechEngine, edit: Edit) -> bool:
    """Return whether an engine was taught an edit; one that does not say knows all."""
    says = getattr(engine, "knows", None)
    return says is None or bool(says(edit))


def languages(engine: SpeechEngine) -> tuple[str, ...] | None:
    """Return the languages that an engine was taught; None where it does not say."""
    return getattr(engine, "languages", None)


def longest_seconds(engine: SpeechEngine | None, edit: Edit) -> float | None:
    """Return the longest duration that an engine edits well at once, in seconds, or None."""
    says = getattr(engine, "longest_seconds", None)
    return None if says is None else says(edit)


def chooses(engine: SpeechEngine | None, words: str | None) -> TypeGuard[ChoosingEngine]:
    """Return whether an engine can say which of several answers reads best as words."""
    says = getattr(engine, "chooses", None)
    return says is not None and words is not None and bool(says(words))


def keeps_latents(engine: SpeechEngine) -> TypeGuard[LatentEngine]:
    """Return whether an engine can go on from what it made a recording from."""
    return hasattr(engine, "accepts") and hasattr(engine, "decode_keeping")


def regenerates_insertions_only(engine: SpeechEngine, plan: Plan) -> bool:
    """Return whether an engine generates a plan's insertions alone and copies the rest."""
    says = getattr(engine, "regenerates_insertions_only", None)
    return says is not None and bool(says(plan))


def answers_with_own_codes(engine: SpeechEngine | None, plan: Plan) -> bool:
    """Return whether the source's own codes, at the planned pace, are the answer to an edit."""
    says = getattr(engine, "answers_with_own_codes", None)
    return says is not None and bool(says(plan))


def follows_source(engine: SpeechEngine | None, plan: Plan) -> bool:
    """Return whether an engine's answer is the source's own codes without silence."""
    says = getattr(engine, "follows_source", None)
    return says is not None and bool(says(plan))


def draws_alone(engine: SpeechEngine | None, plan: Plan) -> int:
    """Return of how many answers an engine gives the best by itself; 1 where it does not say."""
    says = getattr(engine, "draws", None)
    return 1 if says is None else int(says(plan))


def strength_problem(engine: SpeechEngine | None, plan: Plan) -> str | None:
    """Say why an engine cannot do a label at the strength of a plan, or return None."""
    if plan.strength == 1.0 or answers_with_own_codes(engine, plan):
        return None
    name = "the engine" if engine is None else f"the engine {engine.name!r}"
    return (
        f"{name} knows one strength of {plan.label or 'this edit'} alone; leave strength= out or "
        "use the dsp route"
    )


def is_generated(engine: SpeechEngine | None, plan: Plan) -> bool:
    """Return whether a language model says the answer; otherwise its codes are the source's own."""
    own = plan.keeps_codes or answers_with_own_codes(engine, plan)
    return not (own or follows_source(engine, plan))


__getattr__ = moved_names(__name__, {"Engine": "stepedit_core.models.engine"})


def infill_context(engine: SpeechEngine, rules: tuple[str, ...]) -> float | None:
    """Return the seconds of context around changed words that an engine is given; None: all.

    Args:
        engine: any; one that does not say takes the whole recording.
        rules: names of edits whose policy holds, later ones first.
    """
    says = getattr(engine, "infill_context", None)
    return None if says is None else says(rules)


def spoken_at_once(
    engine: SpeechEngine, rules: tuple[str, ...]
) -> tuple[float | None, float | None]:
    """Return the seconds of a text that an engine says at once, and of a voice that it is shown.

    Arguments as of `infill_context`; None stands for all of it.
    """
    says = getattr(engine, "spoken_at_once", None)
    return (None, None) if says is None else says(rules)
