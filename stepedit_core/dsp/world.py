"""Speech taken apart by WORLD into F0, envelope and aperiodicity, and put together again.

WORLD (Morise, Yokomori & Ozawa 2016, IEICE Trans. E99-D): F0 by DIO and StoneMask, the spectral
envelope by CheapTrick, band aperiodicity by D4C. pyworld is imported on first use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_core.utterance import Utterance

__all__ = [
    "F0_CEIL",
    "F0_FLOOR",
    "STEP",
    "WorldSpeech",
    "analyse",
    "synthesise",
    "warp_frequency",
    "working_rate",
]

STEP = 0.005
"""Frame period in seconds."""
F0_FLOOR, F0_CEIL = 60.0, 800.0
LOWEST_RATE, HIGHEST_RATE, LONG_RATE = 16_000, 48_000, 24_000
LONG_SECONDS = 60.0
"""Above, analysis is held to ``LONG_RATE``, for memory's sake."""
UNVOICED_THRESHOLD = 0.85
"""D4C's threshold below which a frame counts as aperiodic (D4C LoveTrain)."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WorldSpeech:
    """WORLD's three parts.

    Attributes:
        f0: Hz of each frame, 0 where it is unvoiced, ``(frames,)``.
        envelope: power, ``(frames, bins)``.
        aperiodicity: 0 to 1, ``(frames, bins)``.
        rate: of the samples, Hz.
    """

    f0: Array
    envelope: Array
    aperiodicity: Array
    rate: int

    @property
    def frequencies(self) -> Array:
        """Frequency of each bin, Hz, ``(bins,)``."""
        return np.linspace(0, self.rate / 2, self.envelope.shape[1])


def working_rate(utterance: Utterance) -> int:
    """Return the rate of analysis: WORLD needs 16 kHz for its bands of aperiodicity."""
    highest = LONG_RATE if utterance.seconds > LONG_SECONDS else HIGHEST_RATE
    return min(max(utterance.sample_rate, LOWEST_RATE), highest)


def analyse(
    samples: Array, rate: int, f0_floor: float = F0_FLOOR, f0_ceil: float = F0_CEIL
) -> WorldSpeech:
    """Split samples into F0, envelope and aperiodicity.

    Args:
        samples: float64, full scale 1, at least half a second.
        rate: of them, 16 kHz or more.
        f0_floor: Hz below which no F0 is looked for, `F0_FLOOR` or more.
        f0_ceil: Hz above which none is.
    """
    import pyworld

    samples = np.ascontiguousarray(samples)
    # DIO, not Harvest: as close to the input after synthesis, without Harvest's voicing of
    # unvoiced frames, and the whole runs six times as fast.
    coarse, times = pyworld.dio(
        samples, rate, f0_floor=f0_floor, f0_ceil=f0_ceil, frame_period=STEP * 1000
    )
    f0 = pyworld.stonemask(samples, coarse, times, rate)
    size = pyworld.get_cheaptrick_fft_size(rate, F0_FLOOR)
    envelope = pyworld.cheaptrick(samples, f0, times, rate, f0_floor=F0_FLOOR, fft_size=size)
    aperiodicity = pyworld.d4c(
        samples, f0, times, rate, threshold=UNVOICED_THRESHOLD, fft_size=size
    )
    # LoveTrain marks a frame unvoiced by aperiodicity 1 in every bin; the 0 Hz bin tells.
    f0 = np.where(aperiodicity[:, 0] > 0.5, 0.0, f0)
    return WorldSpeech(f0, envelope, aperiodicity, rate)


def synthesise(speech: WorldSpeech) -> Array:
    """Put speech together again."""
    import pyworld

    made = pyworld.synthesize(
        np.ascontiguousarray(speech.f0),
        np.ascontiguousarray(speech.envelope),
        np.ascontiguousarray(speech.aperiodicity),
        speech.rate,
        STEP * 1000,
    )
    return np.nan_to_num(np.asarray(made, dtype=np.float64))


def warp_frequency(envelope: Array, freqs: Array, ratio: float) -> Array:
    """Move features of power envelopes to ``ratio`` times their frequency."""
    where = np.clip(freqs / ratio, 0.0, freqs[-1]) / freqs[1]
    low = np.minimum(where.astype(int), len(freqs) - 2)
    part = where - low
    logs = np.log(envelope)
    return np.asarray(np.exp(logs[:, low] * (1 - part) + logs[:, low + 1] * part))
