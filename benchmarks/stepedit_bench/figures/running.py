"""Measure all items of all rows: baselines once, then what an engine makes; resumable."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepedit_bench import preservation
from stepedit_bench.figures.families import ROWS, Item, items_of
from stepedit_bench.figures.hearing import KeptMeasures, count_words
from stepedit_bench.figures.heldout import held_out
from stepedit_bench.figures.lines import Lines
from stepedit_bench.figures.making import BASELINE, ENGINE, Made, Maker
from stepedit_bench.rows import clean
from stepedit_bench.suites import slug
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Score
from stepedit_core.utterance import Utterance

__all__ = ["Run", "Settings", "engine_folder", "measure_all"]

OnLine = Callable[[str, int, int], None]
_HEARD_TWICE = ("identity", "speed", "clone", "chain")
"""Rows whose figure is word error: there the second recogniser listens too."""

_NO_TARGET = ("identity", "masked", "chain")
"""Rows without one ideal output whose codes could be decoded instead of the model's."""

_SCORED = {
    "speed": ("dsp", "identity", "target", "llm"),
    "denoise": ("dsp", "identity", "target", "llm"),
    "emotion_style": ("dsp", "world", "identity", "target", "llm"),
    "paralinguistic": ("dsp", "identity", "target", "llm"),
}
"""Conditions that the plugins' scorers judge, by default dsp and llm: what nobody edited reaches
a target only where the control says something."""


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        data: folder with the manifests of the corpora.
        out: folder of baselines and engines.
        rows: of the figures, in order.
        count: utterances of each kind, real and synthetic.
        seed: of selection and generation.
        batch: items that share the engine's batches.
        quick: leave out the second recogniser and the WORLD copy.
        finished: take what was measured before and measure nothing.
    """

    data: Path
    out: Path
    rows: tuple[str, ...] = tuple(ROWS)
    count: int = 40
    seed: int = 0
    batch: int = 8
    quick: bool = False
    finished: bool = False

    def check(self) -> None:
        """Refuse unknown rows; raises StepeditError."""
        unknown = [row for row in self.rows if row not in ROWS]
        if unknown:
            raise StepeditError(f"no row {unknown[0]!r} of the figures; there is {', '.join(ROWS)}")


@dataclass(frozen=True)
class Run:
    """All that was measured.

    Attributes:
        folder: of the engine, or of the baselines where there is no engine.
        items: in order.
        lines: condition to line, for each item's id.
        maker: where the recordings are.
    """

    folder: Path
    items: Sequence[Item]
    lines: Mapping[str, Mapping[str, Any]]
    maker: Maker


def engine_folder(out: Path, engine: SpeechEngine | None) -> Path:
    """Return the folder of an engine: its name and a hash of all that describes it."""
    if engine is None:
        return out / "baseline"
    described = json.dumps(dict(engine.describe()), sort_keys=True, default=str)
    mark = hashlib.sha256(described.encode()).hexdigest()[:8]
    return out / "engines" / f"{slug(engine.name)}-{mark}"


def conditions_of(item: Item, settings: Settings, names: Sequence[str]) -> list[str]:
    """Return which conditions an item is measured in."""
    prepared_noise = item.case is not None and "noise" in item.case.prepare
    skipped = set()
    if not prepared_noise:
        skipped.add("ideal")
    if settings.quick:
        skipped.add("world")
    if not item.edits:
        skipped |= {"dsp", "llm"}
    if item.row in _NO_TARGET:
        skipped.add("target")
    return [name for name in names if name not in skipped]


def measure_all(
    settings: Settings,
    engine: SpeechEngine | None,
    *,
    measures: KeptMeasures | None = None,
    on_line: OnLine = lambda what, done, total: None,
) -> Run:
    """Measure, or go on where a killed run stopped.

    Args:
        settings: what to measure.
        engine: the column; None measures the baselines alone.
        measures: backends to use instead of the standard ones.
        on_line: told what is being measured, how many lines are done, and of how many.

    Raises:
        StepeditError: if there is no data, or a row cannot be asked for.
    """
    settings.check()
    heard = measures or KeptMeasures(settings.out)
    pools = held_out(settings.data, settings.out / "speech", settings.count, settings.seed, heard)
    items = [item for row in settings.rows for item in items_of(row, pools)]
    baseline = settings.out / "baseline"
    folder = engine_folder(settings.out, engine)
    maker = Maker(baseline / "audio", folder / "audio", engine, settings.seed)
    worker = _Worker(settings, maker, heard, on_line)
    shared = Lines(baseline / "lines.jsonl")
    plans: list[tuple[Lines, Sequence[str]]] = [(shared, BASELINE)]
    if engine is not None:
        plans.append((Lines(folder / "lines.jsonl"), ENGINE))
    worker.total = sum(
        len(conditions_of(item, settings, names)) for _, names in plans for item in items
    )
    found: dict[str, dict[str, Any]] = {item.id: {} for item in items}
    for lines, names in plans:
        for item_id, condition, line in worker.work(items, lines, names):
            found[item_id][condition] = line
    return Run(folder, items, found, maker)


@dataclass
class _Worker:
    """Works on the items of a run, condition by condition and batch by batch."""

    settings: Settings
    maker: Maker
    measures: KeptMeasures
    on_line: OnLine
    total: int = 0
    done: int = 0

    def work(
        self, items: Sequence[Item], lines: Lines, names: Sequence[str]
    ) -> Iterator[tuple[str, str, Any]]:
        """Yield every line of some conditions, measuring those that are missing."""
        for row in self.settings.rows:
            own = [item for item in items if item.row == row]
            for condition in names:
                asked = [
                    item for item in own if condition in conditions_of(item, self.settings, names)
                ]
                for start in range(0, len(asked), self.settings.batch):
                    yield from self._batch(
                        asked[start : start + self.settings.batch], condition, lines
                    )

    def _batch(
        self, items: Sequence[Item], condition: str, lines: Lines
    ) -> Iterator[tuple[str, str, Any]]:
        todo = [item for item in items if self._key(item, condition) not in lines.entries]
        if self.settings.finished:
            items, todo = [item for item in items if item not in todo], []
        ready = [item for item in todo if self._problem(item) is None]
        begin = time.perf_counter()
        made = dict(
            zip(
                (item.id for item in ready),
                self.maker.make(condition, ready) if ready else (),
                strict=True,
            )
        )
        seconds = (time.perf_counter() - begin) / max(1, len(ready))
        for item in items:
            key = self._key(item, condition)
            if key not in lines.entries:
                result = made.get(item.id) or Made(problem=self._problem(item))
                line = self._line(item, condition, result)
                lines.add(key, {**line, "make_seconds": round(seconds, 4)})
            self.done += 1
            self.on_line(f"{item.row} {condition}", self.done, self.total)
            yield item.id, condition, lines.entries[key]

    def _key(self, item: Item, condition: str) -> str:
        """Return the name of a line; a look with one recogniser does not stand for one with two."""
        version = "" if item.case is None else f"/v{_scorer(item).version}"
        ears = "/one" if self.settings.quick and item.row in _HEARD_TWICE else ""
        return f"{item.id}/{condition}{version}{ears}/seed{self.settings.seed}"

    def _problem(self, item: Item) -> str | None:
        """Say why an item's input cannot be made, or return None."""
        try:
            self.maker.prepared(item)
        except StepeditError as error:
            return str(error)
        return None

    def _line(self, item: Item, condition: str, made: Made) -> dict[str, Any]:
        """Measure what one condition gave."""
        edit = item.edits[0].name if len(item.edits) == 1 else item.row
        line: dict[str, Any] = {"edit": edit, "problem": made.problem}
        if made.problem is not None:
            return line
        output = made.steps[-1]
        # Growth along a chain is taken from its two ends.
        ends = (made.steps[0], made.steps[-1]) if len(made.steps) > 1 else made.steps
        line["words"] = [self._words(item, step) for step in ends]
        if item.row == "chain":
            return line
        prepared = self.maker.prepared(item)
        expected = output.transcript
        kept = preservation.measure(
            output, prepared.source, expected, self.measures, prepared.reference
        )
        line |= {"kept": clean(kept.to_data()), "failures": dict(kept.failures)}
        if condition in _SCORED.get(item.row, ("dsp", "llm")) and item.case is not None:
            line["score"] = self._score(item, output)
        return line

    def _words(self, item: Item, output: Utterance) -> dict[str, Any]:
        """Count word errors by each recogniser against the words that ought to be heard."""
        expected = output.transcript or ""
        first = self.measures.transcribe(output)
        heard = {"whisper": first}
        if item.row in _HEARD_TWICE and not self.settings.quick:
            heard["pocketsphinx"] = self.measures.second_text(output)
        return {
            name: count_words(expected, text, output.language).to_data()
            for name, text in heard.items()
        }

    def _score(self, item: Item, output: Utterance) -> dict[str, Any]:
        """Ask the plugin's scorer; what it raises leaves the item unscored, with the reason."""
        assert item.case is not None
        prepared = self.maker.prepared(item)
        try:
            score = _scorer(item).score(item.case, prepared, output, self.measures)
        except Exception as error:
            score = Score.failed(f"{type(error).__name__}: {error}")
        return {
            "reached": score.reached,
            "values": clean(dict(score.values)),
            "unscored": score.unscored,
        }


def _scorer(item: Item) -> Any:
    assert item.case is not None
    return get_registry().scorer(type(item.case.edit))
