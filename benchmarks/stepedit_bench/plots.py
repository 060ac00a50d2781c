"""Figures of the report as SVG text (matplotlib)."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stepedit_bench.measuring.extras import need
from stepedit_bench.summary import Group
from stepedit_core.errors import printable
from stepedit_core.scoring import Interval

__all__ = ["confusion_svg", "iterations_svg", "kept_svg"]

Row = Mapping[str, Any]
_LONGEST = 40
"""Characters of a name in a figure."""
_MOST, _OTHERS = 30, "(others)"
"""Classes and labels in a figure, and the name of all others."""
_BLUE, _ORANGE, _GREY = "#2563a8", "#c4621a", "#777777"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """Return a figure and its axes, without the global state of pyplot."""
    module = need("matplotlib.figure", "matplotlib", "the report's plots")
    figure = module.Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Any) -> str:
    """Return a figure as SVG, the same bytes for the same figure."""
    matplotlib = need("matplotlib", "matplotlib", "the report's plots")
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "stepedit", "font.size": 9}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _plain(text: str) -> str:
    """Return a name as matplotlib shows it: in one line, not too long, no formula in it."""
    return printable(text, _LONGEST).replace("$", r"\$")


def _line(axes: Any, groups: Sequence[Group], name: str, colour: str) -> None:
    """Draw one share over iterations with its intervals."""
    points: list[tuple[int, Interval]] = [
        (group.iteration, interval)
        for group in groups
        if (interval := getattr(group, name)) is not None
    ]
    if not points:
        return
    places = [place for place, _ in points]
    means = [100 * interval.mean for _, interval in points]
    below = [100 * (interval.mean - interval.low) for _, interval in points]
    above = [100 * (interval.high - interval.mean) for _, interval in points]
    axes.errorbar(
        places, means, [below, above], label=name, color=colour, marker="o", capsize=3, lw=1.5
    )


def iterations_svg(edit: str, groups: Sequence[Group]) -> str:
    """Plot shares against the iteration: target reached, all else kept, and both."""
    figure, axes = _figure(4.2, 2.6)
    own = [group for group in groups if group.condition in {"source", "edit"}]
    _line(axes, own, "reached", _BLUE)
    _line(axes, own, "preserved", _GREY)
    _line(axes, own, "joint", _ORANGE)
    axes.set_title(_plain(edit))
    axes.set_xlabel("iteration (0: untouched)")
    axes.set_ylabel("% of cases")
    axes.set_ylim(-3, 103)
    axes.set_xticks(sorted({group.iteration for group in own}))
    if axes.has_data():
        axes.legend(fontsize=8)
    return _svg(figure)


def kept_svg(edit: str, rows: Sequence[Row]) -> str:
    """Plot speaker similarity against text error, one dot for each case of the last iteration."""
    figure, axes = _figure(4.2, 2.6)
    edited = [row for row in rows if row["condition"] == "edit" and row["status"] == "ok"]
    last = max((row["iteration"] for row in edited), default=0)
    for passed, colour, label in (
        (True, _BLUE, "all else kept"),
        (False, _ORANGE, "damaged"),
        (None, _GREY, "open"),
    ):
        dots = [
            (row["kept"]["text"]["rate"], row["kept"]["speaker_similarity"])
            for row in edited
            if row["iteration"] == last
            and row.get("preserved") is passed
            and row["kept"].get("text")
            and row["kept"].get("speaker_similarity") is not None
        ]
        if dots:
            axes.scatter(*zip(*dots, strict=True), s=14, color=colour, label=label, alpha=0.7)
    axes.set_title(f"{_plain(edit)}: what is kept")
    axes.set_xlabel("text error rate")
    axes.set_ylabel("speaker similarity")
    if axes.has_data():
        axes.legend(fontsize=8)
    return _svg(figure)


def _fewer(table: Mapping[tuple[str, str], int]) -> Mapping[tuple[str, str], int]:
    """Return a table of at most so many classes and labels; seldom ones are counted together."""
    kept = []
    for place in (0, 1):
        counts: Counter[str] = Counter()
        for key, n in table.items():
            counts[key[place]] += n
        kept.append({name for name, _ in counts.most_common(_MOST)})
    fewer: Counter[tuple[str, str]] = Counter()
    for (asked, judged), n in table.items():
        known = judged in kept[1] or judged in kept[0]
        fewer[asked if asked in kept[0] else _OTHERS, judged if known else _OTHERS] += n
    return fewer


def confusion_svg(title: str, table: Mapping[tuple[str, str], int]) -> str:
    """Plot how often each class was judged as each label.

    Args:
        title: of the figure.
        table: (class, judged label) to count; what is seldom is drawn together.
    """
    table = _fewer(table)
    classes = sorted({key[0] for key in table})
    labels = [*classes, *sorted({key[1] for key in table} - set(classes))]
    shown = [_plain(label) for label in labels]
    room = 0.055 * max(map(len, shown))  # inches that the longest name takes
    width, height = (max(1.0, 0.36 * len(names)) + 1.0 + room for names in (labels, classes))
    figure, axes = _figure(max(2.4, width), max(2.0, height))
    totals = {name: sum(n for key, n in table.items() if key[0] == name) for name in classes}
    shares = [
        [table.get((name, label), 0) / max(totals[name], 1) for label in labels] for name in classes
    ]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, name in enumerate(classes):
        for x, label in enumerate(labels):
            n = table.get((name, label), 0)
            if n:
                colour = "white" if shares[y][x] > 0.6 else "black"
                axes.text(x, y, str(n), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(labels)), shown, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(classes)), shown[: len(classes)], fontsize=7)
    axes.set_xlabel("judged as")
    axes.set_ylabel("asked for")
    axes.set_title(_plain(title))
    return _svg(figure)
