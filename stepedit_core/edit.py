"""Edits: the class is an edit type (an operation in the registry), an instance one request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    model_validator,
)

from stepedit_core.plan import Insertion, Plan
from stepedit_core.prompt import Prompt
from stepedit_core.registry.moved import moved_names
from stepedit_core.registry.old_hooks import (
    OldHooks,
    defines_old_hooks,
    plan_of_old_hooks,
    warn_of_old_hooks,
)
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.chain.chain import Chain
    from stepedit_core.codes import DualCodes
    from stepedit_core.engine import Latent

__all__ = [
    "ROUTES",
    "Edit",
    "Insertion",
    "Outcome",
    "Rendered",
    "Route",
    "snake_case",
]

Route = Literal["llm", "dsp"]
ROUTES: tuple[Route, ...] = get_args(Route)


def snake_case(name: str) -> str:
    """Return a CamelCase class name in snake_case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@dataclass(frozen=True)
class Rendered:
    """Result of the dsp route of an edit.

    Attributes:
        utterance: the edited utterance, with its new transcript where that changed.
        details: facts for the report, such as the backend used or the spans removed; JSON data.
    """

    utterance: Utterance
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """Result of one edit, whichever route ran.

    Attributes:
        utterance: the edited utterance.
        route: the route that ran.
        codes: the output codes of the llm route.
        details: facts for the report; JSON data.
        latent: what the engine made the utterance from, where it keeps that.
    """

    utterance: Utterance
    route: Route
    codes: DualCodes | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    latent: Latent | None = field(default=None, repr=False, compare=False)


class Edit(OldHooks, BaseModel):
    """Base of all edits: a frozen pydantic model whose fields are the edit's parameters.

    A subclass offers the ``llm`` route by defining ``prompt`` or setting ``keeps_codes``, and the
    ``dsp`` route by defining ``render``; it may do both. One that is a composite of other edits
    defines ``expand`` alone. It is registered under its class name in snake_case, or under ``name``
    where the class sets one. No field may be called ``edit``.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    name: ClassVar[str] = "edit"
    """Registered name, snake_case."""
    prompts_like: ClassVar[str | None] = None
    """Name of the edit whose prompt the llm route uses, where that is another one's: engines that
    were taught that one know this one, too."""

    keeps_codes: ClassVar[bool] = False
    """Whether the llm route decodes the recording's own codes again and asks the language model
    nothing; such an edit defines no prompt, and says in its plan whose voice decodes them."""

    composite: ClassVar[bool] = False
    """Whether the class or an ancestor of it defines ``expand``; set when the class is made."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Name the class and refuse a field that the JSON form reserves."""
        super().__pydantic_init_subclass__(**kwargs)
        warn_of_old_hooks(cls)
        cls.has_old_hooks = defines_old_hooks(cls)
        cls.composite = cls.expand is not Edit.expand
        if "name" not in cls.__dict__:
            cls.name = snake_case(cls.__name__)
        if "edit" in cls.model_fields:
            raise TypeError(f"{cls.__name__}: a parameter may not be called 'edit'")

    @model_validator(mode="before")
    @classmethod
    def _hold_plain_numbers(cls, data: Any) -> Any:
        """Refuse what pydantic takes for numbers and no user means: true, false, 1_5 for 15."""
        for key, value in data.items() if isinstance(data, Mapping) else ():
            known = cls.model_fields.get(str(key))
            if known is None:
                continue
            if _holds_bool(value) and not _asks_for(known.annotation, bool):
                raise ValueError(f"{key}: true and false are no values of it")
            if _is_grouped(value) and not _asks_for(known.annotation, str):
                raise ValueError(f"{key}: {value!r} is no number; write it without '_'")
        return data

    # What a plugin defines -------------------------------------------------------------

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the prompt of the llm route for an utterance."""
        raise NotImplementedError

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Carry out the edit by signal processing, with all randomness from ``rng``."""
        raise NotImplementedError

    def transcript_after(self, utterance: Utterance) -> str | None:
        """Return the words after the edit; unchanged unless a subclass says otherwise."""
        return utterance.transcript

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: facts of the edit that are known before it is carried out.

        A subclass that knows more than its name and its words begins with this plan::

            return super().plan(utterance).but(length_ratio=1 / self.factor, uniform_tempo=True)

        In a chain it is asked once for each step. While a chain is validated, later steps are
        asked about a `ForeseenUtterance`, which has words and no sound yet.
        """
        old = plan_of_old_hooks(self, utterance) if self.has_old_hooks else {}
        return Plan(
            words_after=self.transcript_after(utterance),
            problem=self.problem(utterance),
            level=None if self.changes_level() else (0.0, 0.0),
            keeps_codes=self.keeps_codes,
            **{"label": self.name, "rules": (self.name,), **old},
        )

    def expand(self, utterance: Utterance) -> Chain | None:
        """Return the chain of other edits that this one stands for, or None where it is its own.

        A composite is one step of a chain: its edits run one after the other, each by a route of
        its own, and the step's details hold a record of each.
        """
        return None

    def needs_transcript(self, route: Route) -> bool:
        """Return whether a route cannot work without the words spoken."""
        return route in self.transcript_routes

    def needs_speakers(self) -> bool:
        """Return whether the place of the edit is told by who speaks.

        Pieces of a long recording then carry the speakers that its labels name. An edit around
        another one needs what that one needs.
        """
        return any(edit.needs_speakers() for edit in self.inner_edits())

    def shows_transcript(self) -> bool:
        """Return whether the prompt repeats the words spoken.

        By default it does where the llm route needs them; an edit that needs the words to find a
        place among them, and whose prompt says others, returns False.
        """
        return self.needs_transcript("llm")

    def gentler(self) -> Edit | None:
        """Return the same request with less of its effect, or None where there is no less.

        It is tried where a chain has limits (`Accept`) and no candidate keeps words, voice, level
        or length, and again from there: each setting names the next.
        """
        return None

    def stronger(self) -> Edit | None:
        """Return the same request with more of its effect, or None where there is no more.

        It is tried as ``gentler`` is, where all that is missed is the edit's target.
        """
        return None

    def draws(self, route: Route) -> bool:
        """Return whether another draw may fare better on a route where limits are not kept.

        A model's may. Signal processing does the same again, unless the generator chooses what is
        heard, such as which sound is put in.
        """
        return route == "llm"

    def confined(self, within: Sequence[range]) -> Edit | None:
        """Return the edit of a whole utterance that touches some of its words alone.

        Edits that change words and leave all other samples as they are have one, and so work inside
        a masked edit, whose region is known as words. Others have none: they work on the samples of
        a span.

        Args:
            within: indices of words of the transcript that the edit will be given.
        """
        return None

    def saying(self, text: str) -> Edit | None:
        """Return the same edit with other words to say; None where it says no text of its own.

        An edit whose whole answer is a text that it brings, as a clone's is, has one. Engines that
        say short texts alone are asked for its phrases one by one. ``text`` is a part of
        ``plan().words_after``.
        """
        return None

    def pieces_problem(self) -> str | None:
        """Return what of the edit is said of a whole recording, or None.

        A long recording is edited in pieces. Each would take for its own what counts in the whole,
        such as seconds, numbers of sentences, or all of its words. The text goes on after the
        edit's name: "names seconds". An edit around another one asks that one.
        """
        problems = (edit.pieces_problem() for edit in self.inner_edits())
        return next((text for text in problems if text), None)

    def at_level(self, loudness: float | None, true_peak: float) -> Edit:
        """Return the request that each piece of a long recording gets; by default this one.

        One that brings a recording to a level has each piece moved as far as the whole has to go.

        Args:
            loudness: of all that is edited, LUFS (ITU-R BS.1770-4); None of silence.
            true_peak: of all that is edited, as a fraction of full scale.
        """
        return self

    def changes_level(self) -> bool:
        """Return whether loudness is what the edit is about.

        Pieces of a long recording keep the loudness of their source after edits that are not, and
        what a model says keeps the level of what it was made of. An edit that moves the level by
        the way, such as an emotion, says how far in its plan (``Plan.level``).
        """
        return False

    def files(self) -> tuple[str, ...]:
        """Return the files that the parameters name.

        What edits for others, such as a service, refuses these edits, for it would open its own
        files for them. An edit around another one names that one's files.
        """
        return tuple(file for edit in self.inner_edits() for file in edit.files())

    def hides_words(self) -> bool:
        """Return whether what the edit takes away must not be found in any record.

        Records then hold `public_data` in place of the edit's parameters, and of what came before
        it neither words nor parameters. An edit around another one hides what that one hides.
        """
        return any(edit.hides_words() for edit in self.inner_edits())

    def public_data(self) -> dict[str, Any]:
        """Return the edit's JSON data for records, without what it hides."""
        data = self.to_data()
        for key, value in self:
            if isinstance(value, Edit):
                shown = [edit.public_data() for edit in value.listed()]
                data[key] = shown if isinstance(data[key], list) else shown[0]
        return data

    def problem(self, utterance: Utterance) -> str | None:
        """Return why these parameters do not fit this utterance, or None."""
        return None

    def route_problem(self, route: Route) -> str | None:
        """Return why these parameters have no such route, or None.

        A subclass whose dsp route covers only some values overrides this and asks super first.
        """
        if route in self.routes():
            return None
        method = "prompt()" if route == "llm" else "render()"
        return f"{self.name} has no {route} route: {type(self).__name__} defines no {method}"

    # What core does with it ------------------------------------------------------------

    @classmethod
    def routes(cls) -> tuple[Route, ...]:
        """Return the routes that the class offers, in the order of ``ROUTES``."""
        offered = {
            "llm": cls.prompt is not Edit.prompt or cls.keeps_codes or cls.composite,
            "dsp": cls.render is not Edit.render or cls.composite,
        }
        return tuple(route for route in ROUTES if offered[route])

    def is_composite(self) -> bool:
        """Return whether ``expand`` gives a chain; it may do so for some parameters alone."""
        return self.composite

    def inner_edits(self) -> tuple[Edit, ...]:
        """Return the edits that are parameters of this one, by themselves or in a tuple."""
        values = (value if isinstance(value, tuple) else (value,) for _, value in self)
        return tuple(one for value in values for one in value if isinstance(one, Edit))

    def listed(self) -> tuple[Edit, ...]:
        """Return the edits that a list names in place of this one: itself, but for `Steps`."""
        return (self,)

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the class's docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]

    def to_data(self) -> dict[str, Any]:
        """Return the edit as JSON data: its name under ``edit``, and its parameters."""
        return {"edit": self.name, **self.model_dump(mode="json", exclude_none=True)}

    def __str__(self) -> str:
        """Return the form that Python reads; ``format_edit`` gives the command line's."""
        return repr(self)


def _holds_bool(value: object) -> bool:
    """Return whether a value is true or false, or a list with one of them."""
    if isinstance(value, list | tuple):
        return any(map(_holds_bool, value))
    return isinstance(value, bool)


def _is_grouped(value: object) -> bool:
    """Return whether a value is a number as Python's sources have it, 1_000; a slip for 1.5."""
    return isinstance(value, str) and re.fullmatch(r"\s*[+-]?[\d.]+_[\d_.]*\s*", value) is not None


def _asks_for(annotation: object, kind: type) -> bool:
    """Return whether a field's annotation has a type, or anything at all, in it."""
    if annotation in (kind, Any, object):
        return True
    return any(_asks_for(part, kind) for part in get_args(annotation))


__getattr__ = moved_names(
    __name__,
    {
        "AnyEdit": "stepedit_core.chain.notation",
        "edit_from_data": "stepedit_core.chain.notation",
        "explain_validation": "stepedit_core.errors",
    },
)
