"""The speed edit: the same words in the same voice and pitch, faster or slower."""

from __future__ import annotations

import difflib
from functools import lru_cache, partial
from typing import Any, Literal, get_args

import numpy as np
from pydantic import Field, field_validator, model_validator

from stepedit_core import Edit, Plan, Prompt, Rendered, Route, Utterance
from stepedit_speed.prompt import INFO, INSTRUCTION

__all__ = ["FACTORS", "Rate", "Speed", "tempo_steps"]

Rate = Literal["faster", "slower", "more_faster", "more_slower"]

FACTORS: dict[Rate, float] = {
    "faster": 1.35,
    "slower": 1 / 1.35,
    "more_faster": 1.6,
    "more_slower": 1 / 1.6,
}
"""What each word stands for: the number that divides the duration.

The authors of the checkpoint publish none, so these are ours. 1.35 lies six just noticeable
differences of speech tempo (5 %: Quené 2007, J. Phonetics 35, abstract) from the original, the
customary threshold of a large margin. 1.6 takes a reader at 170 words a minute to about 275;
comprehension declines slowly up to there and faster beyond (Foulke & Sticht 1969, Psychological
Bulletin 72, as summed up at en.copian.ca/library/research/sticht/aar/page99.htm).
"""
_TEMPO_STEP = np.log(1.05)


def tempo_steps(factor: float) -> float:
    """Return a change of tempo in just noticeable differences of 5 %; slower is negative."""
    return float(np.log(factor) / _TEMPO_STEP)


class Speed(Edit):
    """Make the speech faster or slower and keep its pitch.

    Exactly one of ``rate`` and ``factor`` is given. The llm route knows the four words of
    ``rate`` alone; the dsp route takes both.
    """

    rate: Rate | None = None
    """How to change the tempo, in a word; 1.35 times for faster, 1.6 times for more_faster."""
    factor: float | None = Field(default=None, ge=0.5, le=2.0)
    """Exact tempo: 2 halves the duration, 0.5 doubles it; by the dsp route only."""
    backend: Literal["sox", "rubberband", "signalsmith"] | None = None
    """What stretches time by the dsp route; the first of them that is installed where none is
    named."""

    @field_validator("rate", mode="before")
    @classmethod
    def _known_rate(cls, value: Any) -> Any:
        """Refuse an unknown word with the nearest known one."""
        known = get_args(Rate)
        if value is None or value in known:
            return value
        near = difflib.get_close_matches(str(value).lower().replace(" ", "_"), known, 1, 0.5)
        hint = f"; did you mean {near[0]!r}? There are" if near else "; there are"
        raise ValueError(f"no such rate{hint} {', '.join(known)}")

    @model_validator(mode="after")
    def _exactly_one(self) -> Speed:
        """Hold that a word or a factor is given, and not both."""
        if (self.rate is None) == (self.factor is None):
            raise ValueError("give either rate=faster|slower|more_faster|more_slower or factor=")
        return self

    @property
    def tempo(self) -> float:
        """The factor asked for, exact or by its word."""
        if self.factor is not None:
            return self.factor
        assert self.rate is not None
        return FACTORS[self.rate]

    def route_problem(self, route: Route) -> str | None:
        """Return why an exact factor has no llm route: the checkpoint has no words for it."""
        if route == "llm" and self.factor is not None:
            return (
                f"speed: the llm prompt has no words for an exact factor ({self.factor:g}); "
                f"use rate={'|'.join(INFO)} or the dsp route"
            )
        if route == "llm" and self.backend is not None:
            return "speed: the llm prompt has no words for backend=; leave it out or use route dsp"
        if route == "dsp" and self.backend is not None:
            from stepedit_speed.dsp import installed_backends

            if self.backend not in installed_backends():
                return f"speed: the program {self.backend} is not installed; leave backend= out"
        return super().route_problem(route)

    def gentler(self) -> Speed | None:
        """Return the smaller of the two words in the same direction, or the next backend."""
        less: dict[str, Rate] = {"more_faster": "faster", "more_slower": "slower"}
        if self.rate in less:
            return self.model_copy(update={"rate": less[self.rate]})
        return self.stronger()

    def stronger(self) -> Speed | None:
        """Return the same tempo by the next backend that is installed: there is no more of it."""
        from stepedit_speed.dsp import installed_backends

        known = installed_backends()
        after = known[known.index(self.backend) + 1 :] if self.backend in known else known[1:]
        return self.model_copy(update={"backend": after[0]}) if after else None

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: the source at one tempo, which gives the duration.

        A decoder that looks sound up in the recording blurs it when it is to be drawn out, and
        hurried speech anyhow; the dsp route is there for it.
        """
        tempo = self.tempo
        return (
            super()
            .plan(utterance)
            .but(
                length_ratio=1 / tempo,
                uniform_tempo=True,
                retimed=partial(_at_tempo, tempo=tempo),
            )
        )

    def needs_transcript(self, route: Route) -> bool:
        """Return whether the route needs the words: the prompt says them."""
        return route == "llm"

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the checkpoint's words for a rate.

        Raises:
            ValueError: for an exact factor, which has none.
        """
        if self.rate is None:
            raise ValueError(self.route_problem("llm"))
        text = (utterance.transcript or "").strip()
        return Prompt.edit(INSTRUCTION.format(info=INFO[self.rate], text=text))

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Stretch time by the best backend that is installed."""
        from stepedit_speed.dsp import stretch

        seed = int(rng.integers(2**31))
        edited, details = stretch(utterance, self.tempo, seed=seed, backend=self.backend)
        return Rendered(edited, details)


@lru_cache(maxsize=2)  # several answers to one request have the same reference
def _at_tempo(utterance: Utterance, *, tempo: float) -> Utterance:
    """Return the output of the dsp route."""
    from stepedit_speed.dsp import stretch

    return stretch(utterance, tempo)[0]
