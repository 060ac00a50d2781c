"""Worker processes: signal processing, recognisers and aligners stay out of the service's own.

Many of these hold Python's lock for seconds. In the service's process they would stop it from
answering; here they run beside it, one thread each.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ParamSpec, TypeVar

import numpy as np

from stepedit_core import (
    Alignment,
    Edit,
    Outcome,
    Rendered,
    Route,
    StepeditError,
    Transcription,
    Utterance,
    align,
    get_registry,
    hookimpl,
    transcribe,
)
from stepedit_serve.errors import Busy
from stepedit_serve.processes import CONTEXT, NICENESS, without_main
from stepedit_serve.requests_in import names_in

__all__ = ["LOCAL", "DspInWorkers", "Workers", "align_words", "hear_words"]

LOCAL = "(local)"
"""Distribution of plugins that this process alone knows: files that it was told to load."""
P = ParamSpec("P")
T = TypeVar("T")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Workers:
    """Processes that carry out functions of this package; a worker that dies is replaced."""

    def __init__(self, count: int) -> None:
        """Remember how many; they start with the first piece of work.

        Args:
            count: processes.
        """
        self._count = count
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function returns in a worker; it and its arguments are pickled.

        Raises:
            Busy: if the worker died, by memory or by the system's hand.
        """
        pool = self._started()
        try:
            with without_main():  # the first piece of work starts the processes
                future = pool.submit(function, *args, **kwargs)
            return future.result()
        except BrokenProcessPool:
            with self._lock:
                if self._pool is pool:
                    self._pool = None
            pool.shutdown(wait=False)
            raise Busy(
                "a worker process died, probably for lack of memory; try a shorter recording"
            ) from None

    def _started(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._count,
                    mp_context=CONTEXT,
                    initializer=_begin,
                )
            return self._pool

    def close(self) -> None:
        """End the processes; work under way is given up."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """Set a worker up: one thread, and after those who answer requests."""
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    os.nice(NICENESS)
    threading.Thread(target=_end_with_service, daemon=True).start()


def _end_with_service() -> None:
    """End this process when the service's has ended, also by kill -9."""
    service = multiprocessing.parent_process()
    if service is not None:
        service.join()
        os._exit(1)


# What workers do -------------------------------------------------------------------------


def render(
    data: dict[str, Any], utterance: Utterance, rng: np.random.Generator
) -> tuple[Rendered, Any]:
    """Carry out an edit by signal processing; return the generator's new state, too."""
    from stepedit_core import edit_from_data

    rendered = edit_from_data(data).render(utterance, rng)
    if not isinstance(rendered, Rendered):
        raise StepeditError(f"render() returned {type(rendered).__name__}, not Rendered")
    return rendered, rng.bit_generator.state


def align_words(utterance: Utterance, aligner: str = "auto") -> tuple[Alignment, str | None]:
    """Return the words of an utterance on its time axis, and their language."""
    if not (utterance.transcript or "").strip():
        heard = transcribe(utterance)
        known = utterance.replace(
            transcript=heard.text, language=utterance.language or heard.language
        )
        found = align(known, aligner)
        note = f"transcribed by {heard.recogniser}; correct the words where they are wrong"
        return _noted(found, note), known.language
    return align(utterance, aligner), utterance.language


def _noted(found: Alignment, note: str) -> Alignment:
    """Return an alignment with one more note."""
    import dataclasses

    return dataclasses.replace(found, notes=(note, *found.notes))


def hear_words(utterance: Utterance, recogniser: str = "auto") -> Transcription:
    """Return what a recogniser hears."""
    return transcribe(utterance, recogniser)


class DspInWorkers:
    """A plugin of the service alone: edits by signal processing run in its workers."""

    def __init__(self, workers: Workers) -> None:
        """Take the workers."""
        self._workers = workers

    @hookimpl(trylast=True)
    def stepedit_apply(
        self, edit: Edit, utterance: Utterance, rng: np.random.Generator, route: Route
    ) -> Outcome | None:
        """Carry out one edit in a worker, or decline where the worker could not know it."""
        if route != "dsp" or edit.is_composite() or not _is_installed(edit):
            return None
        rendered, state = self._workers.call(render, edit.to_data(), utterance, rng)
        rng.bit_generator.state = state
        return Outcome(rendered.utterance, "dsp", details=rendered.details)


def _is_installed(edit: Edit) -> bool:
    """Say whether an edit's class, and those of edits inside it, are found in another process."""
    known = get_registry().edits()
    if edit.name not in known or known[edit.name].edit_class is not type(edit):
        return False
    for info in (known.get(name) for name in names_in(edit.to_data())):
        if info is None or info.plugin.distribution == LOCAL:
            return False
        top = info.edit_class.__module__.partition(".")[0]
        if importlib.util.find_spec(top) is None:
            return False
    return True
