"""An engine without a model, for tests: a coarse tokenizer that inverts, and an echoing LLM."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import (
    GROUP_SECONDS,
    LINGUISTIC_PER_GROUP,
    SEMANTIC_PER_GROUP,
    DualCodes,
    FreeGroups,
)
from stepedit_core.engine import DecodeRequest, GenerateRequest, Infilled, InfillRequest
from stepedit_core.errors import EngineError
from stepedit_core.utterance import Utterance

__all__ = ["FakeEngine"]

RATE = 24_000
FRAME = RATE // 25
"""Samples of one semantic code: 40 ms, so that sines of whole cycles lie 25 Hz apart."""
FIRST_BIN, BINS, LEVELS = 2, 64, 64
LEVEL_DB = 1.25
"""Step between levels in dB; level 0 is silence, level 63 an amplitude of 1."""

IntArray = npt.NDArray[np.int64]


def _analyse(frames: npt.NDArray[np.float64]) -> IntArray:
    """Return one semantic code per frame: its level in dB and its strongest frequency.

    Args:
        frames: float64, shape ``(n, 960)``.

    Returns:
        int64, shape ``(n,)``: ``level * 64 + bin``.
    """
    spectrum = np.abs(np.fft.rfft(frames, axis=1))[:, FIRST_BIN : FIRST_BIN + BINS]
    peak = spectrum.argmax(axis=1)
    amplitude = np.sqrt(2 * np.mean(frames**2, axis=1))
    level_db = 20 * np.log10(np.maximum(amplitude, 1e-9))
    level = np.clip(np.round(LEVELS - 1 + level_db / LEVEL_DB), 0, LEVELS - 1).astype(np.int64)
    return np.asarray(level * BINS + np.where(level > 0, peak, 0), dtype=np.int64)


def _synthesise(semantic: IntArray) -> npt.NDArray[np.float32]:
    """Return 40 ms of a sine per semantic code, shape ``(960 * n,)``; frames join at zero."""
    level, peak = semantic // BINS, semantic % BINS + FIRST_BIN
    amplitude = np.where(level > 0, 10 ** ((level - (LEVELS - 1)) * LEVEL_DB / 20), 0.0)
    cycles = np.arange(FRAME) / FRAME
    waves = amplitude[:, None] * np.sin(2 * np.pi * peak[:, None] * cycles)
    return waves.reshape(-1).astype(np.float32)


def _linguistic(semantic: IntArray) -> IntArray:
    """Return the linguistic codes that go with semantic codes: coarser in level and frequency."""
    rows = semantic.reshape(-1, SEMANTIC_PER_GROUP)
    pairs = np.stack([rows[:, :2], rows[:, 1:]], axis=1)
    loudest = pairs.max(axis=2)
    return np.asarray(loudest // BINS // 2 * 32 + loudest % BINS // 2, np.int64).reshape(-1)


class FakeEngine:
    """A deterministic ``SpeechEngine`` for tests; it edits nothing and is no model.

    ``encode`` describes each 40 ms by level and strongest frequency, ``decode`` plays that
    back as sines, so that encoding the decoded audio gives the same codes. ``generate`` echoes
    the source at the length asked for, with frequencies moved by a draw from seed and prompt;
    groups outside ``free`` are copied.

    Attributes:
        requests: every request that ``generate`` has seen, in order.
    """

    def __init__(self, name: str = "fake", *, fail_after: int | None = None) -> None:
        """Create the engine.

        Args:
            name: what results carry.
            fail_after: raise EngineError from this many generated requests on.
        """
        self._name = name
        self._fail_after = fail_after
        self.requests: list[GenerateRequest] = []

    @property
    def name(self) -> str:
        """Short name that results carry."""
        return self._name

    @property
    def sample_rate(self) -> int:
        """Rate of decoded audio: 24000 Hz."""
        return RATE

    def describe(self) -> Mapping[str, Any]:
        """Return name, device, dtype and what stands for a hash of the weights."""
        return {"name": self._name, "device": "cpu", "dtype": "float32", "weights": "none"}

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance, padded with silence to whole groups."""
        return [self._encode(utterance) for utterance in utterances]

    def _encode(self, utterance: Utterance) -> DualCodes:
        samples = utterance.resample(RATE).samples.astype(np.float64)
        per_group = round(GROUP_SECONDS * RATE)
        groups = max(1, -(-len(samples) // per_group))
        padded = np.pad(samples, (0, groups * per_group - len(samples)))
        semantic = _analyse(padded.reshape(-1, FRAME))
        return DualCodes(_linguistic(semantic), semantic)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Echo the codes of each request.

        Raises:
            EngineError: once ``fail_after`` requests were generated.
        """
        return [self._generate(request) for request in requests]

    def _generate(self, request: GenerateRequest) -> DualCodes:
        if self._fail_after is not None and len(self.requests) >= self._fail_after:
            raise EngineError(f"the fake engine fails after {self._fail_after} requests, as asked")
        self.requests.append(request)
        groups = request.codes.groups
        rng = np.random.default_rng([request.seed, zlib.crc32(request.prompt.text.encode())])
        if request.free is None:
            length = max(1, round(groups * request.length_ratio))
            return _echo(request.codes, FreeGroups(0, groups, length), rng)
        parts, at = [], 0
        for free in request.free:
            parts += [request.codes.slice_groups(at, free.start), _echo(request.codes, free, rng)]
            at = free.stop
        parts.append(request.codes.slice_groups(at, groups))
        return DualCodes(
            np.concatenate([part.linguistic for part in parts]),
            np.concatenate([part.semantic for part in parts]),
            request.codes.start,
        )

    def infill(self, request: InfillRequest) -> Infilled:
        """Echo the groups that go at the expected length, as ``generate`` does."""
        length = max(1, round(request.expected))
        free = FreeGroups(request.start, request.stop, length)
        plain = replace(request.as_generation(), free=(free,))
        return Infilled(self._generate(plain), length, {"draws": 1})

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Return 24 kHz sines for codes; references and seeds change nothing here."""
        codes = [request.codes for request in requests]
        whole = [item.semantic[: item.groups * SEMANTIC_PER_GROUP] for item in codes]
        return [Utterance(_synthesise(semantic), RATE) for semantic in whole]


def _echo(codes: DualCodes, free: FreeGroups, rng: np.random.Generator) -> DualCodes:
    """Return ``free.length`` groups taken evenly from a source's free groups, slightly moved."""
    places = free.start + np.arange(free.length) * (free.stop - free.start) // free.length
    rows = codes.semantic[: codes.groups * SEMANTIC_PER_GROUP].reshape(-1, SEMANTIC_PER_GROUP)
    semantic = rows[places].reshape(-1)
    moved = np.clip(semantic % BINS + rng.integers(-2, 3, len(semantic)), 0, BINS - 1)
    semantic = np.where(semantic // BINS > 0, semantic // BINS * BINS + moved, 0)
    linguistic = _linguistic(semantic)
    assert len(linguistic) == free.length * LINGUISTIC_PER_GROUP
    return DualCodes(linguistic, semantic)
