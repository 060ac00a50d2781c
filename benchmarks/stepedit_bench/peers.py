"""Published results of other systems, shown only beside runs of the same protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["Peer", "peers", "peers_for", "protocol_of"]


@dataclass(frozen=True)
class Peer:
    """One published row.

    Attributes:
        system: who made the recordings.
        edit: name of the edit.
        language: of the rows, or ``avg``.
        unit: of the values.
        first_iteration: iteration that the first value belongs to.
        values: one per iteration, or as the protocol's note says.
        source: where they were published.
        protocol: how they were measured.
    """

    system: str
    edit: str
    language: str
    unit: str
    first_iteration: int
    values: tuple[float, ...]
    source: str
    protocol: Mapping[str, str]


@cache
def peers() -> tuple[Peer, ...]:
    """Return all published rows that ship with the bench."""
    text = files("stepedit_bench").joinpath("peers.json").read_text(encoding="utf-8")
    rows = json.loads(text)["results"]
    return tuple(Peer(**{**row, "values": tuple(row["values"])}) for row in rows)


def protocol_of(settings: Mapping[str, Any], edit: str) -> dict[str, str] | None:
    """Return a run's protocol in the words of ``peers.json``, or None where none can match.

    A run of some of the cases, with the prompt fixed, or without a judge has no published
    counterpart.
    """
    judge = settings["judges"].get(edit) or settings["judges"].get("*")
    protocol = settings["protocol"]
    if judge is None or settings.get("limit") is not None or protocol["prompt_fixed"]:
        return None
    return {
        "suite": str(settings["suite"]),
        "judge": str(judge["name"]),
        "model": str(judge["model"]),
        "counting": "public",
        "iteration_0": "external system" if protocol["source"] else "zero-shot clone",
    }


def peers_for(settings: Mapping[str, Any], edit: str) -> list[Peer]:
    """Return the published rows of an edit that were measured as a run was."""
    own = protocol_of(settings, edit)
    if own is None:
        return []
    return [peer for peer in peers() if peer.edit == edit and dict(peer.protocol) == own]
