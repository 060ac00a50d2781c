"""Noise on what the model is shown, so that it does not learn to copy blindly."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stepedit_core.codes import GROUP_SIZE, LINGUISTIC_SIZE, SEMANTIC_SIZE
from stepedit_core.models.lm.chat import UNKNOWN, hide_words
from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.settings import Settings
from stepedit_train.sft.rows import Example

__all__ = ["NoiseSettings", "with_noise"]

_LEVELS, _DIGITS = 8, 4
"""Semantic codes of the finite scalar quantiser are four digits of eight levels each."""

Ids = npt.NDArray[np.int64]


class NoiseSettings(Settings):
    """Shares of tokens that are changed, drawn anew for every batch; labels stay as they are."""

    replaced: float = Field(default=0.0, ge=0, lt=1)
    """Source tokens replaced by a random one of their kind."""
    masked: float = Field(default=0.0, ge=0, lt=1)
    """Source groups (120 ms) replaced by ``<unk>``."""
    jittered: float = Field(default=0.0, ge=0, lt=1)
    """Semantic source tokens of which one of four base-8 digits moves by one level: for
    tokenizers with finite scalar quantisation."""
    history: float = Field(default=0.0, ge=0, lt=1)
    """Answer tokens that are replaced by a random one of their kind where they are read."""
    wordless: float = Field(default=0.0, ge=0, lt=1)
    """Rows whose user turn has its words replaced by ``<unk>``: what guidance needs (Ho and
    Salimans 2022)."""

    @property
    def is_on(self) -> bool:
        """Whether anything is changed at all."""
        return any((self.replaced, self.masked, self.jittered, self.history, self.wordless))


def with_noise(
    example: Example, noise: NoiseSettings, tokenizer: TextTokenizer, rng: np.random.Generator
) -> Example:
    """Return the example with noise on its prompt and on its answer as it is read.

    Args:
        example: prompt and answer.
        noise: the shares.
        tokenizer: the language model's.
        rng: the only source of randomness.
    """
    audio_base = tokenizer.audio_base_id
    shown = np.array(example.ids, np.int64)
    codes = shown - audio_base
    audio = (codes >= 0) & (codes < LINGUISTIC_SIZE + SEMANTIC_SIZE)
    source = np.flatnonzero(audio[: example.prompt])
    answer = example.prompt + np.flatnonzero(audio[example.prompt :])
    codes[source] = _jittered(codes[source], noise.jittered, rng)
    codes[source] = _replaced(codes[source], noise.replaced, rng)
    codes[answer] = _replaced(codes[answer], noise.history, rng)
    shown[audio] = codes[audio] + audio_base
    hidden = rng.random(-(-len(source) // GROUP_SIZE)) < noise.masked
    shown[source[np.repeat(hidden, GROUP_SIZE)[: len(source)]]] = UNKNOWN
    read = shown.tolist()
    if rng.random() < noise.wordless:
        read = hide_words(read, tokenizer)
    return dataclasses.replace(example, shown=read)


def _replaced(codes: Ids, share: float, rng: np.random.Generator) -> Ids:
    linguistic = rng.integers(0, LINGUISTIC_SIZE, len(codes))
    semantic = LINGUISTIC_SIZE + rng.integers(0, SEMANTIC_SIZE, len(codes))
    other = np.where(codes < LINGUISTIC_SIZE, linguistic, semantic)
    return np.where(rng.random(len(codes)) < share, other, codes)


def _jittered(codes: Ids, share: float, rng: np.random.Generator) -> Ids:
    weight = _LEVELS ** rng.integers(0, _DIGITS, len(codes))
    step = rng.choice(np.array([-1, 1]), len(codes))
    digit = (codes - LINGUISTIC_SIZE) // weight % _LEVELS
    inside = (digit + step >= 0) & (digit + step < _LEVELS) & (codes >= LINGUISTIC_SIZE)
    moves = inside & (rng.random(len(codes)) < share)
    return np.where(moves, codes + step * weight, codes)
