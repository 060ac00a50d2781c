"""Speech from text by systems that run offline and whose voices may be used for anything."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import soundfile as sf

from stepedit_core.errors import MissingDependencyError, StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["LICENCES", "System", "speak"]

System = Literal["hibari", "flite"]
LICENCES: dict[System, str] = {
    "hibari": "Apache-2.0 (hibari-tts)",
    "flite": "BSD-like (Carnegie Mellon University, flite)",
}
"""Licence of each system and its voices, which speech made with them is given too."""

FloatArray = npt.NDArray[np.float32]


@cache
def _hibari(voice: str) -> Any:
    """Load a voice of hibari-tts, once."""
    try:
        from hibari import Hibari
    except ImportError as error:
        raise MissingDependencyError(
            "the hibari voices need hibari-tts: pip install 'stepedit[synth]'"
        ) from error
    return Hibari(voice)


def _by_hibari(voice: str, text: str, speed: float, seed: int) -> tuple[FloatArray, int]:
    """Speak by hibari-tts, a network on the processor; the noise in the voice is drawn."""
    system = _hibari(voice)
    return np.asarray(system(text, speed=speed, seed=seed), np.float32), int(system.sample_rate)


def _by_flite(voice: str, text: str, speed: float, seed: int) -> tuple[FloatArray, int]:
    """Speak by the program ``flite`` (Black and Lenzo 2001, SSW4); it draws nothing."""
    program = shutil.which("flite")
    if program is None:
        raise MissingDependencyError("the flite voices need the program flite; install it")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        stretch = f"duration_stretch={1 / speed:.4f}"
        command = [program, "-voice", voice, "--setf", stretch, "-t", text, "-o", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not file.is_file():
            raise StepeditError(f"flite -voice {voice} failed: {done.stderr.strip()[:200]}")
        samples, rate = sf.read(file, dtype="float32")
    return np.asarray(samples, np.float32), int(rate)


_SYSTEMS: dict[System, Callable[[str, str, float, int], tuple[FloatArray, int]]] = {
    "hibari": _by_hibari,
    "flite": _by_flite,
}


def speak(
    system: System,
    voice: str,
    text: str,
    *,
    speed: float = 1.0,
    shift: float = 1.0,
    seed: int = 0,
) -> tuple[FloatArray, int]:
    """Return a text spoken by a voice, and the sample rate in Hz.

    Another speaker is made of a voice by playing it faster or slower: pitch and formants move by
    one factor, as with a shorter or a longer vocal tract (Lee and Rose 1996, "Speaker
    normalization using efficient frequency warping procedures"). The system speaks the slower or
    the faster for it, so the pace stays what was asked for.

    Args:
        system: which text-to-speech system.
        voice: one of its voices, such as ``heart`` or ``slt``.
        text: a sentence in English.
        speed: 1 is the voice's own pace, 2 twice as fast.
        shift: factor on pitch and formants, to the nearest hundredth.
        seed: of the noise in the voice, where the system draws any.

    Returns:
        float32, shape ``(n,)``, and Hz.

    Raises:
        MissingDependencyError: if the system is not installed.
        StepeditError: if it fails.
    """
    hundredths = round(100 * shift)
    samples, rate = _SYSTEMS[system](voice, text, 100 * speed / hundredths, seed)
    if hundredths == 100:
        return samples, rate
    played = Utterance(samples, rate * hundredths // 100).resample(rate)
    return played.samples, rate
