"""Pairs for the silence trimming edit: speech with pauses as the source, without as the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from stepedit_core import (
    MIN_MARGIN,
    AudioError,
    BuildContext,
    EditPair,
    PairBuilder,
    PairJob,
    PairOptions,
    Rejected,
    StepeditError,
    Utterance,
)
from stepedit_core.dsp.vad import total_seconds
from stepedit_trim_silence.dsp import trim
from stepedit_trim_silence.edit import TrimSilence
from stepedit_trim_silence.room_tone import lengthen

__all__ = ["TrimSilencePairs", "margin_of"]

_KINDS = ("inserted", "inside", "natural")


def margin_of(share: float) -> float:
    """Return the margin 1..10 of a share of the source that is silence the target lacks.

    Straight from 1 at nothing to 10 at 30 %; 6 lies at 17 %.
    """
    return float(np.clip(1 + 9 * share / 0.3, 1, 10))


class TrimSilencePairs(PairBuilder):
    """Insert room tone into each recording, and use the silence that it has anyway.

    ``inserted`` goes to the recording's pauses, its start and its end; ``inside`` to quiet moments
    inside the speech, where no pause need be; ``natural`` is what the recording has.

    Either way the target is the recording cut by the timestamps of Silero VAD, so that
    it holds neither the silence inserted nor the recording's own.
    """

    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, str]] = {
        "kinds": "inserted, inside, natural, joined by +; default inserted+natural",
        "share": "least and greatest silence inserted over duration; default 0.25:0.6",
        "clean_share": "share of recordings also paired with themselves, pauses cut; default 0",
    }

    def settings(
        self, options: Mapping[str, str]
    ) -> tuple[tuple[str, ...], tuple[float, float], float]:
        """Return kinds, shares of inserted silence and the share of clean recordings.

        Raises:
            StepeditError: naming the setting that is wrong and what it may be.
        """
        asked = PairOptions(options)
        low, high = asked.limits("share", "0.25:0.6")
        if not 0 < low <= high <= 3:
            raise StepeditError(f"share: LOW:HIGH above 0 and up to 3, got {low:g}:{high:g}")
        kinds = asked.words("kinds", _KINDS, "inserted+natural")
        return kinds, (low, high), asked.share("clean_share")

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield one pair for each kind of silence."""
        kinds, shares, clean_share = self.settings(context.options)
        recording = job.items[0].read()
        try:
            target, trimmed = trim(recording)
        except AudioError:
            yield Rejected("no speech was found")
            return
        for kind in kinds:
            source, facts = recording, dict(trimmed)
            if kind != "natural":
                try:
                    source, facts = _inserted(recording, kind, trimmed, shares, context.rng)
                except StepeditError as error:
                    yield Rejected(f"{kind}: {error}")
                    continue
            yield self._checked(source, target, {"kind": kind, **facts})
        if context.rng.random() < clean_share:
            details = {"kind": "none", "unchanged": True}
            yield EditPair(target, target, TrimSilence(), MIN_MARGIN, details)

    def _checked(
        self, source: Utterance, target: Utterance, facts: Mapping[str, Any]
    ) -> EditPair | Rejected:
        """Return the pair if its margin is large enough."""
        share = 1 - target.seconds / source.seconds
        margin = margin_of(share)
        details = {**facts, "share": round(share, 4)}
        return self.kept(source, target, TrimSilence(), margin, details)


def _inserted(
    recording: Utterance,
    kind: str,
    trimmed: Mapping[str, Any],
    shares: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[Utterance, dict[str, Any]]:
    """Lengthen pauses; the target is made from the recording, so nothing inserted is in it."""
    share = float(rng.uniform(*shares))
    source, spans = lengthen(recording, share, rng, inside=kind == "inside")
    return source, {
        "natural_seconds": trimmed["removed_seconds"],
        "inserted_spans": [[round(start, 6), round(end, 6)] for start, end in spans],
        "inserted_seconds": round(total_seconds(spans), 4),
    }
