"""Recognisers and aligners of chains, in the worker processes.

A recogniser is 200 MB that every process holds once, and its features and its search hold Python's
lock. Limits listen for words, and edits ask when words are said; whoever asks gets a stand-in.
"""

from __future__ import annotations

import inspect
import threading
from typing import Any

from stepedit_core import (
    Aligner,
    Listener,
    Recogniser,
    get_registry,
    hookimpl,
    load_listener,
)
from stepedit_serve.working import Workers

__all__ = ["HearingInWorkers"]

_HOOKS: tuple[tuple[type[Listener], str], ...] = (
    (Recogniser, "stepedit_recognisers"),
    (Aligner, "stepedit_aligners"),
)
Key = tuple[str, str, str | None, int]
"""Hook, name, model and threads of a listener."""


class HearingInWorkers:
    """A plugin of the service alone: recognisers and aligners are loaded by its workers."""

    def __init__(self, workers: Workers) -> None:
        """Take the workers."""
        self._workers = workers
        self._lock = threading.Lock()
        self._made: dict[Key, tuple[type[Listener], Any]] = {}

    @hookimpl
    def stepedit_load_listener(
        self, kind: type[Listener], model: str | None, threads: int
    ) -> Listener | None:
        """Return a stand-in, or decline where the workers do not know the class."""
        hook = next((hook for base, hook in _HOOKS if issubclass(kind, base)), None)
        if hook is None:
            return None
        key = hook, str(kind.name), model, threads
        with self._lock:
            known = self._made.get(key)
            if known is None or known[0] is not kind:
                is_known = self._workers.call(knows, *key[:2], kind.__module__, kind.__qualname__)
                known = kind, _stand_in(kind, key, self._workers) if is_known else None
                self._made[key] = known
        found: Listener | None = known[1]
        return found


def _stand_in(kind: type[Listener], key: Key, workers: Workers) -> Listener:
    """Return an object of a subclass that has a worker do what the class itself defines."""

    def asking(name: str) -> Any:
        return lambda self, *given, **options: workers.call(asked, key, name, given, options)

    methods: dict[str, Any] = {name: asking(name) for name in _own_methods(kind)}
    # The class's own __init__ loads the model.
    methods |= {"__module__": kind.__module__, "__init__": lambda self: None}
    made: Any = type(kind.__name__, (kind,), methods)
    found: Listener = made()
    return found


def _own_methods(kind: type[Listener]) -> list[str]:
    """Return the public methods in which a class differs from `Recogniser` or `Aligner`."""
    base = next(base for base, _ in _HOOKS if issubclass(kind, base))
    own = inspect.getmembers(kind, inspect.isfunction)
    return [
        name
        for name, method in own
        if not name.startswith("_") and getattr(base, name, None) is not method
    ]


# In a worker -----------------------------------------------------------------------------


def knows(hook: str, name: str, module: str, qualified: str) -> bool:
    """Return whether this process has the same class by a name."""
    kind = get_registry().named(hook, lambda kind: str(kind.name)).get(name)
    return kind is not None and (kind.__module__, kind.__qualname__) == (module, qualified)


def asked(key: Key, method: str, given: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return what a method of a listener returns; it is loaded once, and raises as it does."""
    hook, name, model, threads = key
    kind = get_registry().named(hook, lambda kind: str(kind.name))[name]
    return getattr(load_listener(kind, model, threads), method)(*given, **options)
