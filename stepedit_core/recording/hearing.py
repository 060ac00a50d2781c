"""Hear and time the words of an utterance by whatever recognisers and aligners are installed."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

from stepedit_core.alignment import Aligner, Alignment, Recogniser, Transcription
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import AlignmentError, StepeditError, suggest
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.utterance import Utterance

__all__ = [
    "align",
    "aligner_names",
    "load_aligner",
    "load_recogniser",
    "recogniser_names",
    "transcribe",
    "with_words",
]

Kind = TypeVar("Kind", Recogniser, Aligner)
DOUBTFUL = 0.35
"""Mean confidence below which a transcript is said not to fit the recording."""


def transcribe(
    utterance: Utterance,
    recogniser: str = "auto",
    *,
    threads: int = 1,
    registry: Registry | None = None,
) -> Transcription:
    """Return what a recogniser hears.

    Args:
        utterance: any rate; its language, where given, is what is listened for.
        recogniser: ``auto``, a name, or ``name:model``.
        threads: for the recogniser.
        registry: whose plugins are asked; the process's registry by default.

    Raises:
        StepeditError: if no recogniser is installed or knows the language.
    """
    return load_recogniser(recogniser, utterance.language, threads, registry).transcribe(utterance)


def align(
    utterance: Utterance,
    aligner: str = "auto",
    *,
    threads: int = 1,
    registry: Registry | None = None,
) -> Alignment:
    """Return when each word of an utterance is said.

    An alignment that the utterance carries is returned as it is. Without a transcript, the
    recogniser is asked first, and the notes say so.

    Args:
        utterance: any rate.
        aligner: ``auto``, a name, or ``name:model``.
        threads: for the models.
        registry: whose plugins are asked; the process's registry by default.

    Raises:
        AlignmentError: if there are no words, or no aligner can place one.
    """
    known = utterance.alignment
    if known is not None and aligner == "auto":
        return known
    notes: list[str] = []
    if not (utterance.transcript or "").strip():
        heard = transcribe(utterance, threads=threads, registry=registry)
        notes.append(f"transcribed by {heard.recogniser}; give --text to correct it")
        language = utterance.language or heard.language
        utterance = utterance.replace(transcript=heard.text, language=language)
    text = utterance.transcript or ""
    places = split_words(text)
    if not places:
        raise AlignmentError("the recording holds no words to time")
    chosen = load_aligner(aligner, utterance.language, threads, registry)
    words = tuple(chosen.align(utterance, places))
    found = Alignment(text, words, chosen.name, notes=tuple(notes))
    unplaced = [word.text for word in words if word.confidence == 0.0]
    if unplaced and len(unplaced) < len(words):
        notes.append(f"not heard, placed between their neighbours: {', '.join(unplaced[:8])}")
    if found.confidence is not None and found.confidence < DOUBTFUL:
        notes.append(
            f"the words hardly fit the recording (confidence {found.confidence:.2f}): is it "
            "another recording's transcript?"
        )
    return dataclasses.replace(found, notes=tuple(notes))


def with_words(utterance: Utterance, *, threads: int = 1) -> tuple[Utterance, tuple[str, ...]]:
    """Return an utterance with transcript and alignment, and what a user should know of them.

    Raises:
        AlignmentError: as ``align`` does.
    """
    found = align(utterance, threads=threads)
    return utterance.replace(transcript=found.text, alignment=found), found.notes


def load_recogniser(
    spec: str = "auto",
    language: str | None = None,
    threads: int = 1,
    registry: Registry | None = None,
) -> Recogniser:
    """Return a loaded recogniser; loaded ones are kept.

    Raises:
        StepeditError: if the name is unknown, or nothing that is installed knows the language.
    """
    found = (registry or get_registry()).named("stepedit_recognisers", lambda kind: str(kind.name))
    kind, model = _choose(dict(found), spec, language, "recogniser")
    return cast(Recogniser, _load(cast(Hashable, kind), model, threads))


def recogniser_names(language: str | None, registry: Registry | None = None) -> list[str]:
    """Return the names of the recognisers that can hear a language here, the preferred first."""
    found = (registry or get_registry()).named("stepedit_recognisers", lambda kind: str(kind.name))
    ranked = sorted(found.values(), key=lambda kind: (kind.rank, kind.name))
    return [kind.name for kind in ranked if kind.knows(language) and kind.missing() is None]


def load_aligner(
    spec: str = "auto",
    language: str | None = None,
    threads: int = 1,
    registry: Registry | None = None,
) -> Aligner:
    """Return a loaded aligner; loaded ones are kept.

    Raises:
        StepeditError: if the name is unknown, or nothing that is installed knows the language.
    """
    found = (registry or get_registry()).named("stepedit_aligners", lambda kind: str(kind.name))
    kind, model = _choose(dict(found), spec, language, "aligner")
    return cast(Aligner, _load(cast(Hashable, kind), model, threads))


def aligner_names(registry: Registry | None = None) -> list[str]:
    """Return the names of the aligners that plugins bring."""
    found = (registry or get_registry()).named("stepedit_aligners", lambda kind: str(kind.name))
    return sorted(found)


def _choose(
    known: dict[str, type[Kind]], spec: str, language: str | None, what: str
) -> tuple[type[Kind], str | None]:
    """Return the class and the model that a spec names; raises StepeditError."""
    name, _, model = spec.partition(":")
    if name != "auto":
        if name not in known:
            hint = suggest(name, known) or f"; there are {', '.join(sorted(known)) or 'none'}"
            raise StepeditError(f"no {what} {name!r}{hint}")
        missing = known[name].missing()
        if missing:
            raise StepeditError(f"{what} {name}: {missing}")
        return known[name], model or None
    ranked = sorted(known.values(), key=lambda kind: (kind.rank, kind.name))
    fitting = [kind for kind in ranked if kind.knows(language)]
    for kind in fitting:
        if kind.missing() is None:
            return kind, None
    cures = "; ".join(dict.fromkeys(str(kind.missing()) for kind in fitting))
    raise StepeditError(
        f"no {what} for {language or 'this recording'}: {cures or 'no plugin brings one'}"
    )


@lru_cache(maxsize=4)
def _load(kind: Any, model: str | None, threads: int) -> Any:
    """Return a loaded recogniser or aligner."""
    return kind(model, threads=threads)
