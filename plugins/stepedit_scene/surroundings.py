"""Backgrounds by name, from a file or synthesised, and rooms, measured or simulated."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import StepeditError, Utterance, packaged_speech
from stepedit_core.dsp import noises, rooms

__all__ = [
    "BACKGROUNDS",
    "ROOMS",
    "background_sound",
    "is_file",
    "read_file",
    "room_response",
    "surrounded",
]

FloatArray = npt.NDArray[np.float64]

BACKGROUNDS = ("rain", "street", "hum", "babble", "white")
"""Backgrounds that are synthesised; babble is four of the packaged voices at once."""
ROOMS: dict[str, rooms.Room] = {
    "small": rooms.Room((3.6, 3.0, 2.5), 0.4, 1.2),
    "large": rooms.Room((9.0, 7.0, 3.2), 0.8, 2.5),
    "hall": rooms.Room((24.0, 16.0, 9.0), 1.8, 5.0),
}
"""Rooms that are simulated: size in m, reverberation time in s, distance in m."""
_VOICES = ("garden", "office", "romance", "books", "doctor", "wind", "hardware", "doubt")
_BABBLERS = 4
_HIGHEST_RATE = 48_000
_LONGEST_SECONDS, _LONGEST_RESPONSE = 600.0, 20.0


def surrounded(
    utterance: Utterance,
    background: str | None,
    ratio_db: float,
    room: str | None,
    rng: np.random.Generator,
) -> tuple[Utterance, dict[str, Any]]:
    """Return speech in a room and before a background, and what was done.

    Args:
        utterance: any rate and length.
        background: a name or a file; None for none.
        ratio_db: speech in the room over background, 50 Hz to 4 kHz, whole length.
        room: a name or a file with an impulse response; None for the recording's own.
        rng: draws the background.

    Raises:
        StepeditError: if speech or background is silent, or a file cannot be used.
        MissingDependencyError: if a named room needs pyroomacoustics.
    """
    details: dict[str, Any] = {"backend": "mixing", "room": room, "background": background}
    made = utterance
    if room is not None:
        response = room_response(room, utterance.sample_rate)
        made = rooms.reverberate(utterance, response)
        details["rt60"] = round(rooms.measure_rt60(response, utterance.sample_rate), 3)
    if background is not None:
        sound = background_sound(background, len(made.samples), made.sample_rate, rng)
        made, speech, measured = noises.mix(made, sound, ratio_db, noises.SPEECH_BAND)
        details["snr_db"] = round(measured, 3)
        details["scaled"] = round(_scale(speech, utterance), 4)
    return made, details


def room_response(room: str, rate: int) -> FloatArray:
    """Return the impulse response of a room, by name or from a file, at a rate in Hz.

    Raises:
        StepeditError: if the file cannot be read, or is no impulse response.
        MissingDependencyError: if a named room needs pyroomacoustics.
    """
    if room in ROOMS:
        working = min(rate, _HIGHEST_RATE)
        response = rooms.named_room(ROOMS[room], working)
        if working == rate:
            return response
        heard = Utterance(response.astype(np.float32), working)
    else:
        heard = read_file(room)
        if heard.seconds > _LONGEST_RESPONSE:
            raise StepeditError(
                f"{room}: lasts {heard.seconds:.0f} s; an impulse response of a room has at most "
                f"{_LONGEST_RESPONSE:g} s"
            )
    return heard.resample(rate).samples.astype(np.float64)


def background_sound(
    background: str, length: int, rate: int, rng: np.random.Generator
) -> FloatArray:
    """Return so many samples of a background, by name or from a file, of any scale.

    Raises:
        StepeditError: if the file cannot be read.
    """
    if background == "babble":
        chosen = rng.choice(_VOICES, _BABBLERS, replace=False)
        voices = [packaged_speech(str(name)) for name in chosen]
        return noises.babble(voices, length, rate, rng)
    if background in BACKGROUNDS:
        return noises.synthesise(background, length, rate, rng)
    heard = read_file(background).resample(rate).samples.astype(np.float64)
    return noises.tile(heard, length, rng)


def is_file(name: str) -> bool:
    """Return whether a name is a file: it has a folder or the suffix of a file in it."""
    return bool(Path(name).suffix) or any(mark in name for mark in "/\\:")


def read_file(path: str) -> Utterance:
    """Read a recording; one that has not changed is read once.

    Raises:
        StepeditError: if it cannot be read, is empty, silent, or lasts more than ten minutes.
    """
    try:
        changed = os.stat(path).st_mtime_ns
    except OSError as error:
        raise StepeditError(f"{path}: {error.strerror or error}; give a recording") from error
    return _read_once(path, changed)


@lru_cache(maxsize=8)
def _read_once(path: str, changed: int) -> Utterance:
    """Read a recording in the state of a time of change."""
    heard = Utterance.read(path)
    if not heard.samples.any():
        raise StepeditError(f"{path}: is silent; give a recording with sound in it")
    if heard.seconds > _LONGEST_SECONDS:
        raise StepeditError(
            f"{path}: lasts {heard.seconds:.0f} s; a background has at most {_LONGEST_SECONDS:g} s"
        )
    return heard


def _scale(speech: Utterance, source: Utterance) -> float:
    """Return by which factor the speech was scaled so that the mixture does not clip."""
    powers = [float(np.mean(np.square(x.samples, dtype=np.float64))) for x in (speech, source)]
    return float(np.sqrt(powers[0] / powers[1])) if powers[1] > 0 else 1.0
