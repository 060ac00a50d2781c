"""Pairs for the scene edit: a recording, and itself in a room or before a background."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np

from stepedit_core import (
    BuildContext,
    CorpusItem,
    EditPair,
    PairBuilder,
    PairJob,
    Rejected,
    StepeditError,
)
from stepedit_core.dsp.rooms import can_simulate
from stepedit_scene.edit import Scene
from stepedit_scene.surroundings import BACKGROUNDS, ROOMS

__all__ = ["ScenePairs", "margin_of", "margin_of_ratio", "margin_of_rt60"]

_KINDS = ("background", "room", "both")


def margin_of(edit: Scene) -> float:
    """Return the margin 1..10 of a request: by the ratio, and by the reverberation time.

    It falls in a straight line from 10 at 0 dB to 1 at 25 dB, and rises from 1 at 0.2 s to 10 at
    1 s; with both, the greater one counts.
    """
    margins = [1.0]
    if edit.background is not None:
        margins.append(margin_of_ratio(edit.ratio_db))
    if edit.room in ROOMS:
        margins.append(margin_of_rt60(ROOMS[edit.room].rt60))
    return max(margins)


def margin_of_ratio(ratio_db: float) -> float:
    """Return the margin of a background: from 10 at 0 dB to 1 at 25 dB, in a straight line."""
    return float(np.clip(10 - 9 * ratio_db / 25, 1.0, 10.0))


def margin_of_rt60(seconds: float) -> float:
    """Return the margin of a room: from 1 at 0.2 s of reverberation to 10 at 1 s."""
    return float(np.clip(1 + 9 * (seconds - 0.2) / 0.8, 1.0, 10.0))


class ScenePairs(PairBuilder):
    """Put each recording into drawn surroundings; the target is the recording in them."""

    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, str]] = {
        "kinds": "background, room, both, joined by +; default all that the machine can make",
        "backgrounds": f"{', '.join(BACKGROUNDS)}, joined by +; default all",
        "snr": "least and greatest ratio in dB; default 0:10",
    }

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield one job for each recording; the options are checked first."""
        _settings(options)
        for item in items:
            yield PairJob(item.id, (item,))

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of one recording."""
        kinds, backgrounds, (low, high) = _settings(context.options)
        source = job.items[0].read()
        if not source.samples.any():
            yield Rejected("silent", {"item": job.items[0].id})
            return
        for kind in kinds:
            rng = context.rng
            request: dict[str, str | float] = {}
            if kind != "room":
                request["background"] = str(rng.choice(backgrounds))
                request["snr_db"] = round(float(rng.uniform(low, high)), 1)
            if kind != "background":
                request["room"] = str(rng.choice(list(ROOMS)))
            edit = Scene.model_validate(request)
            margin = margin_of(edit)
            if margin < self.min_margin:
                yield Rejected(f"margin below {self.min_margin:g}", {**request, "margin": margin})
                continue
            made = edit.render(source, rng)
            yield EditPair(source, made.utterance, edit, margin, dict(made.details))


def _settings(
    options: Mapping[str, str],
) -> tuple[list[str], list[str], tuple[float, float]]:
    """Parse the user's options.

    Raises:
        StepeditError: naming the option that is wrong and what it may be.
    """
    able = _KINDS if can_simulate() else _KINDS[:1]
    kinds = options.get("kinds", "+".join(able)).split("+")
    if not set(kinds) <= set(able):
        needs = "" if can_simulate() else " (rooms need pyroomacoustics, the extra rooms)"
        raise StepeditError(f"kinds: there are {', '.join(able)}{needs}; got {'+'.join(kinds)!r}")
    backgrounds = options.get("backgrounds", "+".join(BACKGROUNDS)).split("+")
    if not set(backgrounds) <= set(BACKGROUNDS):
        raise StepeditError(
            f"backgrounds: there are {', '.join(BACKGROUNDS)}; got {'+'.join(backgrounds)!r}"
        )
    try:
        low, high = (float(one) for one in options.get("snr", "0:10").split(":"))
    except ValueError:
        low, high = 1.0, 0.0
    if not -5 <= low <= high <= 40:
        raise StepeditError(f"snr: two ratios from -5 to 40, as in 0:10; got {options['snr']!r}")
    return kinds, backgrounds, (low, high)
