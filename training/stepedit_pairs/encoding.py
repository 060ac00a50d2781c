"""Codes of a pair; those of a masked pair are exact outside its free groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.engines import FreeGroups, SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.pairs import EditPair
from stepedit_core.splicing import splice_codes

__all__ = ["encode_pair"]

_ALIGNED_SECONDS = 0.005
"""Codes that begin this far apart in source and target do not stand for the same samples."""


def _on_code_grid(parts: Iterable[Mapping[str, int]], codes: DualCodes) -> list[FreeGroups]:
    """Move free groups from the utterance's grid to that of its codes, rounding outwards.

    A builder counts groups from the first sample; a tokenizer trims leading silence, so its
    groups begin elsewhere.
    """
    moved = []
    for part in parts:
        begin = part["start"] * GROUP_SECONDS - codes.start
        end = part["stop"] * GROUP_SECONDS - codes.start
        start = max(0, math.floor(begin / GROUP_SECONDS + 1e-6))
        stop = min(codes.groups, math.ceil(end / GROUP_SECONDS - 1e-6))
        growth = part["length"] - (part["stop"] - part["start"])
        moved.append(FreeGroups(start, stop, max(1, stop - start + growth)))
    return moved


def encode_pair(engine: SpeechEngine | None, pair: EditPair) -> dict[str, DualCodes]:
    """Return codes by role (``source``, ``target``, ``rejected``), or none without an engine.

    Where ``pair.details["free_groups"]`` names the only groups that changed, the target's other
    codes are the source's own: a tokenizer hears context, so equal samples near a join may
    otherwise get other codes.

    Raises:
        StepeditError: if an utterance cannot be encoded, or the codes of a masked pair do not
            lie on one grid.
    """
    if engine is None:
        return {}
    roles = {"source": pair.source, "target": pair.target, "rejected": pair.rejected}
    given = {role: utterance for role, utterance in roles.items() if utterance is not None}
    codes = dict(zip(given, engine.encode(list(given.values())), strict=True))
    parts: Any = pair.details.get("free_groups")
    if parts:
        source, target = codes["source"], codes["target"]
        if abs(source.start - target.start) > _ALIGNED_SECONDS:
            raise StepeditError(
                f"codes of a masked pair begin {abs(source.start - target.start):.3f} s apart; "
                "what was trimmed at the beginning differs"
            )
        try:
            codes["target"] = splice_codes(source, target, _on_code_grid(parts, source))
        except ValueError as error:
            raise StepeditError(f"codes of a masked pair do not align: {error}") from error
    return codes
