"""Reward of the words' phones in the sound of an answer, each phone by itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np

from stepedit_core.codes import GROUP_SECONDS, GROUP_SIZE
from stepedit_core.dsp.phones import (
    PHONE_SECONDS,
    missing_phones,
    phone_posteriors,
    phone_signs,
    text_phones,
    viterbi,
)
from stepedit_core.errors import StepeditError
from stepedit_core.reward import Answer, PlacedValue, Reward, RewardOptions, RewardTools
from stepedit_train.rl.last_answers import LastAnswers

__all__ = ["HeardPhones"]

_BEFORE, _AFTER = 0.16, 0.02
"""Seconds around a phone's spike that say it: CTC marks a phone late."""


class HeardPhones(Reward):
    """How surely a phone recogniser (hama, CTC) hears the words' phones in the sound, in order."""

    name: ClassVar[str] = "heard_phones"
    needs_audio: ClassVar[bool] = True

    def __init__(self, tools: RewardTools, options: RewardOptions) -> None:
        super().__init__(tools, options)
        if missing := missing_phones():
            raise StepeditError(f"the reward 'heard_phones' needs a phone recogniser: {missing}")
        self._last: LastAnswers[list[Sequence[PlacedValue] | None]] = LastAnswers()

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return the mean probability of the words' phones, 0..1; None where no words are known."""
        return [
            None if parts is None else float(np.mean([one.value for one in parts]))
            for parts in self.by_part(answers)
        ]

    def by_part(self, answers: Sequence[Answer]) -> list[Sequence[PlacedValue] | None]:
        """Return the probability of each phone, and the groups of codes that say it.

        Probabilities are taken along the likeliest path that says all phones; those heard last are
        not heard again.
        """
        return self._last.get(answers, lambda asked: list(map(self._heard, asked)))

    def per_token(self, answers: Sequence[Answer]) -> list[Sequence[float]]:
        """Return each phone's part of the score, at the last code that says it."""
        found: list[Sequence[float]] = []
        for answer, parts in zip(answers, self.by_part(answers), strict=True):
            own = np.zeros(GROUP_SIZE * answer.codes.groups)
            for part in parts or ():
                own[GROUP_SIZE * part.end - 1] += part.value / len(parts or ())
            found.append(own.tolist())
        return found

    @staticmethod
    def _heard(answer: Answer) -> Sequence[PlacedValue] | None:
        words = answer.request.words or answer.request.utterance.transcript
        phones = text_phones(words or "")
        if not len(phones):
            return None
        assert answer.audio is not None
        posteriors = phone_posteriors(answer.audio)
        groups = answer.codes.groups
        if len(posteriors) < len(phones):  # too short to say them all
            edges = np.linspace(0, groups, len(phones) + 1)
            return [
                PlacedValue(int(begin), max(int(begin) + 1, int(np.ceil(end))), 0.0)
                for begin, end in pairwise(edges)
            ]
        spikes, sure = viterbi(posteriors, phones, phone_signs()[1])
        found = []
        for spike, likely in zip(spikes.tolist(), sure.tolist(), strict=True):
            second = spike * PHONE_SECONDS
            end = min(groups, int((second + _AFTER) / GROUP_SECONDS) + 1)
            begin = min(end - 1, int(max(0.0, second - _BEFORE) / GROUP_SECONDS))
            found.append(PlacedValue(begin, end, float(np.exp(likely))))
        return found
