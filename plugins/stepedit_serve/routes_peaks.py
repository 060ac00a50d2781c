"""The outline of a version's waveform, so that a page need not decode hours of audio."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import soundfile as sf
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from stepedit_serve.asking import KeyOf, ServiceOf, answers
from stepedit_serve.service import Service
from stepedit_serve.sessions import audio_of
from stepedit_serve.tables import Node, Session

__all__ = ["Peaks", "peaks_of", "router"]

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])
BLOCK = 1 << 20
"""Samples that are held at once."""


class Peaks(BaseModel):
    """The outline of a waveform."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    seconds: float
    peaks: list[float]
    """Largest and smallest sample of each stretch, in turns; full scale is 1."""


@router.get("/{session}/nodes/{node}/peaks", responses=answers(404))
def peaks(
    session: str,
    node: str,
    service: ServiceOf,
    key: KeyOf,
    points: Annotated[int, Query(ge=1, le=100_000)] = 4_000,
) -> Peaks:
    """Return the largest and the smallest sample of so many stretches of a version."""
    service.database.owned(Session, session, key.name)
    found = service.database.node(session, node)
    return Peaks(seconds=found.seconds, peaks=peaks_of(service, found, points))


def peaks_of(service: Service, node: Node, points: int) -> list[float]:
    """Read a version in blocks and return its outline.

    Args:
        service: whose audio it is.
        node: the version.
        points: number of stretches; fewer where the version has fewer samples.

    Returns:
        Two numbers for each stretch, rounded to three places.
    """
    outline: list[float] = []
    with audio_of(service, node) as path, sf.SoundFile(path) as file:
        step = max(1, -(-file.frames // points))
        for block in file.blocks(step * max(1, BLOCK // step), dtype="float32", always_2d=True):
            mono = block.mean(axis=1)
            starts = np.arange(0, len(mono), step)
            high, low = np.maximum.reduceat(mono, starts), np.minimum.reduceat(mono, starts)
            outline.extend(np.round(np.stack([high, low], axis=1).reshape(-1), 3).tolist())
    return outline
