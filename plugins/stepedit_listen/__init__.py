"""Recognisers and aligners: Whisper, PocketSphinx, CTC phones, endpoints, pauses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepedit_core import hookimpl

if TYPE_CHECKING:
    from stepedit_core import Aligner, Diariser, Recogniser

__all__ = ["stepedit_aligners", "stepedit_diarisers", "stepedit_recognisers"]


@hookimpl
def stepedit_recognisers() -> Sequence[type[Recogniser]]:
    """Return Whisper, PocketSphinx, OpenAI-compatible endpoints and transformers pipelines."""
    from stepedit_listen.endpoint import Endpoint
    from stepedit_listen.pipeline import Pipeline
    from stepedit_listen.sphinx import SphinxRecogniser
    from stepedit_listen.whisper import TinyWhisper, Whisper

    return [Whisper, TinyWhisper, SphinxRecogniser, Endpoint, Pipeline]


@hookimpl
def stepedit_aligners() -> Sequence[type[Aligner]]:
    """Return PocketSphinx, CTC over phones, Whisper's word times, and pauses."""
    from stepedit_listen.ctc import CtcAligner
    from stepedit_listen.pauses import PauseAligner
    from stepedit_listen.sphinx import SphinxAligner
    from stepedit_listen.whisper import WhisperAligner

    return [SphinxAligner, CtcAligner, WhisperAligner, PauseAligner]


@hookimpl
def stepedit_diarisers() -> Sequence[type[Diariser]]:
    """Return the clustering of speaker vectors."""
    from stepedit_listen.voices import VoiceClusters

    return [VoiceClusters]
