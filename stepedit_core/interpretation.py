"""Interpreters: natural-language requests to chains, with regions and alternative readings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from stepedit_core.alignment import Alignment
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import format_edit
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError, suggest
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.utterance import Span, Utterance

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Interpretation",
    "InterpretationError",
    "Interpreter",
    "Reading",
    "Region",
    "Setting",
    "interpret",
]

Confine = Callable[[Edit, "Region", "Setting"], Edit]
"""Builds the edit that is confined to a region; raises InterpretationError where it cannot."""
MAX_CHARACTERS = 1_000
"""Longest sentence that is read."""


class InterpretationError(StepeditError):
    """A sentence asks for what no installed edit does, or can be read in several ways.

    Attributes:
        alternatives: the readings, where there are several.
    """

    def __init__(self, message: str, alternatives: tuple[Interpretation, ...] = ()) -> None:
        """Keep the alternatives beside the message."""
        super().__init__(message)
        self.alternatives = alternatives


@dataclass(frozen=True)
class Setting:
    """Context of a sentence: the utterance that it speaks of.

    Attributes:
        text: the transcript, or None.
        seconds: duration, or None.
        alignment: when each word is said, or None.
    """

    text: str | None = None
    seconds: float | None = None
    alignment: Alignment | None = None

    @classmethod
    def of(cls, about: Utterance | Setting | str | None) -> Setting:
        """Return the setting of an utterance, or of a transcript alone."""
        if isinstance(about, Setting):
            return about
        if isinstance(about, Utterance):
            return cls(about.transcript, about.seconds, about.alignment)
        return cls(about)


@dataclass(frozen=True)
class Region:
    """Region that an edit is confined to; one of the first four fields is set.

    Attributes:
        spans: (start, end) in seconds.
        words: a phrase of the transcript.
        sentences: numbers of sentences, from 1.
        speaker: name of a speaker.
        occurrence: which one of ``words``, from 1.
        outside: everything but that is meant.
    """

    spans: tuple[Span, ...] = ()
    words: str | None = None
    sentences: tuple[int, ...] = ()
    speaker: str | None = None
    occurrence: int | None = None
    outside: bool = False

    def to_data(self) -> dict[str, Any]:
        """Return the region as JSON data, what is not set left out."""
        data: dict[str, Any] = {}
        if self.spans:
            data["spans"] = [list(span) for span in self.spans]
        if self.words is not None:
            data["words"] = self.words
        if self.occurrence is not None:
            data["occurrence"] = self.occurrence
        if self.sentences:
            data["sentences"] = list(self.sentences)
        if self.speaker is not None:
            data["speaker"] = self.speaker
        return data | ({"outside": True} if self.outside else {})

    def __str__(self) -> str:
        """Return the region in words."""
        if self.spans:
            inside = ", ".join(f"{start:g} to {end:g} s" for start, end in self.spans)
        elif self.words is not None:
            which = f" (number {self.occurrence})" if self.occurrence else ""
            inside = f"{self.words!r}{which}"
        elif self.sentences:
            many = "s" if len(self.sentences) > 1 else ""
            inside = f"sentence{many} {', '.join(map(str, self.sentences))}"
        else:
            inside = f"speaker {self.speaker}"
        return f"everything but {inside}" if self.outside else inside


@dataclass(frozen=True)
class Reading:
    """One edit that was read from a sentence.

    Attributes:
        edit: the request, not yet confined.
        region: where, or None for the whole utterance.
        source: the words that it was read from.
        origin: what the interpreter needs to change it later ("a little less").
    """

    edit: Edit
    region: Region | None
    source: str
    origin: Any = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """Return edit, region and source in a line."""
        where = f" on {self.region}" if self.region else ""
        return f"{format_edit(self.edit)}{where}, from {self.source!r}"


@dataclass(frozen=True)
class Interpretation:
    """Interpretation of a sentence; nothing of it has been run.

    Attributes:
        readings: the edits in order.
        setting: what was known of the utterance.
        alternatives: the readings to choose from where the sentence is ambiguous; then
            ``readings`` is empty.
        question: what has to be chosen, where the sentence is ambiguous.
        notes: what a user should know of the reading, such as what it cost.
        earlier: what was asked before the last sentence, where that is known.
        confine: builds the edit that is confined to a region.
    """

    readings: tuple[Reading, ...]
    setting: Setting = Setting()
    alternatives: tuple[Interpretation, ...] = ()
    question: str = ""
    notes: tuple[str, ...] = ()
    earlier: Interpretation | None = field(default=None, repr=False, compare=False)
    confine: Confine | None = field(default=None, repr=False, compare=False)

    @property
    def chain(self) -> Chain:
        """The chain, each edit confined to its region.

        Raises:
            InterpretationError: if the sentence is ambiguous, or a region needs word times that
                are not known.
        """
        if self.alternatives:
            ways = "; or ".join(
                ", then ".join(
                    format_edit(one.edit) + (f" on {one.region}" if one.region else "")
                    for one in way.readings
                )
                for way in self.alternatives
            )
            raise InterpretationError(f"{self.question}: {ways}", self.alternatives)
        return Chain(self._confined(one) for one in self.readings)

    def _confined(self, one: Reading) -> Edit:
        """Return the edit of a reading, confined to its region."""
        if one.region is None or self.confine is None:
            return one.edit
        return self.confine(one.edit, one.region, self.setting)

    @property
    def explanation(self) -> tuple[str, ...]:
        """One line for each edit: what it is, where, and the words that it was read from."""
        return tuple(map(str, self.readings))

    def to_data(self) -> dict[str, Any]:
        """Return JSON data: ``chain`` (None where ambiguous), ``explanation``, ``alternatives``.

        ``notes`` stand beside them where there are any.
        """
        explanation = [
            {
                "edit": format_edit(one.edit),
                "where": one.region.to_data() if one.region else None,
                "read_from": one.source,
            }
            for one in self.readings
        ]
        data: dict[str, Any] = {
            "chain": None if self.alternatives else self.chain.to_data(),
            "explanation": explanation,
            "alternatives": [way.to_data() for way in self.alternatives],
        }
        return data | ({"notes": list(self.notes)} if self.notes else {})


class Interpreter(ABC):
    """Reads sentences; found by ``stepedit_interpreters``."""

    name: ClassVar[str]

    takes_model: ClassVar[bool] = False
    """Whether a model may be named, as in ``name:model``."""

    def __init__(self, registry: Registry, model: str | None = None) -> None:
        """Take the registry whose edits may be asked for, and the model where one is named."""
        self.registry = registry
        self.model = model

    @abstractmethod
    def read(
        self, sentence: str, setting: Setting, before: Interpretation | None
    ) -> Interpretation:
        """Return the edits that a sentence asks for.

        Args:
            sentence: in any language that the interpreter knows.
            setting: what is known of the utterance.
            before: what was asked so far, which the sentence may correct; where it is ambiguous,
                the sentence has to choose.

        Raises:
            InterpretationError: in one line, naming the nearest thing that can be done.
        """


def _load(spec: str, hooks: Registry) -> Interpreter:
    """Return the interpreter of a name, or of ``name:model``; raises StepeditError."""
    known = hooks.named("stepedit_interpreters", lambda kind: str(kind.name))
    name, _, model = spec.partition(":")
    if name not in known:
        hint = suggest(name, known) or f"; there is {', '.join(known) or 'none'}"
        raise StepeditError(f"no interpreter {name!r}{hint}")
    kind = cast(type[Interpreter], known[name])
    if model and not kind.takes_model:
        raise StepeditError(f"interpreter {name}: takes no model; {model!r} was given")
    return kind(hooks, model) if model else kind(hooks)


def interpret(
    sentence: str | Sequence[str],
    utterance: Utterance | Setting | str | None = None,
    *,
    before: Interpretation | None = None,
    interpreter: str = "grammar",
    registry: Registry | None = None,
) -> Interpretation:
    """Return the chain that a sentence asks for; nothing is run.

    Args:
        sentence: one, or several that correct each other in turn.
        utterance: what is spoken of; a transcript alone will do for most requests.
        before: what was asked so far.
        interpreter: name of the interpreter, or ``name:model`` where it takes one.
        registry: whose edits may be asked for; the process's registry by default.

    Raises:
        InterpretationError: if no installed edit does what is asked for.
        StepeditError: if there is no such interpreter.
    """
    hooks = registry or get_registry()
    reader = _load(interpreter, hooks)
    setting = Setting.of(utterance)
    for one in [sentence] if isinstance(sentence, str) else sentence:
        if len(one) > MAX_CHARACTERS:
            raise InterpretationError(
                f"a sentence of {len(one)} characters; {MAX_CHARACTERS} are the most"
            )
        before = reader.read(one, setting, before)
    if before is None:
        raise InterpretationError("there is no sentence to read")
    return before
