"""What is asked of each held-out utterance: the requests of the plugins' own default suites.

A row of the figures takes the parameters that the default cases of its edit ask for, such as
four rates or the labels of emotions, and puts them in turn to held-out speakers. Where a request
names words or times (masked, paralinguistic, clone) they are taken from the utterance at hand.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepedit_bench.figures.heldout import Held
from stepedit_bench.judges.events import sound_of
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Case
from stepedit_core.utterance import Utterance

__all__ = ["ROWS", "Item", "items_of"]

SPAN_SECONDS = 0.9
"""Length of the span that a masked edit may change: about a third of the utterances."""
CHAIN = ("denoise", "trim_silence", "denoise")
"""Edits that keep words and tempo, so that what a chain loses is lost by coding it again."""


@dataclass(frozen=True)
class Item:
    """One request put to one utterance.

    Attributes:
        row: of the figures.
        held: the utterance.
        case: the request as the scorer takes it; None where nothing is asked (identity, chain).
        edits: what runs, in order; empty for the identity edit.
        target: the utterance that an ideal output would be like, where one was recorded.
    """

    row: str
    held: Held
    case: Case | None
    edits: tuple[Edit, ...]
    target: Utterance | None = None

    @property
    def id(self) -> str:
        """Unique and the same for the same request on the same speech."""
        asked = json.dumps([edit.to_data() for edit in self.edits], sort_keys=True)
        prepared = "" if self.case is None else json.dumps(dict(self.case.prepare), sort_keys=True)
        mark = hashlib.sha256(f"{asked}{prepared}".encode()).hexdigest()[:8]
        return f"{self.row}/{self.held.id}-{mark}"


Request = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]
"""Edit as data, ``prepare`` and ``meta`` of a case."""
Make = Callable[[Sequence[Held], int], Item | None]


def _requests(edit: str, prepare: Mapping[str, Any] | None = None) -> list[Request]:
    """Return the different English requests of an edit's default suite that have an llm route.

    Args:
        edit: registered name.
        prepare: entries that ``prepare`` must have; None takes requests without any.

    Raises:
        StepeditError: if there are none.
    """
    registry = get_registry()
    found: dict[str, Request] = {}
    for case in registry.cases(registry.edit_class(edit), "default"):
        fits = (not case.prepare) if prepare is None else prepare.items() <= case.prepare.items()
        foreign = case.meta.get("text_language") not in (None, "en")
        if fits and not foreign and case.edit.route_problem("llm") is None:
            request = (case.edit.to_data(), dict(case.prepare), dict(case.meta))
            found.setdefault(json.dumps(request[:2], sort_keys=True), request)
    if not found:
        raise StepeditError(f"the default suite of {edit!r} has no request for the figures")
    return list(found.values())


def _case(held: Held, data: Mapping[str, Any], prepare: Any, meta: Any) -> Case:
    speech = held.speech
    return Case.model_validate(
        {
            "id": held.id,
            "edit": dict(data),
            "audio": held.id,
            "transcript": speech.transcript,
            "language": speech.language,
            "prepare": prepare,
            "meta": {**meta, "speaker": held.speaker},
        }
    )


def _item(row: str, held: Held, request: Request, target: Utterance | None = None) -> Item:
    case = _case(held, *request)
    return Item(row, held, case, (case.edit,), target)


def _in_turn(row: str, edit: str, prepare: Mapping[str, Any] | None = None) -> Make:
    """Put the requests of an edit to the utterances in turn."""
    requests = _requests(edit, prepare)
    return lambda pool, place: _item(row, pool[place], requests[place % len(requests)])


def _labels(row: str) -> Make:
    """Ask for emotions and styles by turns."""
    both = [_requests("emotion"), _requests("style")]

    def make(pool: Sequence[Held], place: int) -> Item:
        requests = both[place % 2]
        return _item(row, pool[place], requests[place // 2 % len(requests)])

    return make


def _masked(row: str) -> Make:
    """Confine the inner edits of the default suite to a span in the middle."""
    inner = [
        data["inner"]
        for data, _, _ in _requests("masked")
        if data["inner"]["edit"] not in ("masked", "trim_silence")
    ]

    def make(pool: Sequence[Held], place: int) -> Item:
        seconds = pool[place].speech.seconds
        start = round(max(0.0, (seconds - SPAN_SECONDS) / 2), 3)
        span = [start, round(min(seconds, start + SPAN_SECONDS), 3)]
        data = {"edit": "masked", "inner": inner[place % len(inner)], "spans": [span]}
        return _item(row, pool[place], (data, {}, {}))

    return make


def _paralinguistic(row: str) -> Make:
    """Put a sound between the words: after the first comma, otherwise in the middle."""
    texts = [str(data["text"]) for data, _, _ in _requests("paralinguistic")]
    named = dict.fromkeys(tag for text in texts for tag in re.findall(r"\[([^\]]+)\]", text))
    tags = [tag for tag in named if sound_of(tag) is not None]

    def make(pool: Sequence[Held], place: int) -> Item | None:
        words = re.sub(r"[\[\]]", "", pool[place].speech.transcript or "").split()
        commas = [n for n, word in enumerate(words[:-1], start=1) if word.endswith(",")]
        at = commas[0] if commas else len(words) // 2
        text = " ".join([*words[:at], f"[{tags[place % len(tags)]}]", *words[at:]])
        item = _item(row, pool[place], ({"edit": "paralinguistic", "text": text}, {}, {}))
        problem = item.edits[0].route_problem("dsp") or item.edits[0].problem(pool[place].speech)
        return None if problem else item

    return make


def _clone(row: str) -> Make:
    """Ask each voice for the words of its next utterance, which is then the target."""

    def make(pool: Sequence[Held], place: int) -> Item | None:
        held = pool[place]
        same = [other for other in pool if other.speaker == held.speaker]
        other = same[(same.index(held) + 1) % len(same)]
        if held.kind != "synthetic" or other is held:
            return None
        request = {"edit": "clone", "text": other.speech.transcript}
        return _item(row, held, (request, {}, {}), other.speech)

    return make


def _identity(row: str) -> Make:
    return lambda pool, place: Item(row, pool[place], None, ())


def _chain(row: str) -> Make:
    registry = get_registry()
    edits = tuple(registry.edit_class(name)() for name in CHAIN)

    def make(pool: Sequence[Held], place: int) -> Item:
        return Item(row, pool[place], None, edits)

    return make


def _denoise(row: str) -> Make:
    return _in_turn(row, "denoise", {"snr_db": 5})


def _trim(row: str) -> Make:
    return _in_turn(row, "trim_silence", {"silence_share": 0.3})


def _speed(row: str) -> Make:
    return _in_turn(row, "speed")


ROWS: Mapping[str, Callable[[str], Make]] = {
    "identity": _identity,
    "speed": _speed,
    "denoise": _denoise,
    "trim_silence": _trim,
    "masked": _masked,
    "emotion_style": _labels,
    "paralinguistic": _paralinguistic,
    "clone": _clone,
    "chain": _chain,
}
"""Row to its maker."""


def items_of(row: str, pools: Mapping[str, Sequence[Held]]) -> Iterator[Item]:
    """Yield the items of a row, real ones first; raises as ``_requests`` does."""
    make = ROWS[row](row)
    for pool in pools.values():
        for place in range(len(pool)):
            item = make(pool, place)
            if item is not None:
                yield item
