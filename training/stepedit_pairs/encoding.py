"""Codes of pairs, many in a batch; those of a masked pair are exact outside its free groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from stepedit_core.codes import GROUP_SECONDS, DualCodes, FreeGroups, splice_codes
from stepedit_core.errors import StepeditError
from stepedit_core.pairs import EditPair
from stepedit_core.utterance import Utterance

__all__ = ["Encoder", "encode_pairs"]

_ALIGNED_SECONDS = 0.005
"""Codes that begin this far apart in source and target do not stand for the same samples."""
_SLACK = _ALIGNED_SECONDS / GROUP_SECONDS
_BATCH_SECONDS = 120.0
"""Audio in one call of the encoder, which bounds its memory."""


class Encoder(Protocol):
    """Gives codes: an engine, or its audio tokenizer alone."""

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance."""


def _on_code_grid(
    parts: Iterable[Mapping[str, int]], codes: DualCodes, origin: float
) -> list[FreeGroups]:
    """Move free groups from the builder's grid to that of the codes, rounding outwards.

    A builder without an engine counts groups from the first sample; a tokenizer trims leading
    silence, so its groups begin elsewhere.

    Args:
        parts: groups as the builder counts them.
        codes: of the source.
        origin: second of the source at which the builder's group 0 begins.
    """
    moved = []
    for part in parts:
        begin = origin + part["start"] * GROUP_SECONDS - codes.start
        end = origin + part["stop"] * GROUP_SECONDS - codes.start
        start = max(0, math.floor(begin / GROUP_SECONDS + _SLACK))
        stop = min(codes.groups, math.ceil(end / GROUP_SECONDS - _SLACK))
        growth = part["length"] - (part["stop"] - part["start"])
        moved.append(FreeGroups(start, stop, max(1, stop - start + growth)))
    return moved


def _utterances(pair: EditPair) -> dict[str, Utterance]:
    """Return the utterances of a pair by role."""
    roles = {"source": pair.source, "target": pair.target, "rejected": pair.rejected}
    return {role: utterance for role, utterance in roles.items() if utterance is not None}


def _spliced(pair: EditPair, codes: Mapping[str, DualCodes]) -> dict[str, DualCodes]:
    """Return codes by role, with the source's own outside the free groups of a masked pair."""
    parts: Any = pair.details.get("free_groups")
    if not parts:
        return dict(codes)
    origin = float(pair.details.get("codes_start", 0.0))
    source, target = codes["source"], codes["target"]
    if abs(source.start - target.start) > _ALIGNED_SECONDS:
        raise StepeditError(
            f"codes of a masked pair begin {abs(source.start - target.start):.3f} s apart; "
            "what was trimmed at the beginning differs"
        )
    try:
        exact = splice_codes(source, target, _on_code_grid(parts, source, origin))
    except ValueError as error:
        raise StepeditError(f"codes of a masked pair do not align: {error}") from error
    return {**codes, "target": exact}


def encode_pairs(
    encoder: Encoder | None, pairs: Sequence[EditPair]
) -> list[dict[str, DualCodes] | StepeditError]:
    """Return the codes of each pair by role (``source``, ``target``, ``rejected``).

    Equal utterances are encoded once, and utterances of like length share a call. Where
    ``pair.details["free_groups"]`` names the only groups that changed, the target's other codes
    are the source's own: a tokenizer hears context, so equal samples near a join may otherwise
    get other codes.

    Args:
        encoder: an engine or a tokenizer; every pair gets no codes where it is None.
        pairs: any number.

    Returns:
        Codes by role, or the error of a pair of which an utterance cannot be encoded or whose
        codes do not lie on one grid.
    """
    if encoder is None:
        return [{} for _ in pairs]
    known = _encode_all(encoder, [u for pair in pairs for u in _utterances(pair).values()])
    results: list[dict[str, DualCodes] | StepeditError] = []
    for pair in pairs:
        found = {role: known[u.digest] for role, u in _utterances(pair).items()}
        failed = next((code for code in found.values() if isinstance(code, StepeditError)), None)
        if failed is not None:
            results.append(failed)
            continue
        codes = {role: code for role, code in found.items() if isinstance(code, DualCodes)}
        try:
            results.append(_spliced(pair, codes))
        except StepeditError as error:
            results.append(error)
    return results


def _encode_all(
    encoder: Encoder, utterances: Iterable[Utterance]
) -> dict[str, DualCodes | StepeditError]:
    """Return codes by the utterances' digests; one that cannot be encoded spoils no other."""
    different = {utterance.digest: utterance for utterance in utterances}
    known: dict[str, DualCodes | StepeditError] = {}
    batch: list[str] = []
    for name in sorted(different, key=lambda name: different[name].seconds):
        seconds = different[name].seconds
        if batch and (len(batch) + 1) * seconds > _BATCH_SECONDS:
            known.update(_encode_batch(encoder, {key: different[key] for key in batch}))
            batch = []
        batch.append(name)
    known.update(_encode_batch(encoder, {key: different[key] for key in batch}))
    return known


def _encode_batch(
    encoder: Encoder, batch: Mapping[str, Utterance]
) -> dict[str, DualCodes | StepeditError]:
    """Encode a batch; if it fails, each alone, so that the culprit is known."""
    if not batch:
        return {}
    try:
        return dict(zip(batch, encoder.encode(list(batch.values())), strict=True))
    except StepeditError as error:
        if len(batch) == 1:
            return dict.fromkeys(batch, error)
    parts = [_encode_batch(encoder, {name: utterance}) for name, utterance in batch.items()]
    return {name: codes for part in parts for name, codes in part.items()}
