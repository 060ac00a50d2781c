"""The denoise edit: the same speech without the noise around it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from stepedit_core import Edit, Plan, Prompt, Rendered, Route, Utterance
from stepedit_denoise.prompt import INSTRUCTION

__all__ = ["Denoise"]


class Denoise(Edit):
    """Remove noise from the speech.

    The parameters steer the dsp route; the llm route's sentence has no words for them, so it
    is open to their defaults alone.
    """

    noise: Literal["stationary", "varying"] = "stationary"
    """Kind of noise for the dsp route: stationary (fans, hiss, hum) or varying (streets, rain)."""
    strength: float = Field(default=0.9, gt=0, le=1)
    """How much of the noise the dsp route takes away; 0.9 is 20 dB, 1 all of it."""

    def route_problem(self, route: Route) -> str | None:
        """Say that the llm prompt cannot express other than default parameters."""
        if route == "llm" and self != Denoise():
            return (
                "denoise: the llm prompt has no words for noise= and strength=; "
                "leave them out or use the dsp route"
            )
        return super().route_problem(route)

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: all of the source is spoken at its own tempo."""
        return super().plan(utterance).but(uniform_tempo=True)

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the checkpoint's sentence, which takes no transcript."""
        return Prompt.edit(INSTRUCTION)

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Gate the spectrum with noisereduce."""
        from stepedit_denoise.dsp import reduce_noise

        edited, details = reduce_noise(utterance, rng, noise=self.noise, strength=self.strength)
        return Rendered(edited, details)
