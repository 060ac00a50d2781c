"""What an engine knows of the utterances it is given: their codes and their voices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stepedit_core.codes import DualCodes
from stepedit_core.decoded import Decoded
from stepedit_core.llm_route.source_map import Origin
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.decoder.decoder import Reference
from stepedit_core.models.stages import StageClock
from stepedit_core.models.tokenizer.lru_cache import LruCache
from stepedit_core.utterance import Utterance

__all__ = ["Sources"]


class Sources:
    """Codes and reference features of utterances; those of recent ones are kept.

    Not locked: the engine sees to that.

    Args:
        parts: of the engine.
        clock: that the work is measured with.
        size: utterances that are kept.
        reuse: whether what these weights decoded is known by what it was decoded from. Decoders
            whose reference need not lie on its codes' grid do without, as the public system does.
    """

    def __init__(self, parts: EngineParts, clock: StageClock, size: int, *, reuse: bool) -> None:
        self.parts, self._clock = parts, clock
        self._reuses = reuse and parts.decoder.flow.aligned_reference
        self._codes: LruCache[DualCodes] = LruCache(size)
        self._features: LruCache[Any] = LruCache(size)

    def own(self, utterance: Utterance) -> Decoded | None:
        """Return what an utterance was decoded from, if these weights did it."""
        decoded = utterance.decoded if self._reuses else None
        return decoded if decoded is not None and decoded.by == self.parts.fingerprint else None

    def codes(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance; raises AudioError if one is too short."""
        keyed = [(u.digest, u, self.own(u)) for u in utterances]
        found: dict[str, DualCodes] = {}
        new: dict[str, Utterance] = {}
        for key, utterance, decoded in keyed:
            known = self._codes.get(key) if decoded is None else None
            if known is not None:
                found[key] = known
            elif decoded is None:
                new[key] = utterance
        if new:
            with self._clock.stage("encode", sum(u.seconds for u in new.values())):
                recordings = [(u.samples, u.sample_rate) for u in new.values()]
                fresh = self.parts.tokenizer.encode(recordings)
            for key, codes in zip(new, fresh, strict=True):
                found[key] = replace(codes, origin=Origin.same(key, codes))
        for key, codes in found.items():
            self._codes.put(key, codes)
        return [
            found[key]
            if decoded is None
            else replace(decoded.codes, origin=Origin.same(key, decoded.codes))
            for key, _, decoded in keyed
        ]

    def voices(self, references: Sequence[Utterance]) -> list[Reference]:
        """Return what the decoder needs of each reference."""
        voices = []
        for utterance, codes in zip(references, self.codes(references), strict=True):
            features = self._features.get(utterance.digest)
            if features is None:
                with self._clock.stage("reference", utterance.seconds):
                    start = codes.start if self.parts.decoder.flow.aligned_reference else 0.0
                    features = self.parts.reference.encode(
                        utterance.samples, utterance.sample_rate, start
                    )
                self._features.put(utterance.digest, features)
            own = self.own(utterance)
            mel = features.mel[0].numpy() if own is None else own.mel.copy()
            voices.append(Reference(codes.interleave(), mel, features.embedding[0].numpy()))
        return voices

    def clear(self) -> None:
        """Forget all of them."""
        self._codes.clear()
        self._features.clear()
