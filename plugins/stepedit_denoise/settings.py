"""Options of the denoise pair builder, parsed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stepedit_core import MissingDependencyError, StepeditError
from stepedit_core.dsp.noises import MORE_SYNTHETIC, SYNTHETIC
from stepedit_core.dsp.rooms import can_simulate

__all__ = ["OPTIONS", "Settings"]

OPTIONS = {
    "degradations": "noise, reverb, both (noise in a room), joined by +; default noise+reverb",
    "draw": "how many of the degradations to draw for each recording; default all",
    "noises": "white, pink, brown, hum, clicks, babble (default), street, rain, joined by +",
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
        settings = cls(
            degradations=_choices(options, "degradations", _DEGRADATIONS, "noise+reverb"),
            draw=_count(options, "draw", "") if "draw" in options else None,
            noises=_choices(options, "noises", _NOISES, "+".join(_DEFAULT_NOISES)),
            noise_folder=_folder(options, "noise_folder"),
            snr=_range(options, "snr", "0:10"),
            rir_folder=_folder(options, "rir_folder"),
            rt60=_range(options, "rt60", "0.7:1.3"),
            rooms=_count(options, "rooms", "32"),
            clean_share=_share(options, "clean_share"),
            rates=_rates(options.get("rates", "")),
        )
        if settings.rt60[0] <= 0:
            raise StepeditError("rt60: reverberation times are above 0 s")
        asked = {"reverb", "both"} & set(settings.degradations)
        if "degradations" in options and asked and not settings.rir_folder and not can_simulate():
            raise MissingDependencyError(
                "degradations: reverberation needs pyroomacoustics (pip install pyroomacoustics) "
                "or measured responses (rir_folder=DIR)"
            )
        return settings


def _choices(
    options: Mapping[str, str], name: str, known: tuple[str, ...], default: str
) -> tuple[str, ...]:
    """Split a list joined by + and refuse what is not known."""
    chosen = tuple(options.get(name, default).split("+"))
    unknown = [item for item in chosen if item not in known]
    if unknown:
        raise StepeditError(f"{name}: no {unknown[0]!r}; there are {', '.join(known)}")
    return chosen


def _folder(options: Mapping[str, str], name: str) -> str | None:
    """Return a folder that exists, or None where none is given."""
    folder = options.get(name)
    if folder is not None and not Path(folder).is_dir():
        raise StepeditError(f"{name}: {folder} is no folder")
    return folder


def _range(options: Mapping[str, str], name: str, default: str) -> tuple[float, float]:
    """Parse ``low:high``."""
    text = options.get(name, default)
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise StepeditError(f"{name}: give LOW:HIGH, such as {default}, got {text!r}") from None
    if not low <= high:
        raise StepeditError(f"{name}: the first number is the lower one, got {text!r}")
    return low, high


def _count(options: Mapping[str, str], name: str, default: str) -> int:
    """Parse a whole number from 1."""
    text = options.get(name, default)
    if not text.isdecimal() or int(text) < 1:
        raise StepeditError(f"{name}: a whole number from 1, got {text!r}")
    return int(text)


def _rates(text: str) -> tuple[int, ...]:
    """Parse rates joined by +; none where none is given."""
    parts = tuple(filter(None, text.split("+")))
    if not all(part.isdecimal() and 4_000 <= int(part) <= 192_000 for part in parts):
        raise StepeditError(f"rates: Hz from 4000 to 192000, such as 8000+16000, got {text!r}")
    return tuple(map(int, parts))


def _share(options: Mapping[str, str], name: str) -> float:
    """Parse a share, 0 to 1; 0 where none is given."""
    text = options.get(name, "0")
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise StepeditError(f"{name}: a number from 0 to 1, got {text!r}")
    return share
