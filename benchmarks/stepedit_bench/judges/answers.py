"""Parse the JSON answers of language models leniently."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from stepedit_bench.judges.prompts import Question
from stepedit_core.labels.spelling import labels_by_spelling
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Verdict

__all__ = ["JSON_NULL", "MalformedAnswer", "first_object", "read_answer"]

JSON_NULL = "(null)"
"""What ``Verdict.said`` holds for an answer whose label is JSON's null."""
_NEUTRAL = ("neutral", "normal", "none")


class MalformedAnswer(ValueError):
    """An answer that holds no JSON object of the form asked for."""


def first_object(text: str) -> Mapping[str, Any]:
    """Return the first JSON object in a text, whatever stands around it.

    Raises:
        MalformedAnswer: if there is none.
    """
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\{", text):
        try:
            found, _ = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    raise MalformedAnswer(f"no JSON object in {text[:80]!r}")


def read_answer(question: Question, text: str) -> Verdict:
    """Return the verdict that a text gives on a question.

    A label outside the set stays what it is: it is a wrong answer and counts as one.

    Raises:
        MalformedAnswer: if the text cannot be read.
    """
    found = first_object(text)
    if question.kind == "rating":
        return _rating(found)
    said = label = found.get("label")
    if label is None and "label" in found:
        said, label = JSON_NULL, "none"
    if not isinstance(label, str) or not label.strip():
        raise MalformedAnswer(f"no label in {text[:80]!r}")
    own = _canonical(label, question.labels)
    return Verdict(label=own, said=None if said == own else str(said))


def _canonical(label: str, labels: tuple[str, ...]) -> str:
    """Return a label in the spelling of the set, where it means one of it."""
    plain = re.sub(r"\s*\([^)]*\)", "", label).strip(" .\"'").casefold()
    plain = re.sub(r"[\s-]+", "_", plain)
    known = {name.casefold().replace(" ", "_"): name for name in labels}
    if plain not in known and plain in _NEUTRAL:
        plain = next((name for name in _NEUTRAL if name in known), plain)
    elif plain not in known:
        plain = _as_plugins_spell(plain)
    return known.get(plain, plain)


def _as_plugins_spell(label: str) -> str:
    """Return a label as the plugin that brings it spells it; an unknown one as it is."""
    spelt = labels_by_spelling(get_registry()).values()
    return next((labels[label] for labels in spelt if label in labels), label)


def _rating(found: Mapping[str, Any]) -> Verdict:
    """Read a rating of 1 to 3 and the items behind it."""
    score = found.get("score")
    if isinstance(score, str) and re.fullmatch(r"\s*[123](\.0+)?\s*", score):
        score = float(score)
    if isinstance(score, bool) or not isinstance(score, int | float) or score not in (1, 2, 3):
        raise MalformedAnswer(f"the score is {score!r}, not 1, 2 or 3")
    items = found.get("items")
    heard = {
        str(item["tag"]).strip("[]"): float(bool(item.get("heard")))
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, dict) and item.get("tag")
    }
    return Verdict(score=float(score), scores=heard)
