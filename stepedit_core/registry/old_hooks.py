"""Hooks that ``Edit.plan`` has replaced: they work for one more release, with a warning."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from stepedit_core.plan import Insertion, Plan
from stepedit_core.utterance import Span, Utterance

if TYPE_CHECKING:
    from stepedit_core.edit import Edit

__all__ = [
    "OLD_HOOKS",
    "OldHooks",
    "defines_old_hooks",
    "plan_of_old_hooks",
    "warn_of_old_hooks",
]

OLD_HOOKS: Mapping[str, str] = {
    "transcript_routes": "needs_transcript(route)",
    "known_duration": "plan().length_is_exact",
    "even_pace": "plan().uniform_tempo",
    "length_ratio": "plan().length_ratio",
    "free_spans": "plan().spans",
    "insertions": "plan().insertions",
    "sampled_as": "plan().rules",
    "decoded_as": "plan().label",
}
"""Old name to what says it now."""


def _definer(edit_class: type, name: str) -> type:
    """Return the class of an edit's ancestors that defines a name."""
    return next(base for base in edit_class.__mro__ if name in base.__dict__)


def warn_of_old_hooks(edit_class: type) -> None:
    """Warn of old hooks that a class defines itself."""
    own = {**edit_class.__dict__, **inspect.get_annotations(edit_class)}
    for name in sorted(
        OLD_HOOKS.keys() & own.keys() - set(getattr(edit_class, "model_fields", ()))
    ):
        warnings.warn(
            f"{edit_class.__name__}.{name} is an old hook; define {OLD_HOOKS[name]} instead, it "
            "goes with the next release",
            DeprecationWarning,
            stacklevel=4,
        )


class OldHooks:
    """Defaults of the old hooks, and how the new ones read those that a class still defines."""

    transcript_routes: ClassVar[frozenset[Any]] = frozenset()
    known_duration: ClassVar[bool] = False
    even_pace: ClassVar[bool] = False
    has_old_hooks: ClassVar[bool] = False
    """Whether the class or an ancestor of it defines any of these."""

    def length_ratio(self: Edit, utterance: Utterance) -> float:  # type: ignore[misc]
        """Return ``plan().length_ratio``."""
        return _asked(self, "length_ratio", utterance).length_ratio

    def free_spans(self: Edit, utterance: Utterance) -> tuple[Span, ...] | None:  # type: ignore[misc]
        """Return ``plan().spans``."""
        return _asked(self, "free_spans", utterance).spans

    def insertions(self: Edit, utterance: Utterance) -> tuple[Insertion, ...]:  # type: ignore[misc]
        """Return ``plan().insertions``."""
        return _asked(self, "insertions", utterance).insertions

    def sampled_as(self: Edit) -> tuple[str, ...]:  # type: ignore[misc]
        """Return the edit's name."""
        return (self.name,)

    def decoded_as(self: Edit) -> str:  # type: ignore[misc]
        """Return the edit's name."""
        return self.name


def _asked(edit: Edit, name: str, utterance: Utterance) -> Plan:
    """Return a plan for a caller of an old hook; the defaults where the class defines the hook."""
    warnings.warn(f"Edit.{name} goes; use Edit.plan", DeprecationWarning, stacklevel=3)
    return Plan() if defines(edit, name) else edit.plan(utterance)


def defines(edit: Edit, name: str) -> bool:
    """Return whether an edit's class or an ancestor of it defines an old hook."""
    return _definer(type(edit), name) is not OldHooks


def defines_old_hooks(edit_class: type) -> bool:
    """Return whether a class or an ancestor of it defines an old hook."""
    return any(_definer(edit_class, name) is not OldHooks for name in OLD_HOOKS)


def plan_of_old_hooks(edit: Edit, utterance: Utterance) -> dict[str, Any]:
    """Return the fields of a plan that an edit's old hooks say."""
    said: dict[str, Any] = {}
    if defines(edit, "known_duration"):
        said["length_is_exact"] = bool(edit.known_duration)
    if defines(edit, "even_pace"):
        said["uniform_tempo"] = bool(edit.even_pace)
    for name, field in (("length_ratio", "length_ratio"), ("free_spans", "spans")):
        if defines(edit, name):
            said[field] = getattr(edit, name)(utterance)
    if defines(edit, "insertions"):
        said["insertions"] = tuple(edit.insertions(utterance))
    if defines(edit, "sampled_as"):
        said["rules"] = edit.sampled_as()
    if defines(edit, "decoded_as"):
        said["label"] = edit.decoded_as()
    return said
