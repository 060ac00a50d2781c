"""Acceptance over the edit families: what limits accept, and what judges outside of them say.

The requests are those of ``stepedit bench figures``: noise at 5 dB for denoise, pauses put in for
trim_silence, rates, labels, spans, and the words of another recording for clone. Each is carried
out with limits by signal processing and by the engine. What was accepted is kept, and heard by two
who have no part in the gate, which hears by two sizes of Whisper: hama, whose phones are compared
with those of the recording that the edit started from (of the clean one, or the recorded target,
where there is one), and PocketSphinx, whose words are counted. An acceptance is wrong where both
say that more is lost than preservation allows, beyond what they miss without the edit;
PocketSphinx, which takes longest, is asked where hama says so. Whether DNSMOS OVRL falls by more
than preservation allows is told beside: the limits called ``normal`` do not ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, Literal

from stepedit_bench.heldout.requests import HeldOut, Pools, units_of
from stepedit_bench.measuring.text_error import TextErrors, text_errors
from stepedit_bench.preservation import Thresholds
from stepedit_bench.produce import prepare
from stepedit_bench.suites import slug
from stepedit_bench.summary import share
from stepedit_bench.trust.measuring import Bench
from stepedit_core.chain.chain import Chain
from stepedit_core.errors import EditError, StepeditError
from stepedit_core.scoring import Prepared
from stepedit_core.utterance import Utterance

__all__ = ["EARS", "FAMILIES", "FamilyUnit", "family_units", "measure_family", "summarise_families"]

FAMILIES = ("speed", "denoise", "trim_silence", "masked", "emotion_style", "clone")
"""Rows of the figures whose requests are asked for."""
EARS = ("hama", "pocketsphinx")
"""Who hears what was accepted, and has no part in accepting."""


@dataclass(frozen=True)
class FamilyUnit:
    """One request by one route.

    Attributes:
        held: the request and its recording.
        route: that carries it out.
    """

    part: ClassVar[Literal["family"]] = "family"
    held: HeldOut
    route: Literal["dsp", "llm"]

    @property
    def name(self) -> str:
        """Unique name."""
        return f"{self.held.edit}/{self.route}/{self.held.name}"


def family_units(
    pools: Pools, seed: int, count: int, families: Sequence[str] = FAMILIES
) -> Iterator[FamilyUnit]:
    """Yield up to ``count`` requests, families in turn, so that a run cut short holds all of them.

    Real and synthetic recordings alternate, and each request is asked for by both routes.

    Args:
        pools: held-out utterances by kind and length.
        seed: of the requests.
        count: at most so many.
        families: rows of the figures.
    """
    turns = []
    for row in families:
        kinds = [list(units_of(row, {key: pool}, seed, quick=True)) for key, pool in pools.items()]
        in_turn = [one for several in zip_longest(*kinds) for one in several if one is not None]
        turns.append(
            [
                FamilyUnit(held, route)
                for held in in_turn
                for route in ("dsp", "llm")
                if all(edit.route_problem(route) is None for edit in held.edits)
            ]
        )
    mixed = [one for several in zip_longest(*turns) for one in several if one is not None]
    yield from mixed[:count]


def measure_family(unit: FamilyUnit, bench: Bench, folder: Path) -> dict[str, Any]:
    """Return whether limits accepted an edit, and what was heard of what they did; JSON data."""
    held = unit.held
    row: dict[str, Any] = {"family": held.edit, "edit": held.edits[0].name, "route": unit.route}
    try:
        prepared = prepare(held, held.start())
        made = Chain(held.edits)(
            prepared.source, bench.engine, seed=held.seed, route=unit.route, accept=bench.limits
        )
    except EditError as error:
        why = [why for tried in error.tries for why in tried["why"]]
        return {**row, "accepted": False, "why": why or [str(error)]}
    except StepeditError as error:
        return {**row, "accepted": False, "why": [str(error)]}
    path = folder / "audio" / f"{slug(unit.name)}.flac"
    made.utterance.write(path, subtype="PCM_16")
    output = Utterance.read(path, made.utterance.transcript, made.utterance.language)
    row |= {"accepted": made.steps[-1].accepted, "audio": str(path.relative_to(folder))}
    return {**row, **_heard(held, prepared, output, bench)}


def _heard(held: HeldOut, prepared: Prepared, made: Utterance, bench: Bench) -> dict[str, Any]:
    """Return what the judges say of what came before and after, and the verdict."""
    measures, limits, expected = bench.measures, Thresholds(), made.transcript or ""
    # A clone says the words of another recording, which is what it is compared with.
    known = held.target or prepared.reference or prepared.source
    before = held.target or prepared.source

    def phones(one: Utterance) -> TextErrors:
        return measures.phone_errors(known, one)

    def words(one: Utterance) -> TextErrors:
        return text_errors(expected, measures.second_text(one), one.language)

    found: dict[str, Any] = {}
    for ear, count in zip(EARS, (phones, words), strict=True):
        floor, after = count(before).errors, count(made)
        lost = after.errors - floor > limits.extra_errors(after.length, after.unit)
        found[ear] = {"before": floor, "after": after.errors, "of": after.length, "lost": lost}
        if not lost:
            break
    fall = float(measures.dnsmos(before)["ovrl"]) - float(measures.dnsmos(made)["ovrl"])
    return {
        "heard": found,
        "wrong": all(one["lost"] for one in found.values()),
        "quality_drop": round(fall, 3),
        "worse": fall > limits.quality_drop,
    }


def summarise_families(rows: Sequence[Mapping[str, Any]], seed: int = 0) -> dict[str, Any]:
    """Return the share of acceptances and of wrong ones, of all and of parts; JSON data."""
    parts = {"all": list(rows)}
    for row in rows:
        parts.setdefault(f"by {row['route']}", []).append(row)
    for row in rows:
        parts.setdefault(f"{row['family']} by {row['route']}", []).append(row)
    return {name: _summary(own, seed) for name, own in parts.items()}


def _summary(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    accepted = [row for row in rows if row["accepted"]]
    found: dict[str, Any] = {"edits": len(rows), "accepted": len(accepted)}
    asked = {
        "wrong": [row["wrong"] for row in accepted],
        "lost_by_hama": [row["heard"]["hama"]["lost"] for row in accepted],
        "worse_by_dnsmos": [row["worse"] for row in accepted],
    }
    for name, values in asked.items():
        one = share(values, seed)
        if one is not None:
            found[name] = {
                "count": sum(bool(value) for value in values),
                "of": one.n,
                "share": round(one.mean, 4),
                "low": round(one.low, 4),
                "high": round(one.high, 4),
            }
    return found
