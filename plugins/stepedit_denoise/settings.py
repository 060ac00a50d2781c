"""Options of the denoise pair builder, parsed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepedit_core import MissingDependencyError, PairOptions, StepeditError
from stepedit_core.dsp.noises import MORE_SYNTHETIC, SYNTHETIC
from stepedit_core.dsp.rooms import can_simulate

__all__ = ["OPTIONS", "Settings"]

OPTIONS = {
    "degradations": "noise, reverb, both (noise in a room), joined by +; default noise+reverb",
    "draw": "how many of the degradations to draw for each recording; default all",
    "noises": "white, pink, brown, hum, clicks, babble (default), street, rain, music, joined by +",
    "noise_folder": "folder of noise recordings to use instead of synthesised noise",
    "snr": "least and greatest signal-to-noise ratio in dB; default 0:10",
    "rir_folder": "folder of measured room impulse responses to use instead of simulated rooms",
    "rt60": "least and greatest reverberation time of simulated rooms in s; default 0.7:1.3",
    "rooms": "how many different rooms to simulate; default 32",
    "rates": "rates in Hz to bring recordings down to, one drawn for each, joined by +",
    "clean_share": "share of recordings that are also paired with themselves, clean; default 0",
}
_DEGRADATIONS = ("noise", "reverb", "both")
_DEFAULT_NOISES = (*SYNTHETIC, "babble")
_NOISES = (*MORE_SYNTHETIC, "babble")


@dataclass(frozen=True)
class Settings:
    """What the user asked the builder for; fields are named as in ``OPTIONS``."""

    degradations: tuple[str, ...]
    draw: int | None
    noises: tuple[str, ...]
    noise_folder: str | None
    snr: tuple[float, float]
    rir_folder: str | None
    rt60: tuple[float, float]
    rooms: int
    clean_share: float
    rates: tuple[int, ...] = ()

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Settings:
        """Read the options.

        Raises:
            StepeditError: naming the option that is wrong and what it may be.
            MissingDependencyError: if reverberation is asked for by name and cannot be made.
        """
        asked = PairOptions(options)
        settings = cls(
            degradations=asked.words("degradations", _DEGRADATIONS, "noise+reverb"),
            draw=asked.count("draw", 1) if "draw" in options else None,
            noises=asked.words("noises", _NOISES, "+".join(_DEFAULT_NOISES)),
            noise_folder=asked.folder("noise_folder"),
            snr=asked.limits("snr", "0:10"),
            rir_folder=asked.folder("rir_folder"),
            rt60=asked.limits("rt60", "0.7:1.3"),
            rooms=asked.count("rooms", 32),
            clean_share=asked.share("clean_share"),
            rates=_rates(options.get("rates", "")),
        )
        if settings.rt60[0] <= 0:
            raise StepeditError("rt60: reverberation times are above 0 s")
        rooms = {"reverb", "both"} & set(settings.degradations)
        if "degradations" in options and rooms and not settings.rir_folder and not can_simulate():
            raise MissingDependencyError(
                "degradations: reverberation needs pyroomacoustics (pip install pyroomacoustics) "
                "or measured responses (rir_folder=DIR)"
            )
        return settings


def _rates(text: str) -> tuple[int, ...]:
    """Parse rates joined by +; none where none is given."""
    parts = tuple(filter(None, text.split("+")))
    if not all(part.isdecimal() and 4_000 <= int(part) <= 192_000 for part in parts):
        raise StepeditError(f"rates: Hz from 4000 to 192000, such as 8000+16000, got {text!r}")
    return tuple(map(int, parts))
