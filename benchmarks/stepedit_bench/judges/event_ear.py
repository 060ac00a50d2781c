"""What the judge ``events`` hears with: hand-made features, and Whisper's encoder where installed.

Encoder states of Whisper tell sounds that are no speech (Gong et al. 2023, Interspeech,
"Whisper-AT"), though it was never taught them by name. The weights are those of the recogniser
``whisper`` (Whisper base, int8).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from stepedit_bench.judges.features import FRAME_STEP, window_features
from stepedit_core.errors import StepeditError
from stepedit_core.recording.hearing import choose_recogniser, load_recogniser
from stepedit_core.utterance import Utterance

__all__ = ["HOP", "WINDOW", "Ear", "EarName", "ear_title", "find_ear", "rows_of", "starts_of"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
Ear: TypeAlias = Callable[[Utterance], npt.NDArray[np.float32]]
"""Returns encoder states, shape ``(frames, width)``, evenly spaced."""
EarName = Literal["auto", "whisper", "none"]

WINDOW, HOP = 0.6, 0.1
"""Seconds that are heard at once, and between the starts of windows."""
_RECOGNISER = "whisper"


@cache
def find_ear(name: EarName = "auto") -> Ear | None:
    """Return Whisper's encoder, or None where it is not wanted or not installed.

    Raises:
        StepeditError: if ``whisper`` is asked for and not installed.
    """
    if name == "none" or (name == "auto" and ear_title() is None):
        return None
    recogniser = load_recogniser(_RECOGNISER, "en", 1)

    def hear(utterance: Utterance) -> npt.NDArray[np.float32]:
        states = recogniser.encoder_states(utterance)
        if states is None:
            raise StepeditError(f"the recogniser {_RECOGNISER} shows no encoder states")
        return states

    return hear


def ear_title() -> str | None:
    """Return the title of the encoder that is installed, or None; loads nothing."""
    try:
        kind, model = choose_recogniser(_RECOGNISER, "en")
    except StepeditError:
        return None
    return None if kind.missing() else kind.title(model)


def starts_of(frames: FloatArray) -> npt.NDArray[np.intp]:
    """Return where windows start among the frames of an utterance, shape ``(n,)``, n at least 1."""
    size, hop = round(WINDOW / FRAME_STEP), round(HOP / FRAME_STEP)
    return np.arange(0, max(1, len(frames) - size + 1), hop)


def rows_of(
    frames: FloatArray,
    starts: npt.NDArray[np.intp],
    utterance: Utterance,
    ear: Ear | None = None,
) -> FloatArray:
    """Return the features of windows, shape ``(n, width)``.

    Args:
        frames: ``frame_features`` of the utterance.
        starts: of the windows, indices of frames.
        utterance: any rate and length.
        ear: adds means and deviations of its states within the window.
    """
    size = round(WINDOW / FRAME_STEP)
    rows = np.array([window_features(frames[start : start + size]) for start in starts])
    if ear is None:
        return rows
    states = ear(utterance)
    step = utterance.seconds / len(states) / FRAME_STEP
    shapes = []
    for start in starts:
        first = min(round(start / step), len(states) - 1)
        inside = states[first : max(first + 1, round((start + size) / step))].astype(np.float64)
        shapes.append(np.concatenate([inside.mean(axis=0), inside.std(axis=0)]))
    return np.concatenate([rows, np.array(shapes)], axis=1)
