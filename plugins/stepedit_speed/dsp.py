"""Time stretching at constant pitch by SoX, Rubber Band, or Signalsmith Stretch.

The order of choice: SoX joins whole pitch periods (WSOLA, Verhelst & Roelands 1993), which
suits a single voice, leaves the level as it is and takes the least time; Rubber Band (engine R3)
keeps pitch as well; Signalsmith Stretch (phase vocoder) needs no program at all. All three keep
the median F0 within 3 %; figures are in the README.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import MissingDependencyError, StepeditError, Utterance
from stepedit_core.dsp.loudness import level_like
from stepedit_core.dsp.offset import around_offset

__all__ = ["BACKENDS", "installed_backends", "stretch"]

FloatArray = npt.NDArray[np.float32]

_HEADROOM = 0.9
_TIMEOUT = 600
_RAW = ["-t", "raw", "-e", "floating-point", "-b", "32", "-c", "1"]


def _rubberband(samples: FloatArray, rate: int, factor: float, seed: int) -> FloatArray:
    """Stretch with the rubberband program; its engine R3 where the version has it."""
    import pyrubberband

    options = {"--fine": ""} if _rubberband_version() >= 3 else {}
    stretched = pyrubberband.time_stretch(samples, rate, factor, rbargs=options)
    return np.asarray(stretched, dtype=np.float32).reshape(-1)


@cache
def _rubberband_version() -> int:
    """Return the major version of the rubberband program."""
    done = subprocess.run(
        ["rubberband", "--version"], capture_output=True, text=True, check=False, timeout=60
    )
    found = re.search(r"\d+", done.stderr + done.stdout)
    return int(found.group()) if found else 0


def _sox(samples: FloatArray, rate: int, factor: float, seed: int) -> FloatArray:
    """Stretch with the tempo effect of SoX, its segment lengths set for speech (-s)."""
    raw = [*_RAW, "-r", str(rate), "-"]
    command = ["sox", "-V1", *raw, *raw, "tempo", "-s", f"{factor:.9f}"]
    done = subprocess.run(
        command, input=samples.tobytes(), capture_output=True, check=True, timeout=_TIMEOUT
    )
    return np.frombuffer(done.stdout, dtype=np.float32)


def _signalsmith(samples: FloatArray, rate: int, factor: float, seed: int) -> FloatArray:
    """Stretch with Signalsmith Stretch, a library without a program."""
    from python_stretch.Signalsmith import Stretch

    stretcher = Stretch(seed)
    stretcher.preset(1, rate)
    stretcher.timeFactor = factor
    stretched: FloatArray = np.asarray(stretcher.process(samples[None]), dtype=np.float32)
    return stretched.reshape(-1)


BACKENDS: dict[str, Callable[[FloatArray, int, float, int], FloatArray]] = {
    "sox": _sox,
    "rubberband": _rubberband,
    "signalsmith": _signalsmith,
}
"""All backends by name, in the order of choice."""


def installed_backends() -> list[str]:
    """Return the backends that can run here, in the order of choice."""
    programs = ("rubberband", "sox")
    return [name for name in BACKENDS if name not in programs or shutil.which(name)]


def stretch(
    utterance: Utterance, factor: float, *, seed: int = 0, backend: str | None = None
) -> tuple[Utterance, dict[str, Any]]:
    """Change the tempo and keep pitch and level.

    Args:
        utterance: any rate and length.
        factor: what divides the duration, 0.5..2.
        seed: for the backend that draws random phases (signalsmith).
        backend: a name of ``BACKENDS``; the first installed one by default.

    Returns:
        The stretched utterance, ``round(n / factor)`` samples long, and what was done.

    Raises:
        MissingDependencyError: if the program of the named backend is not installed.
        StepeditError: if the backend fails.
    """
    chosen = backend or installed_backends()[0]
    if chosen not in BACKENDS:
        raise StepeditError(f"no backend {chosen!r}; there are {', '.join(BACKENDS)}")
    if chosen not in installed_backends():
        raise MissingDependencyError(f"the program {chosen} is not installed or not on the PATH")
    return around_offset(utterance, lambda flat: _stretched(flat, factor, seed, chosen))


def _stretched(
    utterance: Utterance, factor: float, seed: int, chosen: str
) -> tuple[Utterance, dict[str, Any]]:
    """Stretch by a backend that is installed, at its level."""
    details: dict[str, Any] = {"backend": chosen, "factor": round(factor, 6)}
    peak = float(np.abs(utterance.samples).max(initial=0.0))
    if factor == 1 or peak == 0:
        length = round(len(utterance.samples) / factor)
        silent = np.resize(utterance.samples, length)
        return utterance.replace(samples=silent), {**details, "backend": "none"}
    # The programs read integers and clip at full scale: hand them a level that uses the range.
    scaled = utterance.samples * np.float32(_HEADROOM / peak)
    try:
        raw = BACKENDS[chosen](scaled, utterance.sample_rate, factor, seed)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise StepeditError(f"speed: {chosen} failed ({error}); try another backend") from error
    fitted = _fit(raw, round(len(scaled) / factor)) * np.float32(peak / _HEADROOM)
    samples, gain = level_like(fitted, utterance.samples)
    return utterance.replace(samples=samples), {**details, "gain_db": round(gain, 2)}


def _fit(samples: FloatArray, length: int) -> FloatArray:
    """Cut or fill up to a length; backends differ from it by a few samples."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
