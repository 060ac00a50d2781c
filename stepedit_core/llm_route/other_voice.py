"""How a recording's own codes are decoded in another voice."""

from __future__ import annotations

import logging
from typing import Protocol

from stepedit_core.codes import DualCodes
from stepedit_core.engine import DecodeRequest, GenerateRequest, SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.utterance import Utterance

__all__ = ["AlignedDecoder", "in_other_voice"]

_log = logging.getLogger(__name__)


class AlignedDecoder(Protocol):
    """Optional ability of an engine: its decoder looks sound up in the reference at its place."""

    def aligns_references(self) -> bool:
        """Whether a reference that says the source's words at its pace serves better."""


def in_other_voice(
    request: GenerateRequest, output: DualCodes, voice: Utterance, engine: SpeechEngine
) -> DecodeRequest:
    """Return how the source's own codes are decoded in another voice.

    A decoder that looks sound up at its place finds none in a recording of other words: it is
    shown the source, moved towards the voice (`Plan.towards_voice`), and the voice's own speaker
    vector.
    """
    plain = DecodeRequest(output, voice, request.seed)
    towards = request.plan.towards_voice
    if towards is None or not _aligns_references(engine):
        return plain
    try:
        moved = towards(request.utterance)
    except StepeditError as error:  # no voice is heard in a recording of whispers
        _log.warning("the decoder is shown the voice's recording as it is: %s", error)
        return plain
    places = SourceMap.identity(output)
    return DecodeRequest(output, moved, request.seed, places, None, voice)


def _aligns_references(engine: SpeechEngine) -> bool:
    """Return whether an engine's decoder looks sound up in a reference at its place."""
    says = getattr(engine, "aligns_references", None)
    return says is not None and bool(says())
