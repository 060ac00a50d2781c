"""Marks: audio that goes out is marked as edited, where a plugin brings a mark.

Marks are found by the hook ``stepedit_marks``, by name. Where no such hook or no mark is installed,
nothing is marked, and ``/v1/edits`` and the log say so.
"""

from __future__ import annotations

from typing import Any

from stepedit_core import StepeditError, Utterance, get_registry

__all__ = ["Marker"]


class Marker:
    """Marks edited audio by one mark, or leaves it as it is."""

    def __init__(self, name: str) -> None:
        """Look the mark up.

        Args:
            name: of a mark; ``auto`` takes the first that is installed, ``none`` marks nothing.

        Raises:
            StepeditError: if there is no mark of that name.
        """
        self.name: str | None = None
        self._mark: Any = None
        if name == "none":
            return
        known = _known()
        if name != "auto" and name not in known:
            there = ", ".join(known) or "none is installed"
            raise StepeditError(f"no mark {name!r}; there is: {there}")
        if known:
            self.name = next(iter(known)) if name == "auto" else name
            mark = known[self.name]
            self._mark = mark() if isinstance(mark, type) else mark

    def marked(self, utterance: Utterance) -> Utterance:
        """Return an utterance with the mark."""
        if self._mark is None:
            return utterance
        marked: Utterance = self._mark.mark(utterance)
        return marked


def _known() -> dict[str, Any]:
    """Return the marks that plugins bring, by name; none where the hook does not exist."""
    registry = get_registry()
    if not hasattr(registry.hook, "stepedit_marks"):
        return {}
    return dict(registry.named("stepedit_marks", lambda mark: str(mark.name)))
