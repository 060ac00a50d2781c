"""Recordings beside themselves with another melody, so that a decoder takes melody from codes.

An edit that nobody taught the decoder comes without label and places. If all that it saw was
speech whose melody is the reference's, it gives such an edit the reference's melody, whatever the
codes say.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from stepedit_core.dsp.prosody import ProsodyRecipe, transform
from stepedit_core.utterance import Utterance
from stepedit_train.data.cache import AUDIO_RATE, Cache
from stepedit_train.mel.sources import CACHED, Facts, Heard, Sound, cached_codes, cached_sound
from stepedit_train.seeds import rng_of

__all__ = ["FAMILY", "melodies", "melody_recipe"]

FAMILY = "melody"
"""Of these pairs in a store; no edit has this name, so that nothing is told of them."""
FLAT_SHARE = 0.3
"""Of the melodies that are almost flat; the others are up to twice as lively as they were."""
GLIDE_CENTS, RISE_SEMITONES = 150.0, 2.0


def melody_recipe(rng: np.random.Generator) -> ProsodyRecipe:
    """Draw a melody about the same median: the codes do not hold the height of a voice."""
    is_flat = rng.random() < FLAT_SHARE
    start, middle, end = (float(cents) for cents in rng.normal(0.0, GLIDE_CENTS, 3))
    return ProsodyRecipe(
        f0_range=float(rng.uniform(0.0, 0.3) if is_flat else rng.uniform(0.3, 2.0)),
        inflection_cents=(0.0, 0.0, 0.0) if is_flat else (start, middle, end),
        final_rise=0.0 if is_flat else float(rng.normal(0.0, RISE_SEMITONES)),
    )


def _sung(cache: Cache, index: int, seed: int) -> Sound:
    rng = rng_of(seed, FAMILY, index)
    speech = Utterance(cache.audio(index), AUDIO_RATE)
    return np.array(transform(speech, melody_recipe(rng), rng).samples), AUDIO_RATE


def melodies(
    cache: Cache, share: float, longest: float, seed: int, *, coded: bool
) -> Iterator[tuple[str, list[Heard]]]:
    """Yield name and utterances of blocks: recordings and what they are with another melody.

    Args:
        cache: of the data stage.
        share: of the recordings.
        longest: seconds; longer recordings are left out.
        seed: of the choice and of the melodies.
        coded: whether the cache's layer of codes is of the right tokenizer.
    """
    for begin in range(0, len(cache), CACHED):
        heard: list[Heard] = []
        for index, item in enumerate(cache.items[begin : begin + CACHED], begin):
            is_drawn = rng_of(seed, "melodies", index).random() < share
            if not is_drawn or item.audio_seconds > longest:
                continue
            facts = (item.id, item.speaker, item.split, FAMILY)
            own = partial(cached_codes, cache, index, coded)
            sound = partial(cached_sound, cache, index)
            heard.append(Heard(Facts(*facts, "source"), sound, own))
            sung = partial(_sung, cache, index, seed)
            heard.append(Heard(Facts(*facts, "target"), sung, lambda: None))
        if heard:
            yield f"{FAMILY}-{begin // CACHED:06d}", heard
