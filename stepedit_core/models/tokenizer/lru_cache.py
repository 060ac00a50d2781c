"""A small cache that forgets what was used least recently."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["LruCache"]

Value = TypeVar("Value")


class LruCache(Generic[Value]):
    """Keeps up to ``size`` values by key; not locked, the owner sees to that."""

    def __init__(self, size: int) -> None:
        """Keep nothing yet; ``size`` 0 never keeps anything."""
        self.size = size
        self._values: OrderedDict[str, Value] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        """Say whether a value is kept."""
        return key in self._values

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """Return a value and mark it as used, or None."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: str, value: Value) -> None:
        """Keep a value; forget the least recently used ones beyond ``size``."""
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self.size:
            self._values.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
