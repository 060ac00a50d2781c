"""The scene edit: the same speech in other surroundings, a background and a room."""

from __future__ import annotations

import difflib

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from stepedit_core import Edit, Plan, Rendered, Route, StepeditError, Utterance
from stepedit_scene.surroundings import BACKGROUNDS, ROOMS, is_file, read_file

__all__ = ["Scene"]

_NEEDS = (
    "scene: room={room} needs pyroomacoustics (pip install pyroomacoustics, or the extra rooms); "
    "or give an impulse response, room=FILE"
)


class Scene(Edit):
    """Put the speech into other surroundings: a background, a room, or both.

    The room comes first, then the background at its ratio to the speech in that room. Words, voice,
    length and timing stay.
    """

    background: str | None = Field(default=None, min_length=1, max_length=1_000)
    """What is heard behind the speech: rain, street, hum, babble, white, or a file."""
    snr_db: float | None = Field(default=None, ge=-5, le=40)
    """Power of the speech over the background's, both between 50 Hz and 4 kHz and over the whole
    length, in dB; 15 where it is not given."""
    room: str | None = Field(default=None, min_length=1, max_length=1_000)
    """The room: small, large, hall, or an impulse response (a file)."""

    @field_validator("background", "room")
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse a name that is none with the nearest known one."""
        named = tuple(BACKGROUNDS if info.field_name == "background" else ROOMS)
        if value is None or value in named or is_file(value):
            return value
        close = difflib.get_close_matches(value.strip().lower(), named, 1, 0.6)
        hint = f"; did you mean {close[0]!r}? There are" if close else "; there are"
        raise ValueError(f"no such name{hint} {', '.join(named)}, or give a file")

    @model_validator(mode="after")
    def _something(self) -> Scene:
        """Hold that there is something to do, and a background to have a ratio."""
        if self.background is None and self.room is None:
            raise ValueError("give background=, room= or both")
        if self.snr_db is not None and self.background is None:
            raise ValueError("snr_db goes with background=")
        return self

    @property
    def ratio_db(self) -> float:
        """The ratio of speech to background in dB."""
        return 15.0 if self.snr_db is None else self.snr_db

    def files(self) -> tuple[str, ...]:
        """Return the recordings that the request names."""
        return tuple(one for one in (self.background, self.room) if one and is_file(one))

    def changes_level(self) -> bool:
        """Return True: a background is heard in the pauses."""
        return True

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: all of the source is spoken at its own tempo."""
        return super().plan(utterance).but(uniform_tempo=True)

    def problem(self, utterance: Utterance) -> str | None:
        """Say that a file cannot be used, or that silence has no ratio to a background."""
        try:
            for one in self.files():
                read_file(one)
        except StepeditError as error:
            return str(error)
        if not utterance.samples.any():
            return "the recording is silent: there is no speech to put into a scene"
        return None

    def route_problem(self, route: Route) -> str | None:
        """Say what simulated rooms need."""
        from stepedit_core.dsp.rooms import can_simulate

        if route == "dsp" and self.room in ROOMS and not can_simulate():
            return _NEEDS.format(room=self.room)
        return super().route_problem(route)

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Convolve with the room's response, and mix the background in.

        Raises:
            StepeditError: if the recording or the background is silent, or a file cannot be read.
            MissingDependencyError: if a named room needs pyroomacoustics.
        """
        from stepedit_scene.surroundings import surrounded

        return Rendered(*surrounded(utterance, self.background, self.ratio_db, self.room, rng))
