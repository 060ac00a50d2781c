"""Several edits as one: what a field takes that holds an edit or a chain of edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, WithJsonSchema

from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import EDIT_SCHEMA, AnyEdit, read_any
from stepedit_core.edit import Edit, Route
from stepedit_core.errors import StepeditError, explain_validation
from stepedit_core.utterance import Utterance

__all__ = ["EditOrSteps", "Steps"]

MAX_STEPS = 64
"""Most edits of one."""


class Steps(Edit):
    """Edits that are carried out one after the other, where one edit is asked for.

    It is no edit of the registry: a list of edits in JSON, or a chain, becomes one where a field is
    `EditOrSteps`.
    """

    name: ClassVar[str] = "steps"

    edits: tuple[AnyEdit, ...] = Field(min_length=1, max_length=MAX_STEPS)
    """What is carried out, in this order."""

    def listed(self) -> tuple[Edit, ...]:
        """Return the edits."""
        return self.edits

    def expand(self, utterance: Utterance) -> Chain:
        """Return the edits as a chain."""
        return Chain(self.edits)

    def transcript_after(self, utterance: Utterance) -> str | None:
        """Return the words after all edits."""
        words = utterance.transcript
        for edit in self.edits:
            words = edit.transcript_after(utterance.replace(transcript=words))
        return words

    def needs_transcript(self, route: Route) -> bool:
        """Return whether an edit needs the words by this route."""
        return any(edit.needs_transcript(route) for edit in self.edits)

    def shows_transcript(self) -> bool:
        """Return whether an edit's prompt repeats the words."""
        return any(edit.shows_transcript() for edit in self.edits)

    def draws(self, route: Route) -> bool:
        """Return whether another draw of an edit may fare better."""
        return any(edit.draws(route) for edit in self.edits)

    def changes_level(self) -> bool:
        """Return whether an edit is about loudness."""
        return any(edit.changes_level() for edit in self.edits)

    def route_problem(self, route: Route) -> str | None:
        """Return why one of the edits has no such route, or None."""
        return next(filter(None, (edit.route_problem(route) for edit in self.edits)), None)


def _read(value: Any) -> Any:
    """Let pydantic take an edit, its JSON data, a chain, or a list of edits."""
    if isinstance(value, Chain):
        try:
            value = value.unrolled()
        except StepeditError as error:
            raise ValueError(str(error)) from error
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        return read_any(value)
    if not value:
        raise ValueError("give at least one edit")
    try:
        steps = Steps(edits=tuple(value))
    except ValidationError as error:
        raise ValueError(explain_validation(error, Steps.model_fields)) from error
    return steps.edits[0] if len(steps.edits) == 1 else steps


def _written(edit: Edit) -> Any:
    """Return the JSON form: an object, or a list of them."""
    return [one.to_data() for one in edit.listed()] if isinstance(edit, Steps) else edit.to_data()


EditOrSteps = Annotated[
    Edit,
    BeforeValidator(_read),
    PlainSerializer(_written, return_type=Any),
    WithJsonSchema(
        {
            "anyOf": [
                EDIT_SCHEMA,
                {"type": "array", "items": EDIT_SCHEMA, "minItems": 1, "maxItems": MAX_STEPS},
            ]
        }
    ),
]
"""A field that holds any registered edit, or several, which are carried out in turn."""
