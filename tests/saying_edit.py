"""An edit for tests that says a text of its own, as clones do."""

from __future__ import annotations

from stepedit_core.dsp.words import read_seconds
from stepedit_core.edit import Edit
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.utterance import Utterance

__all__ = ["Say"]


class Say(Edit):
    """Say a text of its own."""

    text: str
    """Which."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.clone(utterance.transcript or "", self.text)

    def transcript_after(self, utterance: Utterance) -> str:
        return self.text

    def plan(self, utterance: Utterance) -> Plan:
        ratio = min(20.0, read_seconds(self.text) / utterance.seconds)
        return super().plan(utterance).but(length_ratio=ratio)

    def saying(self, text: str) -> Edit:
        return self.model_copy(update={"text": text})
