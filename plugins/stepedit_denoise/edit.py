"""The denoise edit: the same speech without the noise around it."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from stepedit_core import Edit, Plan, Prompt, Rendered, Route, Utterance
from stepedit_core.dsp.enhancement import NetName, missing_package
from stepedit_denoise.choice import ENSEMBLE, best_nets
from stepedit_denoise.prompt import INSTRUCTION

__all__ = ["Denoise"]

_GENTLE = 0.6
"""Strength that is tried where words are lost with the noise: 8 dB."""


class Denoise(Edit):
    """Remove noise from the speech.

    The parameters steer the dsp route; the llm route's sentence has no words for them, so it
    is open to their defaults alone.
    """

    backend: (
        Literal["auto", "noisereduce", "ensemble", "deepfilternet", "rnnoise", "hush"] | None
    ) = None
    """What removes the noise by the dsp route: a spectral gate (noisereduce), a network of an
    optional package (deepfilternet, rnnoise, hush), the mean of RNNoise and DeepFilterNet
    (ensemble), or auto, which is also what happens where none is named: the ensemble, or where its
    networks disagree DeepFilterNet, with more of the input; where not both are installed, one
    network (DeepFilterNet, RNNoise, Hush), and the gate where none is or where a kind of noise is
    given."""
    noise: Literal["stationary", "varying"] = "stationary"
    """Kind of noise for the gate: stationary (fans, hiss, hum) or varying (streets, rain)."""
    strength: float = Field(default=0.9, gt=0, le=1)
    """How much of the noise the dsp route takes away; 0.9 is 20 dB, 1 all of it. The rest of the
    input stays in the output: with a network, that share of it is mixed in."""

    @model_validator(mode="after")
    def _gate_alone_has_kinds(self) -> Self:
        """Refuse a kind of noise for a network, which hears that by itself."""
        if self.nets and self.noise != "stationary":
            raise ValueError(f"noise: backend={self.backend} takes no kind of noise; leave it out")
        return self

    @property
    def nets(self) -> tuple[NetName, ...]:
        """The networks that are named, empty for none."""
        if self.backend == "ensemble":
            return ENSEMBLE
        return (self.backend,) if self.backend in ("deepfilternet", "rnnoise", "hush") else ()

    def route_problem(self, route: Route) -> str | None:
        """Say what the llm prompt cannot express, and what the dsp route lacks."""
        if route == "llm" and self != Denoise():
            return (
                "denoise: the llm prompt has no words for backend=, noise= and strength=; "
                "leave them out or use the dsp route"
            )
        missing = [found for net in self.nets if (found := missing_package(net))]
        if route == "dsp" and missing:
            return f"denoise: {'; '.join(missing)}; or use backend=noisereduce"
        return super().route_problem(route)

    def gentler(self) -> Denoise | None:
        """Return a request that leaves more of the noise, and so loses fewer words."""
        return self.model_copy(update={"strength": _GENTLE}) if self.strength > _GENTLE else None

    def stronger(self) -> Denoise | None:
        """Return a request that takes all of the noise away."""
        return self.model_copy(update={"strength": 1.0}) if self.strength < 1.0 else None

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: all of the source is spoken at its own tempo.

        A decoder that looks sound up in the recording finds the noise there, too: its reference
        is the output of the dsp route.
        """
        return super().plan(utterance).but(uniform_tempo=True, as_reference=_without_noise)

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the checkpoint's sentence, which takes no transcript."""
        return Prompt.edit(INSTRUCTION)

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Gate the spectrum with noisereduce, or let a network remove the noise."""
        from stepedit_denoise.dsp import reduce_noise, reduce_noise_by_nets

        chooses = self.backend in (None, "auto") and self.noise == "stationary"
        if self.nets or (chooses and best_nets()):
            made = reduce_noise_by_nets(utterance, self.nets, strength=self.strength)
        else:
            made = reduce_noise(utterance, rng, noise=self.noise, strength=self.strength)
        return Rendered(*made)


@lru_cache(maxsize=2)  # several answers to one request have the same reference
def _without_noise(utterance: Utterance) -> Utterance:
    """Return the output of the dsp route."""
    return Denoise().render(utterance, np.random.default_rng(0)).utterance
