"""Recordings made of clips whose speech begins and ends at known places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_bench.measuring.ears import Known
from stepedit_core.dsp.offset import without_offset
from stepedit_core.dsp.silences import FRAME_SECONDS, frame_levels
from stepedit_core.dsp.words import split_words
from stepedit_core.utterance import Utterance

__all__ = ["Joined", "begins_clearly", "join", "loud_part"]

FloatArray = npt.NDArray[np.float32]

_SOUNDS, _SURELY = (35.0, 12.0), (25.0, 15.0)
"""Most dB below the loudest frames and least above the quietest: of sound, and of plain speech."""
_CLEAR = 2  # frames between both, where it is plain when speech begins
_BEGINNING = 20  # frames of which most are plain speech
_GAPS = (0.05, 0.5)
_ROOM = 3e-4  # of the noise between clips, full scale 1


@dataclass(frozen=True)
class Joined:
    """Clips one after the other.

    Attributes:
        utterance: with the transcript of all of them.
        starts: where each clip's speech begins, in seconds.
        ends: where each clip's speech ends, in seconds.
        first: index of the word that each clip begins with.
        speakers: who says each clip, as far as it is told.
    """

    utterance: Utterance
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    first: tuple[int, ...]
    speakers: tuple[str, ...] = ()


def loud_part(utterance: Utterance) -> Utterance:
    """Return an utterance without the silence at its ends, cut where sound begins and ends.

    A frame of 10 ms sounds where it is less than 35 dB below the loudest ones and 12 dB above the
    quietest.
    """
    flat = without_offset(utterance)
    loud = _loud(flat, *_SOUNDS)
    if not len(loud):
        return utterance
    return flat.slice((loud[0] * FRAME_SECONDS, (loud[-1] + 1) * FRAME_SECONDS))


def begins_clearly(utterance: Utterance) -> bool:
    """Say whether speech begins at once: no breath or noise before it could be taken for it.

    Of the first fifth of a second most frames are plain speech, as after no click or hum.
    """
    flat = without_offset(utterance)
    first, surely = _loud(flat, *_SOUNDS), _loud(flat, *_SURELY)
    if not len(surely) or int(surely[0]) - int(first[0]) > _CLEAR:
        return False
    return int(np.count_nonzero(surely < first[0] + _BEGINNING)) > _BEGINNING / 2


def _loud(flat: Utterance, below: float, above: float) -> npt.NDArray[np.intp]:
    """Return the frames that are so many dB below the loudest and above the quietest."""
    levels = frame_levels(flat.samples, flat.sample_rate)
    high, low = np.percentile(levels, [95, 2])
    return np.flatnonzero(levels > max(high - below, low + above))


def join(
    clips: Sequence[Known],
    rng: np.random.Generator,
    rate: int = 16_000,
    speakers: Sequence[str] = (),
    longest: float = 60.0,
) -> Joined:
    """Join clips with pauses of 0.05 to 0.5 s of faint noise between them.

    Args:
        clips: whose words are known.
        rng: draws the pauses and their noise.
        rate: of the recording, in Hz.
        speakers: of the clips, or nothing.
        longest: what is longer is cut off, in seconds.
    """
    parts: list[FloatArray] = []
    texts: list[str] = []
    starts: list[float] = []
    ends: list[float] = []
    first: list[int] = []
    at = words = 0
    for clip in clips:
        gap = rng.normal(0, _ROOM, round(rng.uniform(*_GAPS) * rate)).astype(np.float32)
        speech = loud_part(Utterance.read(clip.path)).resample(rate).samples
        speech = speech[: round(longest * rate)]
        starts.append((at + len(gap)) / rate)
        first.append(words)
        parts += [gap, speech]
        at += len(gap) + len(speech)
        ends.append(at / rate)
        texts.append(_ended(clip.text))
        words += len(split_words(texts[-1]))
    parts.append(rng.normal(0, _ROOM, round(0.3 * rate)).astype(np.float32))
    utterance = Utterance(np.concatenate(parts), rate, " ".join(texts), clips[0].language)
    return Joined(utterance, tuple(starts), tuple(ends), tuple(first), tuple(speakers))


def _ended(text: str) -> str:
    """Return a text that ends its sentence, so that clips stay apart in the transcript."""
    bare = text.strip()
    ends_in_letters = bool(re.search(r"\w$", bare))
    is_latin = bare.isascii()
    return f"{bare}{'.' if is_latin else '。'}" if ends_in_letters else bare
