"""Pairs for the speed edit: a recording and itself, stretched in time by SoX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from stepedit_core import (
    BuildContext,
    CorpusItem,
    EditPair,
    PairBuilder,
    PairJob,
    PairOptions,
    Rejected,
    Utterance,
)
from stepedit_speed.dsp import BACKENDS, installed_backends, stretch
from stepedit_speed.edit import FACTORS, Rate, Speed, tempo_steps

__all__ = ["SpeedPairs", "margin_of"]

_RATIO_TOLERANCE = 0.02
_MIN_SECONDS = 0.3
_INVERSE = {
    "faster": "slower",
    "slower": "faster",
    "more_faster": "more_slower",
    "more_slower": "more_faster",
}


def margin_of(factor: float) -> float:
    """Return the margin 1..10 of a factor: its just noticeable differences of tempo.

    One step is 5 % (Quené 2007, J. Phonetics 35), so 1.34 gives 6 and 1.63 gives 10.
    """
    return float(np.clip(abs(tempo_steps(factor)), 1.0, 10.0))


class SpeedPairs(PairBuilder):
    """Stretch each recording by every rate, and use the result in both directions.

    Forward, the recording is the source and the stretched one the target. Backward, the
    natural recording is the target, and the edit the opposite one.
    """

    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, str]] = {
        "rates": "rate words, joined by +; default faster+slower+more_faster+more_slower",
        "draw": "how many of the rates to draw for each recording; default all",
        "exact": "how many exact factors to draw for each recording; default 1",
        "directions": "both (default), forward (recording to stretched) or backward",
        "backend": "sox, rubberband or signalsmith; default sox where it is installed",
    }

    def settings(self, options: Mapping[str, str]) -> dict[str, Any]:
        """Return what is asked for; raises StepeditError as `PairOptions` does."""
        asked = PairOptions(options)
        return {
            "rates": list(asked.words("rates", FACTORS)),
            "draw": asked.count("draw", len(FACTORS)) if "draw" in options else None,
            "exact": asked.count("exact", 1, least=0),
            "directions": asked.directions(),
            "backend": asked.word("backend", BACKENDS, installed_backends()[0]),
        }

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield one job for each recording; the options are checked first."""
        settings = self.settings(options)
        for item in items:
            yield PairJob(item.id, (item,), settings)

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of one recording."""
        settings = {**self.settings(context.options), **job.params}
        item = job.items[0]
        natural = item.read()
        if natural.seconds < _MIN_SECONDS:
            yield Rejected(f"shorter than {_MIN_SECONDS:g} s", {"seconds": natural.seconds})
            return
        edits = [Speed(rate=rate) for rate in _drawn(settings, context.rng)]
        edits += [Speed(factor=_draw(context.rng)) for _ in range(settings["exact"])]
        for edit in edits:
            seed = int(context.rng.integers(2**31))
            stretched, details = stretch(
                natural, edit.tempo, seed=seed, backend=settings["backend"]
            )
            if settings["directions"] != "backward":
                yield self._checked(natural, stretched, edit, {**details, "direction": "forward"})
            if settings["directions"] != "forward":
                details["direction"] = "backward"
                yield self._checked(stretched, natural, _opposite(edit), details)

    def _checked(
        self, source: Utterance, target: Utterance, edit: Speed, details: Mapping[str, Any]
    ) -> EditPair | Rejected:
        """Return the pair if its durations have the ratio that the edit asks for."""
        achieved = source.seconds / target.seconds
        facts = {**details, "asked": round(edit.tempo, 6), "achieved": round(achieved, 6)}
        if abs(achieved / edit.tempo - 1) > _RATIO_TOLERANCE:
            return Rejected("duration ratio off by more than 2 %", facts)
        margin = margin_of(edit.tempo)
        return self.kept(source, target, edit, margin, facts)


def _opposite(edit: Speed) -> Speed:
    """Return the edit that leads back."""
    if edit.rate is not None:
        return Speed.model_validate({"rate": _INVERSE[edit.rate]})
    return Speed(factor=round(1 / edit.tempo, 4))


def _draw(rng: np.random.Generator) -> float:
    """Draw an exact factor of large margin, as likely faster as slower."""
    size = float(np.exp(rng.uniform(np.log(1.36), np.log(1.99))))
    return round(size if rng.random() < 0.5 else 1 / size, 3)


def _drawn(settings: Mapping[str, Any], rng: np.random.Generator) -> list[Rate]:
    """Return the rates of one recording."""
    rates: list[Rate] = settings["rates"]
    if settings["draw"] is None:
        return rates
    return [rates[int(place)] for place in rng.permutation(len(rates))[: settings["draw"]]]
