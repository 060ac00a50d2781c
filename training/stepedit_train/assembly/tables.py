"""Tables of a model card, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stepedit_core.models.checkpoint.figures import Figure

__all__ = ["figure_table", "markdown_table", "short_table"]

BESIDE = ("original", "dsp", "world", "identity", "target")
KINDS = ("real", "synthetic", "all")
NOT_MEASURED = "The figures of these weights have not been measured yet."


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _measured(figure: Figure) -> str:
    """Return value, interval and number of cases."""
    if figure.value is None:
        return "not measured"
    between = "" if figure.low is None else f" [{_value(figure.low)}, {_value(figure.high)}]"
    return f"{_value(figure.value)}{between}" + (f" n={figure.n}" if figure.n else "")


def _verdict(figures: Sequence[Figure]) -> str:
    """Return what figures of one name reach together."""
    if any(figure.passes is None for figure in figures):
        return "reported only"
    if not all(figure.passes for figure in figures):
        return "**missed**"
    return "goal" if all(figure.reaches_goal for figure in figures) else "gate"


def figure_table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table, a row for each kind of speech, with all beside."""
    if not figures:
        return NOT_MEASURED
    heads = ("figure", "speech", "value", "gate", "goal", "met", *BESIDE)
    rows = [
        (
            f"{figure.name} ({figure.unit})" if figure.unit else figure.name,
            figure.kind,
            _measured(figure),
            _value(figure.gate),
            _value(figure.goal),
            _verdict([figure]),
            *(_value(figure.beside.get(name)) for name in BESIDE),
        )
        for figure in figures
    ]
    return markdown_table(heads, rows)


def short_table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table with one row for each, for a README."""
    if not figures:
        return NOT_MEASURED
    named: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        named.setdefault(figure.name, {})[figure.kind] = figure
    rows = []
    for name, by_kind in named.items():
        kinds = [by_kind[kind] for kind in ("real", "synthetic") if kind in by_kind]
        kinds = kinds or list(by_kind.values())
        values = [_measured(by_kind[kind]) if kind in by_kind else "" for kind in KINDS]
        first = kinds[0]
        unit = f" ({first.unit})" if first.unit else ""
        limits = (_value(first.gate), _value(first.goal))
        rows.append((f"{name}{unit}", *values, *limits, _verdict(kinds)))
    return markdown_table(("figure", *KINDS, "gate", "goal", "met"), rows)
