"""Marks: audio that goes out is marked as edited, where a plugin brings a mark of the sound.

Marks are looked up by the hook ``stepedit_marks``, where core has that hook. A mark is applied
last, to what leaves the service: versions of a session are stored without one, so that editing them
again marks nothing twice. Streams and recordings that are edited piece by piece are never held as a
whole and carry none; answers say in ``X-Stepedit-Mark`` what they carry.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from stepedit_core import Span, StepeditError, Utterance, edited_spans, get_registry
from stepedit_serve.working import LOCAL, Workers

__all__ = ["Marker", "changed_span"]

LOG = logging.getLogger("stepedit.serve")
WhyNone = Literal["off", "missing", "failed"]
_CHECK_RATE = 24_000


class Marker:
    """Marks edited audio by one mark, or leaves it as it is.

    Attributes:
        name: of the mark, ``none`` where nothing is marked.
        is_asked_for: whether somebody named the mark; then nothing goes out without it.
        why_none: why nothing is marked: ``off``, ``missing`` or ``failed``, and a line on it
            for whoever asks; None where audio is marked.
    """

    def __init__(self, name: str, workers: Workers | None = None) -> None:
        """Look the mark up.

        Args:
            name: of a mark of the sound; ``auto`` takes the first that is installed, if any,
                ``none`` marks nothing.
            workers: mark where they know the mark's plugin; watermarks are networks, which would
                hold up whoever answers. None marks here.

        Raises:
            StepeditError: if there is no mark of that name here, or it does not mark the sound.
        """
        self.name, self._mark = "none", None
        self.is_asked_for = name not in ("auto", "none")
        self.why_none: tuple[WhyNone, str] | None = None
        known = {} if name == "none" else _known()
        if self.is_asked_for:
            there = ", ".join(known) or "none is installed"
            if name not in known:
                raise StepeditError(f"no mark {name!r} of the sound; there is: {there}")
            missing = known[name].missing()
            if missing:
                raise StepeditError(f"mark {name}: {missing}")
            self.name = name
        elif (
            first := next((n for n, kind in known.items() if not kind.missing()), None)
        ) is not None:
            self.name = first
        elif name == "none":
            self.why_none = "off", "the service was started with --mark none"
        else:
            hints = "; ".join(f"{n}: {kind.missing()}" for n, kind in known.items())
            self.why_none = "missing", hints or "no mark of the sound is installed"
        self._workers = workers
        if self.name != "none":
            self._mark = known[self.name]
            local = {info.name for info in get_registry().plugins() if info.distribution == LOCAL}
            if workers is not None and local:
                self._workers = None

    def check(self) -> None:
        """Try the mark on a second of noise, which loads what it needs.

        A mark that nobody named and that is not installed or does not work here is left out; the
        log says so.

        Raises:
            StepeditError: if the mark was named and does not work.
        """
        if self.why_none is not None:
            if self.why_none[0] != "off":
                LOG.warning("audio goes out without a mark: %s", self.why_none[1])
            return
        noise = np.random.default_rng(0).normal(0.0, 0.05, _CHECK_RATE).astype(np.float32)
        try:
            self.marked(Utterance(noise, _CHECK_RATE), None)
        except StepeditError as error:
            if self.is_asked_for:
                raise
            LOG.warning("audio goes out without a mark: %s", error)
            self.why_none = "failed", f"{self.name}: {error}"
            self.name, self._mark = "none", None

    def marked(self, edited: Utterance, source: Utterance | None) -> Utterance:
        """Return an utterance with the mark in what was edited.

        Args:
            edited: what goes out.
            source: what it was made from; None marks all of it.

        Raises:
            StepeditError: if the mark cannot be made, or a worker died.
        """
        if self._mark is None:
            return edited
        if self._workers is None:
            return marked_by(self.name, edited, source)
        return self._workers.call(marked_by, self.name, edited, source)


def marked_by(name: str, edited: Utterance, source: Utterance | None) -> Utterance:
    """Return an utterance with a mark in what was edited; runs in a worker."""
    span = changed_span(edited, source)
    if span is None:
        return edited
    marked: Utterance = _made(name).in_sound(edited, [span])
    return marked


@lru_cache(maxsize=4)
def _made(name: str) -> Any:
    """Return a mark; loading its network takes a while."""
    return _known()[name]()


def changed_span(edited: Utterance, source: Utterance | None) -> Span | None:
    """Return where an utterance begins and ends to differ from its source; None: it does not."""
    if source is None:
        return Span(0.0, edited.seconds)
    spans = edited_spans(source, edited)
    return Span(spans[0].start, spans[-1].end) if spans else None


def _known() -> dict[str, Any]:
    """Return the marks of the sound that plugins bring, by name."""
    registry = get_registry()
    if not hasattr(registry.hook, "stepedit_marks"):
        return {}
    found = registry.named("stepedit_marks", lambda kind: str(kind.name))
    return {name: kind for name, kind in found.items() if getattr(kind, "marks_sound", False)}
