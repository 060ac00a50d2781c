"""Scorer of the denoise edit: noise is added at a known level, and what is left of it measured."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from stepedit_core import Case, Measures, Prepared, Score, Scorer, StepeditError, Utterance
from stepedit_denoise import noises, quality

__all__ = ["DenoiseScorer"]

MIN_GAIN_DB = 3.0
"""Gain in SI-SDR that counts as noise removed: half of the power of what is not speech."""
MIN_BACKGROUND_GAIN = 0.5
"""Gain in DNSMOS BAK (1..5) that counts as noise removed where waveforms do not compare."""
_CLEAN_BACKGROUND = 4.0


class DenoiseScorer(Scorer):
    """Add noise to clean speech before the edit, and compare the output with the clean speech.

    The verdict is the gain in SI-SDR. A system that speaks anew from tokens keeps no waveform:
    where the output's SI-SDR is below 0 dB, and where there is no reference, the verdict is
    the gain in the background rating of DNSMOS P.835 (Reddy et al. 2022).
    """

    version: ClassVar[int] = 1
    expects_same_duration: ClassVar[bool] = True

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        """Add noise by ``{"noise": KIND, "snr_db": X}``; without it the recording is the input.

        Raises:
            StepeditError: if the kind of noise is unknown.
        """
        kind = case.prepare.get("noise")
        if kind is None:
            return Prepared(clean)
        if kind not in noises.SYNTHETIC:
            raise StepeditError(
                f"case {case.id}: no noise {kind!r}; there are {', '.join(noises.SYNTHETIC)}"
            )
        noise = noises.synthesise(kind, len(clean.samples), clean.sample_rate, rng)
        source, reference, measured = noises.mix(clean, noise, float(case.prepare["snr_db"]))
        return Prepared(source, reference, {"snr_db": round(measured, 3)})

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure what the edit took away."""
        background = _background_gain(prepared.source, output, measures)
        values: dict[str, float | None] = {"bak_gain": background}
        if prepared.reference is not None:
            values |= _against(prepared.reference, prepared.source, output)
            gain, after = values["si_sdr_gain"], values["si_sdr"]
            assert gain is not None and after is not None
            if gain >= MIN_GAIN_DB or after >= 0:
                return Score(gain >= MIN_GAIN_DB, values)
        if background is None:
            return Score.failed("DNSMOS could not be measured, or the input is clean", **values)
        return Score(background >= MIN_BACKGROUND_GAIN, values)


def _background_gain(source: Utterance, output: Utterance, measures: Measures) -> float | None:
    """Return the gain in DNSMOS BAK; None where it fails, or where nothing can be gained."""
    try:
        before, after = (float(measures.dnsmos(sound)["bak"]) for sound in (source, output))
    except StepeditError:
        return None
    return after - before if before < _CLEAN_BACKGROUND else None


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
