"""What `--split`, `--where` and `--include` leave of a corpus; what they name has to be there."""

from __future__ import annotations

import dataclasses
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from stepedit_core.errors import StepeditError, counted, suggest

if TYPE_CHECKING:
    from stepedit_core.pairs import CorpusItem
    from stepedit_pairs.settings import RunSettings

__all__ = ["Filters"]

_MOST_VALUES = 1_000
"""Values that are remembered of a name, for near misses."""
_SHOWN = 12
_NO_LABELS = frozenset({"id", "path", "transcript", "labels", "seconds", "start", "end"})


class Filters:
    """The filters of a run, and whether each part of them fits any item.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: RunSettings) -> None:
        """Begin with no item seen."""
        self.include = settings.include
        self.wanted = {**({} if settings.split is None else {"split": settings.split})}
        self.wanted |= settings.where
        self._option = {name: f"--where {name}={value}" for name, value in self.wanted.items()}
        if settings.split is not None and "split" not in settings.where:
            self._option["split"] = f"--split {settings.split}"
        self.seen = self.taken = 0
        self._known: dict[str, set[str]] = {name: set() for name in self.wanted}
        self._names: set[str] = set()
        self._unmatched = list(settings.include)
        self._id = ""

    def take(self, item: CorpusItem) -> bool:
        """Return whether all filters let an item through."""
        self.seen += 1
        self._id = self._id or item.id
        if not self.wanted and not self.include:
            return True
        facts = {**dataclasses.asdict(item), **item.labels}
        self._remember(facts)
        matching = [pattern for pattern in self.include if fnmatchcase(item.id, pattern)]
        self._unmatched = [pattern for pattern in self._unmatched if pattern not in matching]
        fits = all(facts.get(name) == value for name, value in self.wanted.items())
        taken = fits and (bool(matching) or not self.include)
        self.taken += taken
        return taken

    def _remember(self, facts: dict[str, Any]) -> None:
        self._names |= {name for name, value in facts.items() if value} - _NO_LABELS
        for name, known in self._known.items():
            value = facts.get(name)
            if isinstance(value, str) and len(known) < _MOST_VALUES:
                known.add(value)

    def refuse_names_of_nothing(self) -> None:
        """Refuse filters of which one fits nothing in the corpus.

        Raises:
            StepeditError: naming it, with what there is.
        """
        if not self.seen:
            return
        of = f"none of {counted(self.seen, 'recording')}"
        for name, value in self.wanted.items():
            known = self._known[name]
            if value in known or len(known) >= _MOST_VALUES:
                continue
            there, near = (known, value) if known else (self._names, name)
            what = f"that {name}" if known else f"a label {name!r}"
            hint = suggest(near, there) or f"; there is {_listed(there)}"
            raise StepeditError(f"{self._option[name]}: {of} has {what}{hint}")
        if self._unmatched:
            raise StepeditError(
                f"--include {self._unmatched[0]}: fits the id of {of}; an id here is {self._id!r}"
            )
        if not self.taken and (self.wanted or self.include):
            given = [*self._option.values(), *(f"--include {one}" for one in self.include)]
            raise StepeditError(f"{of} fits {' and '.join(given)} together")


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return (", ".join(shown) + (", ..." if len(names) > _SHOWN else "")) or "none"
