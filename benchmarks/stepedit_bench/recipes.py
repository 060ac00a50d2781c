"""``stepedit bench recipes EDIT``: measure the dsp route of an edit towards a label.

Prints, for each label with a dsp route, the median shift over all packaged recordings of the
features that the label's studies speak of, and the margin along them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

import click
import numpy as np

from stepedit_core.dsp.acoustics import RATIOS, AcousticShift, difference, margin, measure
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.labels.profile import Profile, profiles_of
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.registry.registry import get_registry

__all__ = ["recipes", "rows"]

COLUMNS: Mapping[str, str] = {
    "f0": "F0, st",
    "f0_range": "range, ratio",
    "tempo": "tempo, ratio",
    "level": "level, dB",
    "tilt": "tilt, dB/oct",
    "hnr": "HNR, dB",
    "voiced": "voiced share",
}


def rows(edit_class: type[Edit], profiles: Mapping[str, Profile]) -> Iterator[str]:
    """Yield the lines of a Markdown table.

    Args:
        edit_class: an edit whose parameter ``to`` is a choice of labels.
        profiles: usual shift of each label.
    """
    heads = ["label", *COLUMNS.values(), "margin: median (least)", "6 or more"]
    yield "| " + " | ".join(heads) + " |"
    yield "| --- " * len(heads) + "|"
    speech = [packaged_speech(name) for name in packaged()]
    before = [measure(sound) for sound in speech]
    for label in get_args(edit_class.model_fields["to"].annotation):
        edit = edit_class.model_validate({"to": label})
        if edit.route_problem("dsp") is not None:
            continue
        made = [edit.render(sound, np.random.default_rng(0)).utterance for sound in speech]
        shifts = [difference(*ends) for ends in zip(before, map(measure, made), strict=True)]
        yield _row(label, shifts, profiles[label])


def _cell(name: str, value: float) -> str:
    """Write a ratio plainly and a difference with its sign."""
    return f"{value:.2f}" if name in RATIOS else f"{value:+.1f}"


def _row(label: str, shifts: list[AcousticShift], profile: Profile) -> str:
    """Return one line: medians of shifts and margins."""
    cells = []
    for name in COLUMNS:
        values = [value for shift in shifts if (value := getattr(shift, name)) is not None]
        cells.append(_cell(name, float(np.median(values))) if values else "none")
    found = [margin(shift, profile) for shift in shifts]
    margins = [value for value in found if value is not None]
    least = f"{np.median(margins):.1f} ({min(margins):.1f})" if margins else "none"
    kept = f"{sum(value >= 6 for value in margins)} of {len(shifts)}"
    return "| " + " | ".join([label, *cells, least, kept]) + " |"


@click.command("recipes", short_help="Measure the dsp recipes of an edit's labels.")
@click.argument("edit")
def recipes(edit: str) -> None:
    """Print a table of what the dsp route of EDIT does for each of its labels.

    Example: stepedit bench recipes emotion
    """
    registry = get_registry()
    edit_class = registry.edit_class(edit)
    profiles = profiles_of(registry, edit_class.name)
    if not profiles:
        raise StepeditError(f"{edit}: its plugin brings no profiles of labels to measure against")
    for line in rows(edit_class, profiles):
        click.echo(line)
