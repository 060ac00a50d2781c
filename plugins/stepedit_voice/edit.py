"""The voice edit: the same words and prosody in another voice."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
from pydantic import Field

from stepedit_core import Edit, Plan, Rendered, StepeditError, Utterance
from stepedit_voice.voices import find_voice, is_file

__all__ = ["LONGEST_SECONDS", "SHORTEST_SECONDS", "Voice"]

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 30.0
"""How long a recording may be from which a decoder takes a voice."""


class Voice(Edit):
    """Say the same in another voice.

    The recording's own codes, which hold the words and how they are said, are decoded with another
    recording as the reference of the voice. The language model is not asked. Signal processing
    moves pitch and vocal tract, and draws each sound towards those of the recording that are most
    like it. A decoder that looks sound up at its place is shown what signal processing made.
    """

    keeps_codes: ClassVar[bool] = True

    reference: str = Field(min_length=1, max_length=1_000)
    """A recording of the voice (a file, 1 to 30 s), or the name of a voice that is installed."""

    def files(self) -> tuple[str, ...]:
        """Return the recording of the voice, where the reference is not a name."""
        return (self.reference,) if is_file(self.reference) else ()

    def voice(self) -> Utterance:
        """Return the recording of the voice.

        Raises:
            StepeditError: if there is none, its licence or consent is not stated, or it is too
                short or too long.
        """
        found = find_voice(self.reference)
        if problem := found.problem():
            raise StepeditError(f"voice {self.reference!r}: {problem}")
        if not SHORTEST_SECONDS <= found.seconds <= LONGEST_SECONDS:
            raise StepeditError(
                f"voice {self.reference!r} lasts {found.seconds:.1f} s; give a recording of "
                f"{SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g} s"
            )
        return found

    def problem(self, utterance: Utterance) -> str | None:
        """Say why the voice cannot be used."""
        try:
            self.voice()
        except StepeditError as error:
            return str(error)
        return None

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: the source's codes and tempo, in the other voice."""
        plan = super().plan(utterance).but(uniform_tempo=True)
        if plan.problem:
            return plan
        voice = self.voice()
        return plan.but(voice=voice, as_reference=partial(_towards, voice=voice), notes=_notes)

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Move pitch, vocal tract and sounds towards the voice's recording; nothing is drawn."""
        from stepedit_voice.conversion import convert

        return Rendered(*convert(utterance, self.voice()))


def _towards(utterance: Utterance, *, voice: Utterance) -> Utterance:
    """Return an utterance moved towards a voice by signal processing."""
    from stepedit_voice.conversion import SHOWN_SHARE, convert

    return convert(utterance, voice, SHOWN_SHARE)[0]


def _notes(utterance: Utterance) -> tuple[str, ...]:
    """Say that there is no voice in a recording."""
    from stepedit_voice.conversion import NO_VOICE, hears_voice

    return () if hears_voice(utterance) else (NO_VOICE,)
