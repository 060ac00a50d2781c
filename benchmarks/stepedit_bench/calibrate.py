"""Calibrate the measurements: their own errors on clean recordings of known words and voices.

A benchmark figure means little without the error of its own instrument: the recogniser mishears
clean speech too, and two recordings of one voice are not alike. ``stepedit bench calibrate``
measures both, on the packaged recordings or on a corpus.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_bench.measuring import StandardMeasures
from stepedit_bench.measuring.text_error import pooled_error
from stepedit_bench.preservation import Thresholds
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.registry.corpora import find_reader
from stepedit_core.scoring import Interval
from stepedit_core.utterance import Utterance

__all__ = ["Calibration", "Recording", "calibrate", "corpus_recordings", "packaged_recordings"]


@dataclass(frozen=True)
class Recording:
    """A recording of known words."""

    speech: Utterance
    speaker: str | None


@dataclass(frozen=True)
class Calibration:
    """The instruments' own errors.

    Attributes:
        recogniser: its name.
        recordings: how many were heard.
        unit: ``word`` or ``character``.
        length: words or characters in all.
        error: pooled error rate with a bootstrap interval over recordings.
        beyond_slack: share of recordings whose own errors exceed what preservation accepts.
        same_voice: similarity of two recordings of one speaker: 5 %, median, 95 %; or None.
        other_voice: the same for two speakers.
        voice_errors: share of pairs on the wrong side of preservation's limit, same and other.
        dnsmos: mean DNSMOS OVRL.
    """

    recogniser: str
    recordings: int
    unit: str
    length: int
    error: Interval
    beyond_slack: float
    same_voice: tuple[float, float, float] | None
    other_voice: tuple[float, float, float] | None
    voice_errors: tuple[float | None, float | None]
    dnsmos: float

    def to_data(self) -> dict[str, Any]:
        """Return the figures as JSON data."""
        return asdict(self)


def packaged_recordings() -> list[Recording]:
    """Return the recordings that ship with the package."""
    return [Recording(packaged_speech(name), row.speaker) for name, row in packaged().items()]


def corpus_recordings(path: str | os.PathLike[str], limit: int, seed: int) -> list[Recording]:
    """Return recordings of a corpus whose words are known, drawn by the seed.

    Raises:
        StepeditError: if no installed reader knows the corpus, or it has no transcripts.
    """
    recorded = find_reader(path).items(Path(path))
    items = [item for item in recorded if (item.transcript or "").strip()]
    if not items:
        raise StepeditError(f"{path}: no recording has a transcript")
    order = np.random.default_rng(seed).permutation(len(items))[:limit]
    found: list[Recording] = []
    for place in sorted(order):
        try:
            found.append(Recording(items[place].read(), items[place].speaker))
        except AudioError:
            continue
    return found


def calibrate(
    recordings: Sequence[Recording], measures: StandardMeasures, seed: int = 0
) -> Calibration:
    """Measure the recogniser's error, the spread of voices and the mean quality.

    Args:
        recordings: clean speech whose words are known, all in languages that the recogniser
            knows and that are counted in the same unit.
        measures: the backends.
        seed: of the bootstrap and of the pairs of voices.

    Raises:
        StepeditError: if a recording cannot be measured, or units differ.
    """
    if not recordings:
        raise StepeditError("nothing to calibrate on")
    rng = np.random.default_rng(seed)
    limits = Thresholds()
    found = [measures.text_errors(str(r.speech.transcript), r.speech) for r in recordings]
    units = {item.unit for item in found}
    if len(units) > 1:
        raise StepeditError(f"recordings are counted in {' and '.join(sorted(units))}; give one")
    error = pooled_error(found, rng)
    same, other = _voices(recordings, measures, rng)
    return Calibration(
        recogniser=measures.heard_by(recordings[0].speech.language),
        recordings=len(found),
        unit=units.pop(),
        length=sum(item.length for item in found),
        error=error,
        beyond_slack=float(
            np.mean([e.errors > limits.extra_errors(e.length, e.unit) for e in found])
        ),
        same_voice=_spread(same),
        other_voice=_spread(other),
        voice_errors=(
            float(np.mean(np.array(same) < limits.speaker)) if same else None,
            float(np.mean(np.array(other) >= limits.speaker)) if other else None,
        ),
        dnsmos=float(np.mean([measures.dnsmos(r.speech)["ovrl"] for r in recordings])),
    )


def _voices(
    recordings: Sequence[Recording], measures: StandardMeasures, rng: np.random.Generator
) -> tuple[list[float], list[float]]:
    """Return similarities of pairs of one speaker and of two, each at most 200."""
    known = [r for r in recordings if r.speaker]
    pairs = [(a, b) for i, a in enumerate(known) for b in known[i + 1 :]]
    found: dict[bool, list[float]] = {True: [], False: []}
    for place in rng.permutation(len(pairs)):
        first, second = pairs[place]
        kind = found[first.speaker == second.speaker]
        if len(kind) < 200:
            kind.append(measures.speaker_similarity(first.speech, second.speech))
    return found[True], found[False]


def _spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    if not values:
        return None
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)
