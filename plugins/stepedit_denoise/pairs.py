"""Pairs for the denoise edit: clean speech as the target, noise or a room around the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    MIN_MARGIN,
    AudioError,
    BuildContext,
    CorpusItem,
    EditPair,
    PairBuilder,
    PairJob,
    Rejected,
    StepeditError,
    Utterance,
)
from stepedit_core.dsp import noises, rooms
from stepedit_denoise.edit import Denoise
from stepedit_denoise.settings import OPTIONS, Settings

__all__ = ["DenoisePairs", "margin_of_rt60", "margin_of_snr"]

_MIN_VOICES, _MAX_VOICES = 2, 6


def margin_of_snr(snr_db: float) -> float:
    """Return the margin 1..10 of noise at a ratio in dB.

    Straight from 10 at 0 dB, where noise is as strong as speech, to 1 at 25 dB, where it
    hardly shows beside speech; 6 lies at 11.1 dB.
    """
    return float(np.clip(10 - 9 * snr_db / 25, 1, 10))


def margin_of_rt60(seconds: float) -> float:
    """Return the margin 1..10 of a room by its reverberation time.

    Straight from 1 at 0.2 s, a furnished small room, to 10 at 1 s, a hall; 6 lies at 0.64 s.
    """
    return float(np.clip(1 + 9 * (seconds - 0.2) / 0.8, 1, 10))


class DenoisePairs(PairBuilder):
    """Degrade each recording by noise, by reverberation, or by both; leave some as they are."""

    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, str]] = OPTIONS

    def settings(self, options: Mapping[str, str]) -> Settings:
        """Return what is asked for; options and libraries are checked before the first job.

        Raises:
            StepeditError: if an option is wrong.
            MissingDependencyError: if simulated rooms are asked for by name, and
                pyroomacoustics is absent.
        """
        return Settings.parse(options)

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield one pair for each degradation of one recording."""
        settings = self.settings(context.options)
        clean = job.items[0].read()
        if settings.rates:
            rate = settings.rates[int(context.rng.integers(len(settings.rates)))]
            clean = clean.resample(min(rate, clean.sample_rate))
        chosen = settings.degradations
        if settings.draw is not None:
            drawn = context.rng.permutation(len(chosen))[: settings.draw]
            chosen = tuple(chosen[int(place)] for place in drawn)
        for degradation in chosen:
            try:
                built = self._pair(degradation, clean, job.items[0], settings, context)
            except AudioError:
                raise
            except StepeditError as error:
                built = Rejected(f"{degradation}: {error}")
            yield built
        if context.rng.random() < settings.clean_share:
            details = {"degradation": "none", "unchanged": True}
            yield EditPair(clean, clean, Denoise(), MIN_MARGIN, details)

    def _pair(
        self,
        degradation: str,
        clean: Utterance,
        item: CorpusItem,
        settings: Settings,
        context: BuildContext,
    ) -> EditPair | Rejected:
        """Degrade a recording in one way."""
        rng = context.rng
        details: dict[str, Any] = {"degradation": degradation}
        source, target, margins = clean, clean, []
        if degradation in ("reverb", "both"):
            response, name = _response(clean.sample_rate, settings, rng)
            details |= {
                "room": name,
                "rt60": round(rooms.measure_rt60(response, clean.sample_rate), 4),
            }
            source = rooms.reverberate(clean, response)
            margins.append(margin_of_rt60(details["rt60"]))
        if degradation in ("noise", "both"):
            noise, name = _noise(clean, item, settings, context)
            asked = round(float(rng.uniform(*settings.snr)), 3)
            speech = source
            source, scaled, measured = noises.mix(speech, noise, asked)
            gain = _gain(speech, scaled)
            target = clean.replace(samples=clean.samples * np.float32(gain))
            details |= {"noise": name, "snr_db": round(measured, 3), "snr_db_asked": asked}
            margins.append(margin_of_snr(measured))
        margin = max(margins)
        return self.kept(source, target, Denoise(), margin, details)


def _gain(before: Utterance, after: Utterance) -> float:
    """Return the factor by which the mixer scaled speech down."""
    return float(np.abs(after.samples).max() / np.abs(before.samples).max())


def _noise(
    clean: Utterance, item: CorpusItem, settings: Settings, context: BuildContext
) -> tuple[npt.NDArray[np.float64], str]:
    """Return noise as long as the recording, and what it is."""
    rng, length, rate = context.rng, len(clean.samples), clean.sample_rate
    if settings.noise_folder:
        files = noises.noise_files(settings.noise_folder)
        chosen = files[int(rng.integers(len(files)))]
        recording = Utterance.read(chosen).resample(rate).samples.astype(np.float64)
        return noises.tile(recording, length, rng), str(chosen.relative_to(settings.noise_folder))
    kind = settings.noises[int(rng.integers(len(settings.noises)))]
    if kind != "babble":
        return noises.synthesise(kind, length, rate, rng), kind
    voices = _voices(item, context)
    return noises.babble(voices, length, rate, rng), f"babble of {len(voices)}"


def _voices(item: CorpusItem, context: BuildContext) -> list[Utterance]:
    """Return other recordings of the corpus; unreadable ones are the business of their own job."""
    wanted = int(context.rng.integers(4, _MAX_VOICES + 1))
    voices: list[Utterance] = []
    for other in context.sample(context.rng, wanted + 2):
        if other.id != item.id and len(voices) < wanted:
            try:
                voices.append(other.read())
            except AudioError:
                continue
    if len(voices) < _MIN_VOICES:
        raise StepeditError("babble needs at least two other recordings in the corpus")
    return voices


def _response(
    rate: int, settings: Settings, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], str]:
    """Return an impulse response, measured or simulated, and its name."""
    if settings.rir_folder:
        files = noises.noise_files(settings.rir_folder)
        chosen: Path = files[int(rng.integers(len(files)))]
        measured = Utterance.read(chosen).resample(rate).samples.astype(np.float64)
        return measured, str(chosen.relative_to(settings.rir_folder))
    index = int(rng.integers(settings.rooms))
    return rooms.simulate_room(index, rate, *settings.rt60), f"simulated {index}"
