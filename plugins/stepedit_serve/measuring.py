"""What limits measure of candidates, by processes of its own.

Speaker vectors, DNSMOS and speech detection import 400 MB of libraries, whose first use holds
Python's lock for seconds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Generator, Mapping
from functools import cache
from typing import Any, TypeGuard

from stepedit_core import Measures, StepeditError, Utterance, get_registry, hookimpl
from stepedit_serve.working import Workers

__all__ = ["MeasuringElsewhere"]


class MeasuringElsewhere:
    """A plugin of the service alone: measurements that are installed are made by workers."""

    def __init__(self, workers: Workers) -> None:
        """Take the workers; few, for each of them holds the libraries."""
        self._workers = workers

    @hookimpl(wrapper=True)
    def stepedit_measures(self) -> Generator[None, Measures | None, Measures | None]:
        """Put workers in front of the first plugin's measurements."""
        found = yield
        return _Remote(found, self._workers) if _is_installed(found) else found


class _Remote:
    """Measurements of which those that need libraries are made elsewhere, once each."""

    def __init__(self, local: Measures, workers: Workers) -> None:
        self._local, self._workers = local, workers
        self._known: dict[tuple[str, ...], Any] = {}

    def _asked(self, name: str, *utterances: Utterance) -> Any:
        key = name, *(one.digest for one in utterances)
        if key not in self._known:
            self._known[key] = self._workers.call(measured, name, *utterances)
        return self._known[key]

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        """Return the cosine similarity of the speakers' embeddings, -1..1."""
        return float(self._asked("speaker_similarity", first, second))

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        """Return DNSMOS P.835: ``sig``, ``bak``, ``ovrl``, 1..5."""
        return dict(self._asked("dnsmos", utterance))

    def speech_spans(self, utterance: Utterance) -> list[tuple[float, float]]:
        """Return the spans of speech, in seconds."""
        return list(self._asked("speech_spans", utterance))

    def median_f0(self, utterance: Utterance) -> float | None:
        """Return the median fundamental frequency of voiced frames in Hz, or None."""
        found = self._asked("median_f0", utterance)
        return None if found is None else float(found)

    def __getattr__(self, name: str) -> Any:
        """Return what else the measurements have."""
        return getattr(self._local, name)


def _is_installed(found: Measures | None) -> TypeGuard[Measures]:
    """Say whether another process has the same measurements; it knows no plugin files."""
    top = type(found).__module__.partition(".")[0]
    return found is not None and importlib.util.find_spec(top) is not None


# In a worker -----------------------------------------------------------------------------


@cache
def _measures() -> Measures:
    found: Measures | None = get_registry().hook.stepedit_measures()
    if found is None:
        raise StepeditError("no plugin measures voices; install stepedit[bench]")
    return found


def measured(name: str, *utterances: Utterance) -> Any:
    """Return a measurement of recordings by its name in `Measures`; raises as that one does."""
    return getattr(_measures(), name)(*utterances)
