"""Hear and time the words of an utterance by whatever recognisers and aligners are installed."""

from __future__ import annotations

import dataclasses
import difflib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, Generic, TypeVar, cast

from stepedit_core.alignment import (
    Aligner,
    Alignment,
    Ear,
    Listener,
    Recogniser,
    TimedWord,
    Transcription,
)
from stepedit_core.dsp.vad import speech_probabilities
from stepedit_core.dsp.words import heard_form, language_of_letters, split_words, word_error
from stepedit_core.errors import (
    AlignmentError,
    ForeignWordsError,
    MissingDependencyError,
    StepeditError,
    counted,
    suggest,
)
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.utterance import Utterance

__all__ = [
    "align",
    "aligner_names",
    "choose_aligner",
    "choose_listener",
    "choose_recogniser",
    "installed_ears",
    "load_aligner",
    "load_listener",
    "load_recogniser",
    "place_words",
    "recogniser_names",
    "transcribe",
    "with_words",
]

Kind = TypeVar("Kind", bound=Listener)
Answer = TypeVar("Answer")
_TRUSTED = 30
"""Highest rank of a recogniser whose word counts against another's."""
_AFTER_LATIN = "\u0250"
DOUBTFUL = 0.35
"""Mean confidence below which a transcript is said not to fit the recording."""
FEW_WORDS, DOUBTFUL_FEW = 2, 0.05
"""So few words are misheard as a whole now and then; they must fit far worse to be doubted."""
LEAST_HEARD, MOST_ERROR = 0.5, 0.85
"""Doubted words are another recording's where fewer of them are heard, with more word error. Any
two sentences share small words, and a transcript may leave much of what is said out."""
_LEAST_SPEECH = 0.2
"""Probability below which a frame is no speech, not even a whisper."""
_NAMED_ONLY = 100
"""Rank from which ``auto`` takes nobody."""
KEPT = 64
"""How many answers of recognisers and of aligners are kept, without the sound."""


class _Recent(Generic[Answer]):
    """The latest answers of models that answer the same whenever they are asked the same.

    An edit is planned and then carried out, and both times it may ask when the words are said.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, Answer] = OrderedDict()
        self._lock = Lock()

    def get(self, model: Hashable, utterance: Utterance, ask: Callable[[], Answer]) -> Answer:
        """Return what ``ask`` returned for this model and utterance, or ask now."""
        key = (model, utterance.digest, utterance.transcript, utterance.language)
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
        answer = ask()
        with self._lock:
            self._answers[key] = answer
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)
        return answer


_HEARD: _Recent[Transcription] = _Recent()
_TIMED: _Recent[tuple[TimedWord, ...]] = _Recent()


def transcribe(
    utterance: Utterance,
    recogniser: str = "auto",
    *,
    threads: int = 1,
    registry: Registry | None = None,
) -> Transcription:
    """Return what a recogniser hears; nothing where there is no speech.

    Recognisers are made to hear words, and hear them in silence and music, too. Silero VAD is asked
    first, where it is installed.

    Args:
        utterance: any rate; its language, where given, is what is listened for.
        recogniser: ``auto``, a name, or ``name:model``.
        threads: for the recogniser.
        registry: whose plugins are asked; the process's registry by default.

    Raises:
        StepeditError: if no recogniser is installed or knows the language.
    """
    if not _may_hold_speech(utterance):
        kind, model = choose_recogniser(recogniser, utterance.language, registry)
        return Transcription("", utterance.language, kind.title(model))
    chosen = load_recogniser(recogniser, utterance.language, threads, registry)
    return _HEARD.get(chosen, utterance, lambda: chosen.transcribe(utterance))


def _may_hold_speech(utterance: Utterance) -> bool:
    """Say whether any frame of 32 ms may be speech."""
    try:
        found = speech_probabilities(utterance)
    except MissingDependencyError:
        return True
    return bool(len(found)) and float(found.max()) >= _LEAST_SPEECH


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
        choose_aligner(aligner, utterance.language, registry)  # hearing takes long
        heard = transcribe(utterance, threads=threads, registry=registry)
        notes.append(f"transcribed by {heard.recogniser}; give --text to correct it")
        language = utterance.language or heard.language
        utterance = utterance.replace(transcript=heard.text, language=language)
    text = utterance.transcript or ""
    places = split_words(text)
    if not places:
        why = "no words are heard in the recording" if notes else "the text holds no words"
        raise AlignmentError(f"{why}, so that none can be timed")
    # Nobody named the language: letters tell at least that it is not one of Latin letters.
    language = utterance.language or language_of_letters(text)
    chosen = load_aligner(aligner, language, threads, registry)
    words = _TIMED.get(chosen, utterance, lambda: tuple(chosen.align(utterance, places)))
    found = Alignment(text, words, chosen.name, notes=tuple(notes))
    if chosen.is_coarse:
        why = ": no installed aligner knows the words of this language" if aligner == "auto" else ""
        notes.append(f"times by {chosen.name!r} are guesses, some tenths of a second off{why}")
    unplaced = [word.text for word in words if word.confidence == 0.0]
    if unplaced and len(unplaced) < len(words):
        notes.append(f"not heard, placed between their neighbours: {', '.join(unplaced[:8])}")
    if found.confidence is not None and found.confidence < DOUBTFUL:
        notes.append(
            f"the words hardly fit the recording (confidence {found.confidence:.2f}): is it "
            "another recording's transcript?"
        )
    return dataclasses.replace(found, notes=tuple(notes))


def place_words(
    utterance: Utterance, *, threads: int = 1, registry: Registry | None = None
) -> Alignment:
    """Return when each word is said, for an edit that acts at the place of some.

    As ``align``, but words that hardly fit are compared with what a recogniser hears: nothing is
    cut, hidden or put in at a place that an aligner had to make up. Where no recogniser is
    installed, and where the alignment has no confidences, it is returned as it is.

    Raises:
        AlignmentError: as ``align`` does.
        ForeignWordsError: if the words are not those of the recording.
    """
    found = align(utterance, threads=threads, registry=registry)
    sure = found.confidence
    doubtful = DOUBTFUL if len(found.words) > FEW_WORDS else DOUBTFUL_FEW
    if sure is None or sure >= doubtful:
        return found
    try:
        unsaid = utterance.replace(transcript=None)  # one answer serves every text that is tried
        heard = transcribe(unsaid, threads=threads, registry=registry)
    except StepeditError:
        return found
    ours, theirs = (
        [heard_form(word.text) for word in split_words(text)] for text in (found.text, heard.text)
    )
    matches = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    shared = sum(match.size for match in matches)
    if shared < LEAST_HEARD * len(ours) and word_error(found.text, heard.text) > MOST_ERROR:
        # The words themselves may be private.
        raise ForeignWordsError(
            f"the transcript is not that of the recording (confidence {sure:.2f}, "
            f"{shared} of {counted(len(ours), 'word')} heard by "
            f"{heard.recogniser}), so that no word has a "
            "place in it; give the words that are said, or none to have them heard"
        )
    return found


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
    kind, model = choose_recogniser(spec, language, registry)
    return cast(Recogniser, load_listener(cast(Hashable, kind), model, threads))


def choose_recogniser(
    spec: str = "auto", language: str | None = None, registry: Registry | None = None
) -> tuple[type[Recogniser], str | None]:
    """Return the class and the model that ``load_recogniser`` would load; raises as it does."""
    found = (registry or get_registry()).named("stepedit_recognisers", lambda kind: str(kind.name))
    known = cast(dict[str, type[Recogniser]], dict(found))
    return choose_listener(known, spec, language, "recogniser")


def installed_ears(
    utterance: Utterance, most: int = 2, *, registry: Registry | None = None
) -> tuple[Ear, ...]:
    """Return up to so many recognisers that are installed for an utterance, to be asked in order.

    They are the default one and the next, the lesser first: it mishears more and costs less.
    Those of a low place (PocketSphinx) or over a network (endpoints) are left out. Words in other
    than Latin letters, of a language that nobody named, are left to the default one. Models are
    loaded when they first hear something.
    """
    letters = [letter for letter in utterance.transcript or "" if letter.isalpha()]
    is_foreign = utterance.language is None and any(x >= _AFTER_LATIN for x in letters)
    language = None if is_foreign else utterance.language or "en"
    trusted = [kind for kind in _recognisers(language, registry) if kind.rank <= _TRUSTED]
    ranked = trusted[: 1 if is_foreign else most]
    return tuple(_RecogniserEar(kind, language) for kind in reversed(ranked))


@dataclass(frozen=True)
class _RecogniserEar:
    """What a recogniser hears, of speech in one language."""

    kind: Any
    language: str | None

    def __call__(self, utterance: Utterance) -> str:
        """Return the words."""
        recogniser = cast(Recogniser, load_listener(cast(Hashable, self.kind), None, 1))
        return recogniser.transcribe(utterance.replace(language=self.language)).text


def recogniser_names(language: str | None, registry: Registry | None = None) -> list[str]:
    """Return the names of the recognisers that can hear a language here, the preferred first."""
    return [kind.name for kind in _recognisers(language, registry) if kind.rank < _NAMED_ONLY]


def _recognisers(language: str | None, registry: Registry | None) -> list[type[Recogniser]]:
    """Return the recognisers that are installed for a language, the preferred first."""
    found = (registry or get_registry()).named("stepedit_recognisers", lambda kind: str(kind.name))
    known = cast(dict[str, type[Recogniser]], dict(found)).values()
    fitting = [kind for kind in known if kind.knows(language) and kind.missing() is None]
    return sorted(fitting, key=lambda kind: (kind.rank, kind.name))


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
    kind, model = choose_aligner(spec, language, registry)
    return cast(Aligner, load_listener(cast(Hashable, kind), model, threads))


def choose_aligner(
    spec: str = "auto", language: str | None = None, registry: Registry | None = None
) -> tuple[type[Aligner], str | None]:
    """Return the class and the model that ``load_aligner`` would load; raises as it does."""
    found = (registry or get_registry()).named("stepedit_aligners", lambda kind: str(kind.name))
    known = cast(dict[str, type[Aligner]], dict(found))
    return choose_listener(known, spec, language, "aligner")


def aligner_names(registry: Registry | None = None) -> list[str]:
    """Return the names of the aligners that plugins bring."""
    found = (registry or get_registry()).named("stepedit_aligners", lambda kind: str(kind.name))
    return sorted(found)


def choose_listener(
    known: dict[str, type[Kind]], spec: str, language: str | None, what: str
) -> tuple[type[Kind], str | None]:
    """Return the class and the model that a spec names.

    Args:
        known: classes by name.
        spec: ``auto``, a name, or ``name:model``.
        language: BCP 47 tag, or None.
        what: the kind, for messages.

    Raises:
        StepeditError: if the name is unknown, or nothing that is installed knows the language.
    """
    name, _, model = spec.partition(":")
    if name != "auto":
        if name not in known:
            hint = suggest(name, known) or f"; there are {', '.join(sorted(known)) or 'none'}"
            raise StepeditError(f"no {what} {name!r}{hint}")
        missing = known[name].missing()
        if missing:
            raise StepeditError(f"{what} {name}: {missing}")
        return known[name], model or None
    able = [kind for kind in known.values() if kind.rank < _NAMED_ONLY]
    ranked = sorted(able, key=lambda kind: (kind.rank, kind.name))
    fitting = [kind for kind in ranked if kind.knows(language)]
    for kind in fitting:
        if kind.missing() is None:
            return kind, None
    cures = "; ".join(dict.fromkeys(str(kind.missing()) for kind in fitting))
    raise StepeditError(
        f"no {what} for {language or 'this recording'}: {cures or 'no plugin brings one'}"
    )


def load_listener(kind: Any, model: str | None, threads: int) -> Any:
    """Return a loaded recogniser, aligner or diariser; loaded ones are kept.

    A plugin may have it loaded elsewhere (``stepedit_load_listener``).
    """
    hook = get_registry().hook.stepedit_load_listener
    found = hook(kind=kind, model=model, threads=threads)
    return _loaded(kind, model, threads) if found is None else found


@lru_cache(maxsize=4)
def _loaded(kind: Any, model: str | None, threads: int) -> Any:
    return kind(model, threads=threads)
