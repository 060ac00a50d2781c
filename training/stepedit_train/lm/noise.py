"""Noise on the model's input, against blind copying."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from stepedit_core.codes import GROUP_SIZE, LINGUISTIC_SIZE, SEMANTIC_SIZE
from stepedit_core.models.lm.chat import UNKNOWN, hide_words
from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.corruption import move_levels, replace_tokens
from stepedit_train.lm.rows import Example
from stepedit_train.settings import Settings
from stepedit_train.tokenizers.semantic.model import LEVELS

__all__ = [
    "NoiseSettings",
    "with_noise",
]


class NoiseSettings(Settings):
    """Shares of tokens that are changed, drawn anew for every batch; labels stay as they are."""

    renamed: ClassVar[Mapping[str, str]] = {"wordless": "text_dropout"}

    replaced: float = Field(default=0.0, ge=0, lt=1)
    """Source tokens replaced by a random one of their kind."""
    masked: float = Field(default=0.0, ge=0, lt=1)
    """Source groups (120 ms) replaced by ``<unk>``."""
    jittered: float = Field(default=0.0, ge=0, lt=1)
    """Semantic source tokens of which one of four base-8 digits moves by one level: for
    tokenizers with finite scalar quantisation."""
    history: float = Field(default=0.0, ge=0, lt=1)
    """Answer tokens that are replaced by a random one of their kind where they are read."""
    text_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Rows whose user turn has its words replaced by ``<unk>``: what guidance needs (Ho and
    Salimans 2022)."""

    @property
    def is_on(self) -> bool:
        """Whether anything is changed at all."""
        return any((self.replaced, self.masked, self.jittered, self.history, self.text_dropout))


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
    moved = move_levels(codes[source] - LINGUISTIC_SIZE, noise.jittered, LEVELS, rng)
    codes[source] = replace_tokens(moved + LINGUISTIC_SIZE, noise.replaced, rng)
    codes[answer] = replace_tokens(codes[answer], noise.history, rng)
    shown[audio] = codes[audio] + audio_base
    hidden = rng.random(-(-len(source) // GROUP_SIZE)) < noise.masked
    shown[source[np.repeat(hidden, GROUP_SIZE)[: len(source)]]] = UNKNOWN
    read = shown.tolist()
    if rng.random() < noise.text_dropout:
        read = hide_words(read, tokenizer)
    return dataclasses.replace(example, shown=read)
