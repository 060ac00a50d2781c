"""Scorer of the scene edit: the background at its ratio, of its kind, and the room."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    Case,
    Measures,
    Prepared,
    Score,
    Scorer,
    StepeditError,
    Utterance,
    words_kept,
)
from stepedit_core.dsp import noises
from stepedit_core.dsp.noises import SPEECH_BAND
from stepedit_core.dsp.rooms import reverberate
from stepedit_scene.edit import Scene
from stepedit_scene.surroundings import background_sound, is_file, room_response

__all__ = ["SceneScorer", "added", "colour_difference"]

FloatArray = npt.NDArray[np.float64]

SNR_TOLERANCE_DB = 0.5
MAX_COLOUR_DB = {"babble": 4.0, "hum": 4.0, "file": 5.0}
OTHER_MAX_COLOUR_DB = 2.0
"""Mean difference of third octaves to the nearest of six others of its kind. At 2 and 6 s, 8 and 24
kHz, eight of a kind come within 0.7 dB (rain, street, white), 1.9 (hum) or 2.3 (babble) of one;
other kinds differ by 2.3 and more (rain and white), from babble by 5.4, from hum by 5.6."""
_OTHERS, _IDEALS = 6, 3
MIN_SPEECH, MIN_ROOM = 0.5, 0.5
"""Least share of power that the speech explains, and of the room's own change that it explains."""
MIN_VOICE = 0.7
"""Least cosine of speaker embeddings with the ideal scene."""
_SAME_SECONDS = 0.005
_LEAST_CHANGE_DB = -40.0
_BANDS = tuple(1000.0 * 2 ** (step / 3) for step in range(-10, 7))


class SceneScorer(Scorer):
    """Take the speech out of the output and measure what is left.

    The speech, in the room that was asked for, is fitted to the output by one gain between 50 Hz
    and 4 kHz; the rest is the background. Reached: the ratio within 0.5 dB; third octaves of the
    background near those of others of its kind; an output that the speech in the room explains
    better than the dry one (half of the difference between them, at least); the same duration; the
    words and the voice of the ideal scene.

    A room and a background change what a recogniser hears and how a voice is embedded (0.68 of
    cosine between a dry recording and itself in a small room), so the general checks of words and
    voice, which count against the dry recording, are waived. Both are asked here instead, against
    the same speech in the same room before another background of the kind.
    """

    version: ClassVar[int] = 2
    expects_same_duration: ClassVar[bool] = True

    def waives(self, case: Case) -> frozenset[str]:
        """Leave out what counts against the dry recording; words and voice are the score's."""
        return frozenset({"loudness", "level", "quality", "words", "speaker"})

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure the ratio, the background's spectrum and the room."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, Scene):
            return Score.failed(f"the scene scorer was given the edit {edit.name}")
        rate, size = source.sample_rate, len(source.samples)
        if not source.samples.any():
            return Score.failed("the input is silent")
        try:
            wet = _in_room(edit, source)
            kinds = _of_kind(edit, size, rate)
        except StepeditError as error:
            return Score.failed(str(error))
        heard = output.resample(rate).samples.astype(np.float64)
        same = abs(len(heard) - size) <= _SAME_SECONDS * rate
        heard = np.pad(heard, (0, max(0, size - len(heard))))[:size]
        dry = source.samples.astype(np.float64)
        explained, snr, rest = added(wet, heard, rate)
        values: dict[str, float | None] = {"speech_share": explained, "snr_db": snr}
        reached = same
        if edit.background is not None:
            found = [colour_difference(rest, kind, rate) for kind in kinds]
            colour = min((one for one in found if one is not None), default=None)
            allowed = "file" if is_file(edit.background) else edit.background
            values |= {"snr_error": snr - edit.ratio_db, "colour_difference_db": colour}
            reached = reached and abs(snr - edit.ratio_db) <= SNR_TOLERANCE_DB
            reached = (
                reached
                and colour is not None
                and colour <= MAX_COLOUR_DB.get(allowed, OTHER_MAX_COLOUR_DB)
            )
        else:
            reached = reached and explained >= MIN_SPEECH
        if edit.room is not None:
            values["room_share"] = room = _room_share(dry, wet, heard, rate)
            reached = reached and room is not None and room >= MIN_ROOM
        if not reached:
            return Score(False, values)
        kept, more = _kept(_ideals(edit, source, wet, kinds), output, measures)
        return Score(kept, values | more)


def _kept(
    ideals: list[Utterance], output: Utterance, measures: Measures
) -> tuple[bool, dict[str, float | None]]:
    """Return whether words and voice are those of an ideal scene, and what was measured."""
    values: dict[str, float | None] = {}
    said: bool | None = None
    for ideal in ideals:
        said, values["word_error"] = words_kept(measures, ideal, output)
        if said is not False:
            break
    try:
        values["voice"] = alike = float(measures.speaker_similarity(ideals[0], output))
    except StepeditError:  # nobody measures voices here
        return said is not False, values
    return said is not False and alike >= MIN_VOICE, values


def _ideals(
    edit: Scene, source: Utterance, wet: FloatArray, kinds: list[FloatArray]
) -> list[Utterance]:
    """Return the speech in its room before other backgrounds of the kind that is asked for.

    What is heard before a background depends on its draw, so that there are a few of them.
    """
    made = source.replace(samples=wet.astype(np.float32))
    heard = [kind for kind in kinds[:_IDEALS] if kind.any()]
    return [noises.mix(made, kind, edit.ratio_db, SPEECH_BAND)[0] for kind in heard] or [made]


def added(speech: FloatArray, heard: FloatArray, rate: int) -> tuple[float, float, FloatArray]:
    """Fit speech to what is heard by one gain, and say what is left.

    Args:
        speech: shape ``(n,)``.
        heard: as many samples.
        rate: in Hz.

    Returns:
        The share of power that the speech explains, 0..1; its ratio to the rest in dB, both in the
        speech band; and the rest, over all frequencies.
    """
    hertz = np.fft.rfftfreq(len(speech), 1 / rate)
    inside = (hertz >= SPEECH_BAND[0]) & (hertz <= SPEECH_BAND[1])
    first, second = (np.fft.rfft(part)[inside] for part in (speech, heard))
    own = float(np.sum(np.abs(first) ** 2))
    total = float(np.sum(np.abs(second) ** 2))
    if own <= 0 or total <= 0:
        return 0.0, -100.0, heard
    gain = max(0.0, float(np.sum(first.conj() * second).real) / own)
    kept = gain**2 * own
    left = float(np.sum(np.abs(second - gain * first) ** 2))
    ratio = 10 * float(np.log10(max(kept, 1e-20) / max(left, 1e-20)))
    return min(1.0, kept / total), float(np.clip(ratio, -100, 100)), heard - gain * speech


def _in_room(edit: Scene, source: Utterance) -> FloatArray:
    """Return the speech in the room that is asked for."""
    if edit.room is None:
        return source.samples.astype(np.float64)
    made = reverberate(source, room_response(edit.room, source.sample_rate))
    return made.samples.astype(np.float64)


def _of_kind(edit: Scene, size: int, rate: int) -> list[FloatArray]:
    """Return other backgrounds of the kind that is asked for."""
    if edit.background is None:
        return []
    return [
        background_sound(edit.background, size, rate, np.random.default_rng([8_675_309, index]))
        for index in range(_OTHERS)
    ]


def colour_difference(one: FloatArray, other: FloatArray, rate: int) -> float | None:
    """Return the mean absolute difference of two spectra in third octaves, levels apart, in dB.

    None where either is silent.
    """
    first, second = (_third_octaves(sound, rate) for sound in (one, other))
    if first is None or second is None:
        return None
    difference = first - second
    return float(np.mean(np.abs(difference - np.median(difference))))


def _third_octaves(sound: FloatArray, rate: int) -> FloatArray | None:
    """Return levels of third octaves, 100 Hz to 4 kHz, in dB, held to 40 dB below the loudest."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / rate)
    sums = [
        float(power[(hertz >= c * 2 ** (-1 / 6)) & (hertz < c * 2 ** (1 / 6))].sum())
        for c in _BANDS
        if c * 2 ** (1 / 6) <= rate / 2
    ]
    levels = np.array(sums)
    if not len(levels) or levels.max() <= 1e-12:
        return None
    return np.asarray(10 * np.log10(np.maximum(levels, levels.max() * 1e-4)))


def _room_share(dry: FloatArray, wet: FloatArray, heard: FloatArray, rate: int) -> float | None:
    """Return how far the output lies from dry speech towards speech in the room; 1 is there.

    None where the room changes the speech by less than -40 dB.
    """
    hertz = np.fft.rfftfreq(len(dry), 1 / rate)
    inside = (hertz >= SPEECH_BAND[0]) & (hertz <= SPEECH_BAND[1])
    old, new, out = (np.fft.rfft(part)[inside] for part in (dry, wet, heard))
    own = float(np.sum(np.abs(old) ** 2))
    if own <= 0:
        return None
    # What the room adds is the part of the wet speech that no gain of the dry one explains.
    tail = new - old * (np.sum(old.conj() * new) / own)
    power = float(np.sum(np.abs(tail) ** 2))
    if power <= own * 10 ** (_LEAST_CHANGE_DB / 10):
        return None
    direct = abs(np.sum(old.conj() * out)) / own
    wanted = abs(np.sum(old.conj() * new)) / own
    found = float(np.sum(tail.conj() * out).real) / power
    return float(found * wanted / max(direct, 1e-9)) if wanted > 0 else found
