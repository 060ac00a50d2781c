"""Edits: the class is an edit type (an operation in the registry), an instance one request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    model_validator,
)

from stepedit_core.prompt import Prompt
from stepedit_core.registry.moved import moved_names
from stepedit_core.utterance import Span, Utterance

if TYPE_CHECKING:
    from stepedit_core.codes import DualCodes

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
    """What the dsp route of an edit returns.

    Attributes:
        utterance: the edited utterance, with its new transcript where that changed.
        details: facts for the report, such as the backend used or the spans removed; JSON data.
    """

    utterance: Utterance
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What carrying out one edit gave, whichever route ran.

    Attributes:
        utterance: the edited utterance.
        route: the route that ran.
        codes: the output codes of the llm route.
        details: facts for the report; JSON data.
    """

    utterance: Utterance
    route: Route
    codes: DualCodes | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Insertion:
    """A sound that an edit puts between the words and that leaves them alone.

    Attributes:
        at: where, in seconds of the source.
        seconds: how long it usually is.
    """

    at: float
    seconds: float


class Edit(BaseModel):
    """Base of all edits: a frozen pydantic model whose fields are the edit's parameters.

    A subclass offers the ``llm`` route by defining ``prompt`` and the ``dsp`` route by
    defining ``render``; it may do both. It is registered under its class name in snake_case,
    or under ``name`` where the class sets one. No field may be called ``edit``.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    name: ClassVar[str] = "edit"
    """Registered name, snake_case."""
    transcript_routes: ClassVar[frozenset[Route]] = frozenset()
    """Routes that need to know the words spoken."""
    known_duration: ClassVar[bool] = False
    """Whether ``length_ratio`` is the duration that is asked for, and not a guess."""
    even_pace: ClassVar[bool] = False
    """Whether all of the source is told, at one pace: ``1 / length_ratio``, which then is known."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Name the class and refuse a field that the JSON form reserves."""
        super().__pydantic_init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = snake_case(cls.__name__)
        if "edit" in cls.model_fields:
            raise TypeError(f"{cls.__name__}: a parameter may not be called 'edit'")

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, data: Any) -> Any:
        """Refuse true and false where no field asks for them; pydantic takes them for 1 and 0."""
        for key, value in data.items() if isinstance(data, Mapping) else ():
            known = cls.model_fields.get(str(key))
            if known is not None and _holds_bool(value) and not _asks_for_bool(known.annotation):
                raise ValueError(f"{key}: true and false are no values of it")
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

    def length_ratio(self, utterance: Utterance) -> float:
        """Return the expected duration after the edit over the duration before it."""
        return 1.0

    def free_spans(self, utterance: Utterance) -> tuple[Span, ...] | None:
        """Return the only spans that may change, or None where all may."""
        return None

    def sampled_as(self) -> tuple[str, ...]:
        """Return the names of edits whose rules of sampling hold, later ones first.

        An edit that wraps another one, whose words the model reads, begins with that one's names.
        """
        return (self.name,)

    def decoded_as(self) -> str:
        """Return what a decoder may know the edit by: its name, and its label where it has one."""
        return self.name

    def insertions(self, utterance: Utterance) -> tuple[Insertion, ...]:
        """Return what is put between the words, where that is all that the edit does.

        Engines with ``SamplingConfig.keep_rest`` generate these parts alone and copy the others.
        Empty, as it is here, for edits that change what is there, or where places are not known.
        """
        return ()

    def problem(self, utterance: Utterance) -> str | None:
        """Say why these parameters do not fit this utterance, or return None."""
        return None

    def route_problem(self, route: Route) -> str | None:
        """Say why these parameters have no such route, or return None.

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
            "llm": cls.prompt is not Edit.prompt,
            "dsp": cls.render is not Edit.render,
        }
        return tuple(route for route in ROUTES if offered[route])

    @classmethod
    def inserts(cls) -> bool:
        """Return whether the class knows `insertions`."""
        return cls.insertions is not Edit.insertions

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
    """Say whether a value is true or false, or a list with one of them."""
    if isinstance(value, list | tuple):
        return any(map(_holds_bool, value))
    return isinstance(value, bool)


def _asks_for_bool(annotation: object) -> bool:
    """Say whether a field's annotation has bool, or anything at all, in it."""
    if annotation in (bool, Any, object):
        return True
    return any(map(_asks_for_bool, get_args(annotation)))


__getattr__ = moved_names(
    __name__,
    {
        "AnyEdit": "stepedit_core.chain.notation",
        "edit_from_data": "stepedit_core.chain.notation",
        "explain_validation": "stepedit_core.errors",
    },
)
