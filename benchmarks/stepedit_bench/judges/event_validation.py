"""Compare the judge ``events`` with a folder of recorded sounds whose kinds a person told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_bench.judges.event_data import RATE, Sound, insert, read_samples
from stepedit_bench.judges.event_ear import EarName, find_ear
from stepedit_bench.judges.event_trials import BREATHS, SOUNDS, Trial, measure_trials
from stepedit_bench.judges.events import EVENTS, OTHER, load_classifier
from stepedit_core.errors import StepeditError
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.utterance import Utterance

__all__ = ["validate_events"]

_AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3")


def validate_events(
    folder: Path,
    kinds: Mapping[str, str],
    *,
    ear: EarName = "auto",
    count: int = 40,
    seed: int = 0,
    on_sound: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Put recorded sounds between the words of packaged speech, and count what they are heard as.

    Args:
        folder: with a folder of recordings for each label.
        kinds: label to one of ``EVENTS``, or to ``other``.
        ear: what the judge hears with.
        count: recordings of each label at most, drawn by the seed.
        seed: of recordings, speech, places and levels.
        on_sound: told of every recording's label.

    Returns:
        Label to what ``measure_trials`` counts.

    Raises:
        StepeditError: if a kind is unknown, or a label has no recordings.
    """
    hear = find_ear(ear)
    model = load_classifier(hear is not None)
    found = {}
    for label, kind in kinds.items():
        if kind not in (*EVENTS, OTHER):
            told = f"{label}={kind}: no such kind" if kind else f"{label}: name its kind after ="
            raise StepeditError(f"{told}; there is {', '.join((*EVENTS, OTHER))}")
        rng = np.random.default_rng([seed, *label.encode()])
        tried = []
        for trial in _trials(_recordings(folder, label), kind, count, rng):
            on_sound(label)
            tried.append(trial)
        counted = measure_trials(tried, model, model.card["thresholds"], hear)
        found[label] = counted["heard_as"][kind]
    return found


def _recordings(folder: Path, label: str) -> list[Path]:
    """Return the recordings of a label; raises StepeditError where there are none."""
    own = sorted(path for path in (folder / label).glob("*") if path.suffix in _AUDIO)
    if not own:
        raise StepeditError(f"{folder / label}: no recordings")
    return own


def _trials(
    paths: Sequence[Path], kind: str, count: int, rng: np.random.Generator
) -> Iterator[Trial]:
    """Yield speech with each of some recordings between its words."""
    names = list(packaged())
    for place in rng.permutation(len(paths))[:count]:
        said = packaged_speech(names[int(rng.integers(len(names)))])
        samples = said.resample(RATE).samples.astype(np.float64)
        sound = Sound(paths[int(place)], kind, kind, "", True, "", "")
        below = BREATHS if kind == "breath" else SOUNDS
        whole, span = insert(samples, read_samples(sound), rng, below)
        loudest = np.abs(whole).max()
        touched, plain = (
            Utterance((0.5 * part / loudest).astype(np.float32), RATE) for part in (whole, samples)
        )
        yield Trial(touched, kind, span, plain)
