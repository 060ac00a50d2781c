"""Pairs for the way back from a scene: the recording is the target, its surroundings the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    AudioError,
    BuildContext,
    CorpusItem,
    EditPair,
    MissingDependencyError,
    PairBuilder,
    PairJob,
    PairOptions,
    Rejected,
    StepeditError,
    Utterance,
)
from stepedit_core.dsp import noises, rooms
from stepedit_scene.pairs import margin_of_ratio, margin_of_rt60
from stepedit_scene.removal import Dereverb, Separate
from stepedit_scene.surroundings import BACKGROUNDS, background_sound

__all__ = ["DereverbPairs", "SeparatePairs"]


class DereverbPairs(PairBuilder):
    """Put each recording into a room: the source is the recording in it, the target itself."""

    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, str]] = {
        "rt60": "least and greatest reverberation time of simulated rooms in s; default 0.7:1.3",
        "rooms": "how many different rooms to simulate; default 32",
        "rir_folder": "folder of measured room impulse responses to use instead",
    }

    def settings(self, options: Mapping[str, str]) -> tuple[tuple[float, float], int, str | None]:
        """Return reverberation times, the number of rooms, and the folder of responses.

        Raises:
            StepeditError: if an option is wrong.
            MissingDependencyError: if rooms have to be simulated and pyroomacoustics is absent.
        """
        asked = PairOptions(options)
        times, folder = asked.limits("rt60", "0.7:1.3"), asked.folder("rir_folder")
        if times[0] < 0.1 or times[1] > 10:
            raise StepeditError("rt60: reverberation times from 0.1 to 10 s")
        if folder is None and not rooms.can_simulate():
            raise MissingDependencyError(
                "dereverb: rooms need pyroomacoustics (pip install pyroomacoustics) or measured "
                "responses (rir_folder=DIR)"
            )
        return times, asked.count("rooms", 32), folder

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pair of one recording."""
        times, count, folder = self.settings(context.options)
        clean = job.items[0].read()
        if not clean.samples.any():
            yield Rejected("silent", {"item": job.items[0].id})
            return
        rate = clean.sample_rate
        if folder is None:
            room = int(context.rng.integers(count))
            response, name = rooms.simulate_room(room, rate, *times), f"simulated {room}"
        else:
            files = noises.noise_files(folder)
            chosen = files[int(context.rng.integers(len(files)))]
            response = Utterance.read(chosen).resample(rate).samples.astype(np.float64)
            name = str(chosen.relative_to(folder))
        try:
            rt60 = rooms.measure_rt60(response, rate)
        except StepeditError as error:
            yield Rejected(str(error), {"room": name})
            return
        details = {"room": name, "rt60": round(rt60, 4)}
        source = rooms.reverberate(clean, response)
        yield self.kept(source, clean, Dereverb(), margin_of_rt60(rt60), details)


class SeparatePairs(PairBuilder):
    """Put each recording before a background: the target is the one or the other part."""

    version: ClassVar[int] = 1
    transcript_kept: ClassVar[bool] = False
    options: ClassVar[Mapping[str, str]] = {
        "keep": "voice, background, joined by +; default both",
        "backgrounds": f"{', '.join(BACKGROUNDS)}, voices (of the corpus), joined by +",
        "snr": "least and greatest ratio in dB; default 0:10",
    }

    def settings(
        self, options: Mapping[str, str]
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[float, float]]:
        """Return what is kept, the backgrounds and the ratios.

        Raises:
            StepeditError: if an option is wrong.
        """
        asked = PairOptions(options)
        return (
            asked.words("keep", ("voice", "background")),
            asked.words("backgrounds", (*BACKGROUNDS, "voices")),
            asked.limits("snr", "0:10"),
        )

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield a pair of one recording for each part."""
        parts, backgrounds, (low, high) = self.settings(context.options)
        clean = job.items[0].read()
        if not clean.samples.any():
            yield Rejected("silent", {"item": job.items[0].id})
            return
        for keep in parts:
            rng = context.rng
            kind = str(rng.choice(backgrounds))
            asked = round(float(rng.uniform(low, high)), 1)
            sound = _behind(kind, clean, job.items[0], context)
            if sound is None:
                yield Rejected("no other recording to take voices from", {"background": kind})
                continue
            source, voice, measured = noises.mix(clean, sound, asked, noises.SPEECH_BAND)
            behind = source.replace(samples=source.samples - voice.samples, transcript=None)
            edit = Separate.model_validate({"keep": keep})
            details = {"background": kind, "snr_db": round(measured, 3)}
            target = voice if keep == "voice" else behind
            # The softer a part is beside the other one, the more there is to take away.
            ratio = measured if keep == "voice" else -measured
            yield self.kept(source, target, edit, margin_of_ratio(ratio), details)


def _behind(
    kind: str, clean: Utterance, item: CorpusItem, context: BuildContext
) -> npt.NDArray[np.float64] | None:
    """Return a background as long as the recording; None where the corpus has no other voice."""
    length, rate = len(clean.samples), clean.sample_rate
    if kind != "voices":
        return background_sound(kind, length, rate, context.rng)
    voices: list[Utterance] = []
    for other in context.sample(context.rng, 4):
        if other.id != item.id and other.speaker != item.speaker and len(voices) < 2:
            try:
                voices.append(other.read())
            except AudioError:
                continue
    sounding = [voice for voice in voices if voice.samples.any()]
    return noises.babble(sounding, length, rate, context.rng) if sounding else None
