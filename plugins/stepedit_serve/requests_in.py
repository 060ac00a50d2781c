"""What clients ask for, read into chains: JSON or a sentence, consent, redaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stepedit_core import (
    Chain,
    Interpretation,
    InterpretationError,
    Setting,
    StepeditError,
    Utterance,
    get_registry,
    interpret,
)
from stepedit_serve.bodies import clean, texts_in
from stepedit_serve.errors import ApiError, api_error
from stepedit_serve.keys import Key

__all__ = [
    "CONSENT",
    "MAX_EDITS",
    "chain_from",
    "chain_said",
    "edit_names",
    "guarded",
    "names_in",
    "said",
    "segment_numbers",
]

CONSENT = frozenset({"clone", "voice"})
"""Edits that speak in somebody's voice words that he or she did not say."""
MAX_EDITS = 64
"""Edits of one request's chain."""
_MAX_SEGMENTS = 100_000


def chain_from(data: Mapping[str, Any] | str) -> Chain:
    """Return a chain from JSON data or text: a chain, or one edit.

    Raises:
        ApiError: (400) if it is none.
    """
    try:
        if isinstance(data, str):
            data = json.loads(data)
        for text in texts_in(data):
            clean(text)
        chain = Chain.from_data(data)
        count = len(chain.unrolled())
    except StepeditError as error:
        raise api_error(error, "chain") from error
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_chain", f"chain: {error}", param="chain") from error
    if count > MAX_EDITS:
        text = f"the chain has {count} edits; {MAX_EDITS} are the most of one request"
        raise ApiError(400, "invalid_chain", text, param="chain")
    if count == 0:
        raise ApiError(400, "invalid_chain", "the chain is empty: give an edit", param="chain")
    return chain


def said(sentence: str | list[str], about: Utterance | Setting | str | None) -> Interpretation:
    """Return what a sentence was read as; raises ApiError (400) where nothing does it."""
    try:
        return interpret(sentence, about)
    except StepeditError as error:
        raise api_error(error, "say") from error


def chain_said(found: Interpretation) -> Chain:
    """Return the chain of what was read; raises ApiError (400) where it is ambiguous or empty."""
    try:
        chain = found.chain
    except InterpretationError as error:
        raise api_error(error, "say") from error
    if not len(chain):
        raise ApiError(400, "invalid_sentence", "the sentence leaves nothing to do", param="say")
    return chain


def edit_names(chain: Chain) -> set[str]:
    """Return the names of all edits of a chain, those inside of others, too."""
    return names_in(chain.to_data())


def names_in(data: Mapping[str, Any]) -> set[str]:
    """Return the names of all edits in the data of a chain or of an edit."""
    names: set[str] = set()
    waiting: list[Any] = [data]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            if isinstance(one.get("edit"), str):
                names.add(one["edit"])
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return names


def guarded(chain: Chain, key: Key, attestation: str | None) -> Chain:
    """Return a chain as a key may run it: with consent for voices, and redaction first.

    Raises:
        ApiError: (403) where a file is named, without the consent, or where redaction is asked
            for and cannot be had.
    """
    for edit in chain.unrolled():
        if edit.files():
            raise ApiError(
                403,
                "not_permitted",
                f"{edit.name}: files of this machine are not read for requests; give a name",
                param="chain",
            )
    asking = sorted(edit_names(chain) & CONSENT)
    if asking and len((attestation or "").strip()) < 8:
        raise ApiError(
            403,
            "consent_required",
            f"{asking[0]} speaks in somebody's voice: say in consent_attestation who agreed to it",
            param="consent_attestation",
        )
    if not key.redact:
        return chain
    redact = get_registry().edits().get("redact")
    if redact is None:
        raise ApiError(
            403, "not_permitted", f"key {key.name} asks for redaction and no edit redacts here"
        )
    return Chain([redact.edit_class(), *chain])


def segment_numbers(text: str | None) -> list[int] | None:
    """Return the numbers that a text such as ``1,3-5`` names, or None.

    Raises:
        ApiError: (400) if it is no such text.
    """
    if text is None or not text.strip():
        return None
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or "1").isdecimal() or len(first + last) > 12:
            raise ApiError(400, "invalid_request", "segments look like 1,3-5", param="segments")
        found.extend(range(int(first), min(int(last or first), _MAX_SEGMENTS) + 1))
        if not found or len(found) > _MAX_SEGMENTS:
            raise ApiError(400, "invalid_request", "segments look like 1,3-5", param="segments")
    return found
