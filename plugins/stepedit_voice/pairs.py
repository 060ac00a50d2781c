"""Pairs for the voice edit: the same words by two speakers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    BuildContext,
    CorpusItem,
    EditPair,
    PairBuilder,
    PairJob,
    PairOptions,
    Rejected,
    Utterance,
)
from stepedit_core.dsp.acoustics import difference, measure
from stepedit_core.dsp.words import normalised, split_words
from stepedit_voice.edit import LONGEST_SECONDS, SHORTEST_SECONDS, Voice

__all__ = ["VoicePairs", "margin_of"]

_FULL_SEMITONES, _FULL_DB = 12.0, 12.0
_BANDS = tuple(200.0 * 2 ** (step / 3) for step in range(15))


def margin_of(source: Utterance, target: Utterance) -> float:
    """Return the margin 1..10 between two voices that say the same.

    The greater one of the distance in pitch (10 at an octave, about that between the mean of men
    and of women) and in long-term spectrum (10 at 12 dB, root mean square over third octaves from
    200 Hz to 5 kHz without the difference in level).
    """
    shift = difference(measure(source), measure(target))
    pitch = abs(shift.f0 or 0.0) / _FULL_SEMITONES
    first, second = (_spectrum(sound) for sound in (source, target))
    apart = first - second
    timbre = float(np.std(apart)) / _FULL_DB
    return float(np.clip(1 + 9 * max(pitch, timbre), 1, 10))


def _spectrum(utterance: Utterance) -> npt.NDArray[np.float64]:
    """Return the level of each third octave in dB, ``(15,)``; where there is none, -100."""
    rate = utterance.sample_rate
    power = np.abs(np.fft.rfft(utterance.samples.astype(np.float64))) ** 2 / len(utterance.samples)
    hertz = np.fft.rfftfreq(len(utterance.samples), 1 / rate)
    levels = [
        10
        * np.log10(
            max(1e-10, float(power[np.abs(np.log2(np.maximum(hertz, 1) / c)) < 1 / 6].sum()))
        )
        for c in _BANDS
    ]
    return np.array(levels)


class VoicePairs(PairBuilder):
    """Pairs recordings of one text by different speakers (parallel corpora).

    The reference of the edit is another recording of the target's speaker where there is one, and
    the target itself where there is none, so that no answer needs to be copied from the reference.
    """

    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, str]] = {
        "each": "how many other speakers to pair each recording with; default 1",
    }

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield one job for each pair; what nobody else says is a job to be rejected."""
        each = PairOptions(options).count("each", 1)
        known = list(items)
        said: dict[str, list[CorpusItem]] = {}
        own: dict[str, list[CorpusItem]] = {}
        for item in known:
            words = " ".join(normalised(word.text) for word in split_words(item.transcript or ""))
            if item.speaker and words:
                said.setdefault(words, []).append(item)
                own.setdefault(item.speaker, []).append(item)
        paired: set[str] = set()
        for group in said.values():
            for place, source in enumerate(group):
                turned = [*group[place + 1 :], *group[:place]]
                others = [other for other in turned if other.speaker != source.speaker][:each]
                for target in others:
                    paired.add(source.id)
                    more = [x for x in own[str(target.speaker)] if x.id != target.id]
                    reference = more[0] if more else target
                    yield PairJob(f"{source.id}->{target.id}", (source, target, reference))
        for item in known:
            if item.id not in paired:
                why = "the words are said by no other speaker" if item.speaker else "no speaker"
                yield PairJob(f"{item.id}/alone", (item,), {"reason": why})

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pair of one job."""
        if len(job.items) == 1:
            yield Rejected(str(job.params.get("reason")), {"item": job.items[0].id})
            return
        first, second, voice = job.items
        source, target, reference = first.read(), second.read(), voice.read()
        if not SHORTEST_SECONDS <= reference.seconds <= LONGEST_SECONDS:
            why = f"reference not within {SHORTEST_SECONDS:g}..{LONGEST_SECONDS:g} s"
            yield Rejected(why, {"reference": voice.id, "seconds": reference.seconds})
            return
        margin = margin_of(source, target)
        details = {"source": first.id, "target": second.id, "reference": voice.id}
        yield self.kept(source, target, Voice(reference=voice.path), margin, details)
