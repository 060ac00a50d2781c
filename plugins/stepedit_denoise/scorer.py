"""Scorer of the denoise edit: noise is added at a known level, and what is left of it measured."""

from __future__ import annotations

from typing import Any, ClassVar

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
from stepedit_core.dsp.vad import total_seconds

__all__ = ["DenoiseScorer"]

MIN_BACKGROUND_GAIN = 0.5
"""Gain in DNSMOS BAK (1..5) that counts as noise removed."""
MAX_BAND_LOSS_DB = 15.0
"""Loss of the upper bands of speech against the lower ones: 2 dB at most by the dsp route on eight
built-in cases at 0 to 10 dB, 43 dB and more by a low-pass filter at 2 kHz."""
MIN_SPEECH = 0.7
"""Share of speech time that must be left."""
_CLEAN_BACKGROUND = 4.0


class DenoiseScorer(Scorer):
    """Add noise to clean speech before the edit, and look for noise gone and speech kept.

    The target is one for every route, because a system that speaks anew from tokens keeps no
    waveform: the background rating of DNSMOS P.835 (Reddy et al. 2022) rises by 0.5, while the
    words, the time and the upper bands of speech are kept. SI-SDR, STOI and PESQ against the clean
    speech stand beside it where there is a reference.

    The ratio of speech to noise is set between 50 Hz and 4 kHz, whatever the sample rate.
    """

    version: ClassVar[int] = 2
    expects_same_duration: ClassVar[bool] = True

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        """Add noise by ``{"noise": KIND, "snr_db": X}``, or put the speech into a room.

        ``voices`` names the packaged speech that babble is made of; a ``seed`` gives several cases
        the very same noise. ``{"rt60": SECONDS, "room": NUMBER}`` draws a simulated room; with both
        the noise is added in the room. The clean, dry recording is the ideal, as in the pairs.
        Without either the recording is the input. ``{"sample_rate": HERTZ}`` brings the recording
        to a rate before anything is added to it.

        Raises:
            StepeditError: if the kind of noise is unknown, babble has no voices, or the room cannot
                be made.
        """
        kind, seconds = case.prepare.get("noise"), case.prepare.get("rt60")
        facts: dict[str, Any] = {}
        if "sample_rate" in case.prepare:
            clean = clean.resample(int(case.prepare["sample_rate"]))
        heard = clean
        if seconds is not None:
            rate, time = clean.sample_rate, float(seconds)
            room = rooms.simulate_room(int(case.prepare.get("room", 0)), rate, time, time)
            heard = rooms.reverberate(clean, room)
            facts["rt60"] = round(rooms.measure_rt60(room, rate), 3)
        if kind is None:
            return Prepared(clean) if heard is clean else Prepared(heard, clean, facts)
        if "seed" in case.prepare:
            rng = np.random.default_rng(int(case.prepare["seed"]))
        noise = _noise(case, kind, heard, rng)
        source, spoken, measured = noises.mix(
            heard, noise, float(case.prepare["snr_db"]), noises.SPEECH_BAND
        )
        facts["snr_db"] = round(measured, 3)
        if heard is clean:
            return Prepared(source, spoken, facts)
        scale = np.float32(np.abs(spoken.samples).max() / np.abs(heard.samples).max())
        return Prepared(source, clean.replace(samples=clean.samples * scale), facts)

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure what the edit took away, of noise and of speech."""
        source, reference = prepared.source, prepared.reference
        clean = reference or source
        values: dict[str, float | None] = {"bak_gain": None}
        if reference is not None:
            values |= _against(reference, source, output)
        try:
            noisy = float(measures.dnsmos(source)["bak"])
            before, after = (total_seconds(measures.speech_spans(x)) for x in (clean, output))
        except StepeditError as error:
            return Score.failed(f"the input could not be measured: {error}", **values)
        if noisy >= _CLEAN_BACKGROUND or not before:
            return Score.failed("the input is clean, or holds no speech", **values)
        values["speech_kept"] = after / before
        if after < MIN_SPEECH * before:
            return Score(False, values)
        try:
            values["bak_gain"] = gain = float(measures.dnsmos(output)["bak"]) - noisy
        except StepeditError as error:
            return Score.failed(f"the output could not be measured: {error}", **values)
        loss = quality.band_loss(clean, output, background=reference is None)
        said, values["word_error"] = words_kept(measures, source, output)
        values["band_loss_db"] = loss
        kept = loss is not None and loss <= MAX_BAND_LOSS_DB and said is not False
        return Score(gain >= MIN_BACKGROUND_GAIN and kept, values)


def _noise(
    case: Case, kind: str, clean: Utterance, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return noise of a kind as long as a recording."""
    length, rate = len(clean.samples), clean.sample_rate
    if kind == "babble":
        voices = [packaged_speech(str(name)) for name in case.prepare.get("voices", ())]
        if not voices:
            raise StepeditError(f"case {case.id}: babble needs voices, names of packaged speech")
        return noises.babble(voices, length, rate, rng)
    if kind not in noises.MORE_SYNTHETIC:
        known = ", ".join((*noises.MORE_SYNTHETIC, "babble"))
        raise StepeditError(f"case {case.id}: no noise {kind!r}; there are {known}")
    return noises.synthesise(kind, length, rate, rng)


def _against(reference: Utterance, source: Utterance, output: Utterance) -> dict[str, float | None]:
    """Return SI-SDR, STOI and PESQ of the output, and their gains over the input."""
    rate = reference.sample_rate
    sides = [quality.aligned(reference, sound) for sound in (source, output)]
    values: dict[str, float | None] = {}
    before, after = (quality.si_sdr(*side) for side in sides)
    values |= {"si_sdr": after, "si_sdr_gain": after - before}
    for name, measure in (("stoi", quality.stoi), ("pesq", quality.pesq)):
        old, new = (measure(*side, rate) for side in sides)
        values[name] = new
        values[f"{name}_gain"] = None if old is None or new is None else new - old
    return values
