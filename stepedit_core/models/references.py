"""Codes and reference features of the utterances that an engine has met lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from stepedit_core.codes import DualCodes
from stepedit_core.engine import DecodeRequest, Latent
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.decoder.decoder import DecodeInput, Reference
from stepedit_core.models.stage_clock import StageClock
from stepedit_core.models.tokenizer.preprocess import PEAK_LIMIT
from stepedit_core.utterance import Utterance

__all__ = ["ReferenceCache"]

Value = TypeVar("Value")


class ReferenceCache:
    """Codes and reference features of utterances; those of recent ones are kept.

    Not locked: the engine sees to that.
    """

    def __init__(self, parts: EngineParts, clock: StageClock, size: int) -> None:
        """Keep up to ``size`` utterances' codes, and as many features; nothing is kept yet."""
        self.parts, self._clock = parts, clock
        self._codes: _LruCache[DualCodes] = _LruCache(size)
        self._features: _LruCache[Any] = _LruCache(size)

    def accepts(self, latent: Latent) -> bool:
        """Return whether these weights made it, and the decoder's reference lies on its grid."""
        return (
            latent.made_by == self.parts.fingerprint and self.parts.decoder.flow.aligned_reference
        )

    def codes(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance; raises AudioError if one is too short."""
        found: dict[str, DualCodes] = {}
        new: dict[str, Utterance] = {}
        for utterance in utterances:
            known = self._codes.get(utterance.digest)
            if known is None:
                new[utterance.digest] = utterance
            else:
                found[utterance.digest] = known
        if new:
            with self._clock.stage("encode", sum(u.seconds for u in new.values())):
                recordings = [(u.samples, u.sample_rate) for u in new.values()]
                found.update(zip(new, self.parts.tokenizer.encode(recordings), strict=True))
        for key, codes in found.items():
            self._codes.put(key, codes)
        return [found[utterance.digest] for utterance in utterances]

    def voices(self, requests: Sequence[DecodeRequest]) -> list[tuple[Reference, float]]:
        """Return what the decoder needs of each reference, and where its codes begin, in s."""
        latents = [r.latent if r.latent and self.accepts(r.latent) else None for r in requests]
        unknown = [r.reference for r, own in zip(requests, latents, strict=True) if own is None]
        encoded = iter(self.codes(unknown))
        voices = []
        for request, latent in zip(requests, latents, strict=True):
            codes = next(encoded) if latent is None else latent.codes
            features = self._features_of(request.reference, codes.start)
            mel = features.mel[0].numpy() if latent is None else latent.state.copy()
            if request.voice is not None:
                features = self._features_of(request.voice, 0.0)
            voice = Reference(codes.interleave(), mel, features.embedding[0].numpy())
            voices.append((voice, codes.start))
        return voices

    def inputs(self, requests: Sequence[DecodeRequest]) -> list[DecodeInput]:
        """Return what the decoder is given for each request."""
        return [
            DecodeInput(
                request.codes.interleave(),
                voice,
                request.seed % 2**63,
                source_map=request.source_map and request.source_map.counted_from(start),
            )
            for request, (voice, start) in zip(requests, self.voices(requests), strict=True)
        ]

    def gain(self, request: DecodeRequest) -> float:
        """Return what brings decoded audio back to its reference's level.

        The public system lowers a reference to a peak of 0.6 before it takes its mel, and speaks at
        that level.
        """
        if request.latent is not None and self.accepts(request.latent):
            return request.latent.gain
        peak = float(np.abs(request.reference.samples).max(initial=0.0))
        return max(1.0, peak / PEAK_LIMIT)

    def voice(self, utterance: Utterance) -> Any:
        """Return the speaker vector of an utterance, float32 ``(size,)``."""
        return self._features_of(utterance, 0.0).embedding[0].numpy()

    def _features_of(self, utterance: Utterance, begin: float) -> Any:
        """Return mel and speaker vector of an utterance, the mel from where its codes begin."""
        start = begin if self.parts.decoder.flow.aligned_reference else 0.0
        key = f"{utterance.digest} {start!r}"
        features = self._features.get(key)
        if features is None:
            with self._clock.stage("reference", utterance.seconds):
                features = self.parts.reference.encode(
                    utterance.samples, utterance.sample_rate, start
                )
            self._features.put(key, features)
        return features

    def clear(self) -> None:
        """Forget all of them."""
        self._codes.clear()
        self._features.clear()


class _LruCache(Generic[Value]):
    """Keeps up to ``size`` values by key; not locked, the owner sees to that."""

    def __init__(self, size: int) -> None:
        """Keep nothing yet; ``size`` 0 never keeps anything."""
        self.size = size
        self._values: OrderedDict[str, Value] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        """Say whether a value is kept."""
        return key in self._values

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """Return a value and mark it as used, or None."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: str, value: Value) -> None:
        """Keep a value; forget the least recently used ones beyond ``size``."""
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self.size:
            self._values.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
