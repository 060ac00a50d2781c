"""Requests of the held-out suite, taken from the plugins' own default suites.

A row of the figures takes the parameters that the default cases of its edit ask for, such as
four rates or the labels of emotions, and puts them in turn to held-out speakers. Where a request
names words or times (masked, paralinguistic, clone) they are taken from the utterance at hand.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from stepedit_bench.heldout.speech import HeldOutUtterance
from stepedit_bench.heldout.wording import repeats_itself
from stepedit_bench.judges.events import sound_of
from stepedit_bench.made_by import code_mark
from stepedit_bench.suites import Unit, case_seed
from stepedit_core.chain.notation import edit_from_data, format_edit
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Case, Prepared
from stepedit_core.utterance import Utterance

__all__ = ["MORE_ROWS", "ROWS", "HeldOut", "units_of"]

SPAN_SECONDS = 0.9
"""Length of the span that a masked edit may change: about a third of the utterances."""
CHAIN = ("denoise", "trim_silence", "denoise")
"""Edits that keep words and tempo, so that what a chain loses is lost by coding it again."""
MIXED = ("denoise", "emotion", "paralinguistic", "speed", "volume")
"""Edits of the mixed chain: what is done to a recording before it is used, and a feeling."""
_MIXED_VALUES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "denoise": [{}],
    "emotion": [{"to": "happy"}],
    "speed": [{"factor": 1.1}],
    "volume": [{"db": -3}],
}
"""Values of the mixed chain's edits, those of `stepedit bench trust`."""
ITERATIONS = {"iteration": 4, "iteration_8": 8}
"""Rows that ask for the same thing again and again, and how often."""

_TWO_RECOGNISERS = ("identity", "speed", "clone", "chain")
"""Rows whose figure is word error: there the second recogniser listens too."""
_NO_TARGET = ("identity", "masked", "masked_label", "chain", "mixed_chain", *ITERATIONS)
"""Rows without one ideal output whose codes could be decoded instead of the model's."""
_SCORED: Mapping[str, tuple[str, ...]] = {
    "speed": ("dsp", "identity", "target", "edit"),
    "denoise": ("dsp", "identity", "target", "edit"),
    "emotion_style": ("dsp", "world", "identity", "target", "edit"),
    "paralinguistic": ("dsp", "identity", "target", "edit"),
    **dict.fromkeys(ITERATIONS, ("source", "dsp", "identity", "edit")),
}
"""Conditions that the plugins' scorers judge, by default dsp and edit: what nobody edited reaches
a target only where the control says something."""


@dataclass(frozen=True)
class HeldOut(Unit):
    """One request put to one utterance of a held-out speaker.

    Attributes:
        held: the utterance.
        edits: what runs, in order; empty for the identity edit.
        target: the utterance that an ideal output would be like, where one was recorded.
        quick: whether one recogniser alone listens, and there is no WORLD copy.
        run_seed: of the run.
    """

    held: HeldOutUtterance
    edits: tuple[Edit, ...]
    target: Utterance | None = None
    quick: bool = False
    run_seed: int = 0

    @property
    def name(self) -> str:
        """Name that is the same for the same request on the same speech."""
        asked = json.dumps([edit.to_data() for edit in self.edits], sort_keys=True)
        prepared = "" if self.case is None else json.dumps(dict(self.case.prepare), sort_keys=True)
        mark = hashlib.sha256(f"{asked}{prepared}".encode()).hexdigest()[:8]
        return f"{self.held.id}-{mark}"

    @property
    def key(self) -> str:
        """Name within a run: a quick look does not stand for a whole one, nor other code."""
        version = "" if self.case is None else f"/v{_version(self.case.edit)}"
        if self.edit == "mixed_chain":
            version = f"/v{'.'.join(str(_version(edit)) for edit in self.edits)}"
        return f"{self.edit}/{self.name}{version}{'/quick' if self.quick else ''}/{self.code}"

    @property
    def code(self) -> str:
        """Mark of the code that carries the edits out."""
        scorer = self.scorer()
        return code_mark(self.edits, [] if scorer is None else [scorer])

    @property
    def group(self) -> str:
        """Return the row: batches are those of one row."""
        return self.edit

    @property
    def file(self) -> Path | None:
        """File of the utterance."""
        return self.held.file

    @property
    def words_alone(self) -> bool:
        """Whether words are all that is measured: in the chain that costs nothing else."""
        return self.edit == "chain"

    @property
    def recodings(self) -> int:
        """Plain conditions code the speech as often as a chain has edits."""
        return max(1, len(self.edits))

    def requests(self, iterations: int) -> tuple[Edit, ...]:
        """Return the edits to carry out, in order."""
        return self.edits

    def start(self) -> Utterance:
        """Return the utterance."""
        return self.held.speech

    def conditions(self, asked: Sequence[str]) -> tuple[str, ...]:
        """Return which of the conditions asked for make sense."""
        alone = self.edit in _NO_TARGET or (self.edit == "clone" and self.target is None)
        skipped = {"target"} if alone else set()
        skipped |= {"world"} if self.quick else set()
        skipped |= set() if self.edits else {"dsp", "edit"}
        return tuple(name for name in asked if name not in skipped)

    def serving(self, condition: str) -> Unit:
        """Return the identity edit of the clean speech where its recording serves, too.

        Inserted pauses are silence, which coding cannot damage. Noise does change what an engine
        codes; WORLD, which reproduces it, is shown on clean speech.
        """
        noisy = self.case is not None and "noise" in self.case.prepare
        own = condition not in ("identity", "world") or (noisy and condition == "identity")
        if own or len(self.edits) > 1:
            return self
        seed = case_seed(self.run_seed, "identity", self.held.id)
        return HeldOut("identity", None, seed, self.held, (), run_seed=self.run_seed)

    def ideal(self, prepared: Prepared) -> Utterance | None:
        """Return the recorded target, or the clean speech where it was spoilt."""
        spoilt = self.case is not None and bool(self.case.prepare)
        return self.target or (self.held.speech if spoilt else None)

    def is_scored(self, condition: str) -> bool:
        """Return whether the plugin's scorer judges a condition."""
        return condition in _SCORED.get(self.edit, ("dsp", "edit"))

    def is_checked(self, condition: str) -> bool:
        """Return whether it is checked what else changed."""
        return self.is_scored(condition)

    @property
    def _is_english(self) -> bool:
        """Whether the second recogniser knows the language."""
        return (self.held.speech.language or "en").split("-")[0].lower() == "en"

    def recognisers(self) -> tuple[str, ...]:
        """Return the recognisers whose word counts are kept."""
        both = self.edit in _TWO_RECOGNISERS and not self.quick and self._is_english
        return ("whisper", "pocketsphinx") if both else ("whisper",)

    def judging(self, iteration: int, received: Utterance) -> Unit:
        """Return who judges an edit of the mixed chain: its own scorer, by what it received."""
        if self.edit != "mixed_chain" or not 1 <= iteration <= len(self.edits):
            return self
        edit = self.edits[iteration - 1]
        return replace(self, case=_case(self.held, edit.to_data(), {}, {}, received), edits=(edit,))

    def facts(self) -> dict[str, Any]:
        """Return the fields of the unit that all its rows have; JSON data."""
        asked = [edit.to_data() for edit in self.edits]
        shown = ", ".join(map(format_edit, self.edits)) or "identity"
        goals = [data.get("to") for data in asked]
        return {
            "edit": self.edit,
            "name": self.edits[0].name if len(self.edits) == 1 else self.edit,
            "case": self.name,
            "class": str(goals[0]) if len(goals) == 1 and goals[0] else shown,
            "speaker": self.held.speaker,
            "row": None,
            "request": asked[0] if len(asked) == 1 else {"edits": asked},
            "seed": self.seed,
            "kind": self.held.kind,
            "length": self.held.length.label,
        }


def _version(edit: Edit) -> int:
    """Return the version of the scorer that judges an edit."""
    return get_registry().scorer(type(edit)).version


Request = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]
"""Edit as data, ``prepare`` and ``meta`` of a case."""
RequestParts = tuple[Case | None, tuple[Edit, ...], Utterance | None]
"""Case, edits and recorded target."""
Pools = Mapping[tuple[str, str], Sequence[HeldOutUtterance]]
Make = Callable[[Sequence[HeldOutUtterance], int], RequestParts | None]


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


def _case(
    held: HeldOutUtterance,
    data: Mapping[str, Any],
    prepare: Any,
    meta: Any,
    received: Utterance | None = None,
) -> Case:
    speech = received or held.speech
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


def _request_parts(
    held: HeldOutUtterance, request: Request, target: Utterance | None = None
) -> RequestParts:
    case = _case(held, *request)
    return case, (case.edit,), target


def _in_turn(edit: str, prepare: Mapping[str, Any] | None = None) -> Make:
    """Put the requests of an edit to the utterances in turn."""
    requests = _requests(edit, prepare)
    return lambda pool, place: _request_parts(pool[place], requests[place % len(requests)])


def _labels() -> Make:
    """Ask for emotions and styles by turns."""
    both = [_requests("emotion"), _requests("style")]

    def make(pool: Sequence[HeldOutUtterance], place: int) -> RequestParts:
        requests = both[place % 2]
        return _request_parts(pool[place], requests[place // 2 % len(requests)])

    return make


def _masked() -> Make:
    """Confine the inner edits of the default suite to a span in the middle."""
    inner = [
        data["inner"]
        for data, _, _ in _requests("masked")
        if data["inner"]["edit"] not in ("masked", "trim_silence")
    ]

    def make(pool: Sequence[HeldOutUtterance], place: int) -> RequestParts:
        seconds = pool[place].speech.seconds
        start = round(max(0.0, (seconds - SPAN_SECONDS) / 2), 3)
        span = [start, round(min(seconds, start + SPAN_SECONDS), 3)]
        data = {"edit": "masked", "inner": inner[place % len(inner)], "spans": [span]}
        return _request_parts(pool[place], (data, {}, {}))

    return make


def _masked_label() -> Make:
    """Confine emotions and styles by turns to the middle of the utterance."""
    both = [_requests("emotion"), _requests("style")]

    def make(pool: Sequence[HeldOutUtterance], place: int) -> RequestParts:
        seconds = pool[place].speech.seconds
        span = [round(0.3 * seconds, 3), round(0.7 * seconds, 3)]
        requests = both[place % 2]
        inner = requests[place // 2 % len(requests)][0]
        data = {"edit": "masked", "inner": dict(inner), "spans": [span]}
        return _request_parts(pool[place], (data, {}, {}))

    return make


def _paralinguistic() -> Make:
    """Put a sound between the words: after the first comma, otherwise in the middle."""
    texts = [str(data["text"]) for data, _, _ in _requests("paralinguistic")]
    named = dict.fromkeys(tag for text in texts for tag in re.findall(r"\[([^\]]+)\]", text))
    # Coughs come last: the judge learned them later, and earlier requests stay comparable.
    known = (tag for tag in named if sound_of(tag) is not None)
    tags = sorted(known, key=lambda tag: sound_of(tag) == "cough")

    def make(pool: Sequence[HeldOutUtterance], place: int) -> RequestParts | None:
        words = re.sub(r"[\[\]]", "", pool[place].speech.transcript or "").split()
        commas = [n for n, word in enumerate(words[:-1], start=1) if word.endswith(",")]
        at = commas[0] if commas else len(words) // 2
        text = " ".join([*words[:at], f"[{tags[place % len(tags)]}]", *words[at:]])
        asked = _request_parts(pool[place], ({"edit": "paralinguistic", "text": text}, {}, {}))
        edit = asked[1][0]
        problem = edit.route_problem("dsp") or edit.problem(pool[place].speech)
        return None if problem else asked

    return make


def _clone() -> Make:
    """Ask each voice for the words of another utterance.

    Those of its own next one where it has others, which is then the target; otherwise those of
    the next utterance, without a target. A text that says a sentence twice, as where recordings of
    one sentence were joined, is not asked for: recognisers leave out what is repeated.
    """

    def make(pool: Sequence[HeldOutUtterance], place: int) -> RequestParts | None:
        held = pool[place]
        later = [*pool[place + 1 :], *pool[:place]]
        said = [
            one
            for one in later
            if one.speech.transcript != held.speech.transcript
            and not repeats_itself(one.speech.transcript or "")
        ]
        if not said:
            return None
        other = next((one for one in said if one.speaker == held.speaker), said[0])
        request = {"edit": "clone", "text": other.speech.transcript}
        target = other.speech if other.speaker == held.speaker else None
        return _request_parts(held, (request, {}, {}), target)

    return make


def _chain() -> Make:
    registry = get_registry()
    edits = tuple(registry.edit_class(name)() for name in CHAIN)
    return lambda pool, place: (None, edits, None)


def _iteration(times: int) -> Make:
    """Ask for an emotion or a style several times over."""
    once = _labels()

    def make(pool: Sequence[HeldOutUtterance], place: int) -> RequestParts:
        asked = once(pool, place)
        assert asked is not None
        return asked[0], asked[1] * times, None

    return make


def _mixed_chain() -> Make:
    """Chain five edits of different kinds; the sound is another one in turn."""
    sound = _paralinguistic()

    def make(pool: Sequence[HeldOutUtterance], place: int) -> RequestParts | None:
        tagged = sound(pool, place)
        if tagged is None:
            return None
        edits = [
            tagged[1][0]
            if name == "paralinguistic"
            else edit_from_data({"edit": name, **values[place % len(values)]})
            for name in MIXED
            for values in (_MIXED_VALUES.get(name, [{}]),)
        ]
        return None, tuple(edits), None

    return make


ROWS: Mapping[str, Callable[[], Make]] = {
    "identity": lambda: lambda pool, place: (None, (), None),
    "speed": lambda: _in_turn("speed"),
    "denoise": lambda: _in_turn("denoise", {"snr_db": 5}),
    "trim_silence": lambda: _in_turn("trim_silence", {"silence_share": 0.3}),
    "masked": _masked,
    "emotion_style": _labels,
    "paralinguistic": _paralinguistic,
    "clone": _clone,
    "chain": _chain,
}
"""Row with a gate to its maker."""
MORE_ROWS: Mapping[str, Callable[[], Make]] = {
    **{row: partial(_iteration, times) for row, times in ITERATIONS.items()},
    "mixed_chain": _mixed_chain,
    "masked_label": _masked_label,
}
"""Rows without a gate, measured where they are asked for."""


def units_of(row: str, pools: Pools, seed: int, quick: bool = False) -> Iterator[HeldOut]:
    """Yield the units of a row, real ones first; raises as ``_requests`` does."""
    make = {**ROWS, **MORE_ROWS}[row]()
    for pool in pools.values():
        for place, held in enumerate(pool):
            asked = make(pool, place)
            if asked is not None:
                case, edits, target = asked
                own = case_seed(seed, row, held.id)
                yield HeldOut(row, case, own, held, edits, target, quick, seed)
