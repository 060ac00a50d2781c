"""Scorers of the way back: speech without its room, a voice without what is behind it."""

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
    packaged_speech,
    words_kept,
)
from stepedit_core.dsp import noises, quality, rooms
from stepedit_scene.removal import Separate
from stepedit_scene.scorer import colour_difference
from stepedit_scene.surroundings import (
    BACKGROUNDS,
    background_sound,
    is_file,
    room_response,
)

__all__ = ["DereverbScorer", "SeparateScorer", "envelope_distance"]

FloatArray = npt.NDArray[np.float64]

MIN_NEARER = 0.15
"""Least share of the distance to the dry recording that is gone, in all frames and in those with
speech: a gate that silences pauses leaves the second as it is."""
MAX_DIRECT_DB = 1.5
"""How much farther the loud parts may be from the dry ones than they were."""
_LEAST_DISTANCE_DB = 3.0
MIN_VOICE_GAIN_DB, MIN_BACKGROUND_GAIN_DB = 2.0, 3.0
"""Least gain in SI-SDR against the part that was asked for."""
MAX_BAND_LOSS_DB, MAX_COLOUR_DB = 15.0, 6.0
_RATE, _FRAME, _HOP = 16_000, 512, 256
_FLOOR_DB, _DIRECT_DB, _SPEECH_DB = -40.0, -12.0, -20.0
_BANDS = tuple(1000.0 * 2 ** (step / 3) for step in range(-7, 9))


class DereverbScorer(Scorer):
    """Put dry speech into a room before the edit, and ask how near the output is to the dry one.

    The distance is that of band levels, frame by frame: reverberation fills what is soft in the
    dry recording, and what damages speech empties what is loud. It needs no waveform, so that a
    system which speaks anew can reach it. Reached: 15 % of the distance are gone, over all frames
    and over those with speech; loud parts are no farther away than 1.5 dB more; the words.
    """

    version: ClassVar[int] = 1
    expects_same_duration: ClassVar[bool] = True

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        """Reverberate by ``{"rt60": SECONDS, "room": NUMBER}`` or ``{"room": NAME or FILE}``.

        A number draws a simulated room of that reverberation time; a name or a file is what the
        edit scene takes. Without either the recording is the input.

        Raises:
            StepeditError: if the room cannot be made.
        """
        asked = case.prepare
        if "rt60" not in asked and "room" not in asked:
            return Prepared(clean)
        rate = clean.sample_rate
        if "rt60" in asked:
            seconds = float(asked["rt60"])
            response = rooms.simulate_room(int(asked.get("room", 0)), rate, seconds, seconds)
        else:
            response = room_response(str(asked["room"]), rate)
        facts = {"rt60": round(rooms.measure_rt60(response, rate), 3)}
        return Prepared(rooms.reverberate(clean, response), clean, facts)

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure how far the output lies from the dry recording."""
        source, clean = prepared.source, prepared.reference
        if clean is None:
            return Score.failed("the dry recording is not known")
        before, after = (envelope_distance(clean, sound) for sound in (source, output))
        if before is None or before[0] < _LEAST_DISTANCE_DB:
            return Score.failed("the input holds next to no reverberation, or no speech")
        said, error = words_kept(measures, source, output)
        names = ("distance_db", "speech_distance_db", "loud_distance_db")
        values: dict[str, float | None] = {"word_error": error}
        values |= {f"{name}_before": one for name, one in zip(names, before, strict=True)}
        if after is None:
            return Score(False, values)
        values |= dict(zip(names, after, strict=True))
        nearer = [1 - new / old for old, new in zip(before[:2], after[:2], strict=True)]
        reached = min(nearer) >= MIN_NEARER and after[2] <= before[2] + MAX_DIRECT_DB
        return Score(reached and said is not False, values)


class SeparateScorer(Scorer):
    """Mix a voice with what is behind it before the edit, and hold the output against either part.

    Reached: SI-SDR against the part that was asked for rises (by 2 dB for the voice, by 3 dB for
    the background); its third octaves are within 6 dB of that part's on average, and the upper
    bands of a voice have lost 15 dB at most; the words of the voice are kept.
    """

    version: ClassVar[int] = 1
    expects_same_duration: ClassVar[bool] = True

    def waives(self, case: Case) -> frozenset[str]:
        """Of a background neither words nor voice nor level are those of the recording."""
        if isinstance(case.edit, Separate) and case.edit.keep == "voice":
            return frozenset({"loudness"})
        return frozenset({"words", "speaker", "quality", "loudness", "level"})

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        """Mix by ``{"background": NAME, "snr_db": X}`` or ``{"voices": [NAME, ...], "snr_db": X}``.

        A background is a name of the edit scene or of the synthetic noises, or a file; voices are
        packaged speech. With ``{"room": NAME or FILE}`` the voice speaks in that room.
        A ``seed`` gives several cases the very same background.

        Raises:
            StepeditError: if there is no such background.
        """
        asked = case.prepare
        if "background" not in asked and "voices" not in asked:
            return Prepared(clean)
        if "seed" in asked:
            rng = np.random.default_rng(int(asked["seed"]))
        length, rate = len(clean.samples), clean.sample_rate
        if "room" in asked:
            clean = rooms.reverberate(clean, room_response(str(asked["room"]), rate))
        if "voices" in asked:
            voices = [packaged_speech(str(name)) for name in asked["voices"]]
            sound = noises.babble(voices, length, rate, rng)
        else:
            sound = _background(str(asked["background"]), length, rate, rng)
        source, voice, snr = noises.mix(clean, sound, float(asked["snr_db"]), noises.SPEECH_BAND)
        wants_voice = isinstance(case.edit, Separate) and case.edit.keep == "voice"
        behind = source.replace(samples=source.samples - voice.samples, transcript=None)
        return Prepared(source, voice if wants_voice else behind, {"snr_db": round(snr, 3)})

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure the output against the part that was asked for."""
        edit, source, part = case.edit, prepared.source, prepared.reference
        if not isinstance(edit, Separate):
            return Score.failed(f"the separate scorer was given the edit {edit.name}")
        if part is None:
            return Score.failed("the parts of the recording are not known")
        rate = part.sample_rate
        old, new = (quality.si_sdr(*quality.aligned(part, sound)) for sound in (source, output))
        true, heard = quality.aligned(part, output)
        colour = colour_difference(true, heard, rate)
        values: dict[str, float | None] = {"si_sdr": new, "si_sdr_gain": new - old}
        values["colour_difference_db"] = colour
        reached = colour is not None and colour <= MAX_COLOUR_DB
        if edit.keep == "background":
            return Score(reached and new - old >= MIN_BACKGROUND_GAIN_DB, values)
        loss = quality.band_loss(part, output, background=False)
        said, error = words_kept(measures, source, output)
        values |= {"band_loss_db": loss, "word_error": error}
        whole = loss is not None and loss <= MAX_BAND_LOSS_DB
        reached = reached and whole and said is not False
        return Score(reached and new - old >= MIN_VOICE_GAIN_DB, values)


def _background(name: str, length: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return a background by the name of a scene's or of a synthetic noise, or from a file."""
    if name in BACKGROUNDS or is_file(name):
        return background_sound(name, length, rate, rng)
    if name not in noises.MORE_SYNTHETIC:
        known = ", ".join(dict.fromkeys((*BACKGROUNDS, *noises.MORE_SYNTHETIC)))
        raise StepeditError(f"background: {known}, or a file; got {name!r}")
    return noises.synthesise(name, length, rate, rng)


def envelope_distance(clean: Utterance, sound: Utterance) -> tuple[float, float, float] | None:
    """Return how far a recording's band levels lie from the dry recording's, in dB.

    Third octaves from 200 Hz to 6.3 kHz, frames of 32 ms, levels held to 40 dB below each band's
    loud ones; one gain is taken out, and a delay of up to 60 ms.

    Args:
        clean: the dry recording.
        sound: the recording to hold against it.

    Returns:
        The mean absolute difference over all frames; over the frames with speech; over the bands
        and frames where the dry recording is loud. None where one of both is silent or too short.
    """
    rate = min(_RATE, clean.sample_rate)
    dry, heard = quality.aligned(clean.resample(rate), sound)
    sides = [_band_levels(part, rate) for part in (dry, heard)]
    if sides[0] is None or sides[1] is None:
        return None
    loud = np.quantile(sides[0], 0.95, axis=0)
    old = np.maximum(sides[0] - loud, _FLOOR_DB)
    strong = old > _DIRECT_DB
    if not strong.any():
        return None
    new = sides[1] - loud
    new = np.maximum(new - np.median((new - old)[strong]), _FLOOR_DB)
    apart = np.abs(new - old)
    speech = old.max(axis=1) > _SPEECH_DB
    return float(apart.mean()), float(apart[speech].mean()), float(apart[strong].mean())


def _band_levels(samples: FloatArray, rate: int) -> FloatArray | None:
    """Return the levels of bands in dB, ``(frames, bands)``, or None of silence."""
    frame, hop = round(_FRAME * rate / _RATE), round(_HOP * rate / _RATE)
    if len(samples) < 2 * frame or not samples.any():
        return None
    frames = np.lib.stride_tricks.sliding_window_view(samples, frame)[::hop] * np.hanning(frame)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    hertz = np.fft.rfftfreq(frame, 1 / rate)
    edge = 2 ** (1 / 6)
    bands = [
        power[:, (hertz >= c / edge) & (hertz < c * edge)].sum(axis=1)
        for c in _BANDS
        if c * edge <= rate / 2
    ]
    return np.asarray(10 * np.log10(np.stack(bands, axis=1) + 1e-12))
