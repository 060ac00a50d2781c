"""Make an item's recordings: original, dsp, WORLD, identity edit and its yardstick, target, llm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from stepedit_bench.batching import run_together
from stepedit_bench.figures.families import Item
from stepedit_bench.suites import case_seed, slug
from stepedit_core.chain.chain import Chain
from stepedit_core.codes import GROUP_SECONDS
from stepedit_core.dsp.prosody import ProsodyRecipe, transform
from stepedit_core.edit import Route
from stepedit_core.engine import DecodeRequest, SpeechEngine, regenerates_insertions_only
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.carrying_out import reconstructed
from stepedit_core.llm_route.planning import request_for
from stepedit_core.llm_route.timing import fit_to_source_timing
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Prepared
from stepedit_core.utterance import Utterance

__all__ = ["BASELINE", "ENGINE", "Made", "Maker"]

BASELINE = ("original", "ideal", "dsp", "world")
"""Conditions that no engine is asked for; their recordings and figures serve all engines."""
ENGINE = ("identity", "target", "llm")
"""``target`` is the ideal output coded,
and decoded in the source's voice: what the tokenizers and the decoder would make of an answer
without fault. It parts their share in a failure from the language model's."""


@dataclass(frozen=True)
class Made:
    """What one condition gave for an item.

    Attributes:
        steps: the recording, or one for each edit of a chain.
        problem: why there are none, or None.
    """

    steps: tuple[Utterance, ...] = ()
    problem: str | None = None


@dataclass
class Maker:
    """Makes recordings and keeps them as 16-bit FLAC, so that all measure the same bytes.

    Attributes:
        baseline: folder for what does not depend on an engine.
        folder: folder of the engine.
        engine: the column to measure, or None.
        seed: of the run.
    """

    baseline: Path
    folder: Path
    engine: SpeechEngine | None
    seed: int
    _prepared: dict[str, Prepared | str] = field(default_factory=dict)

    def prepared(self, item: Item) -> Prepared:
        """Return the edit's input and what is known beyond it.

        Raises:
            StepeditError: if the scorer cannot make it, for want of room tone for example.
        """
        if item.id not in self._prepared:
            try:
                self._prepared[item.id] = self._prepare(item)
            except StepeditError as error:
                self._prepared[item.id] = str(error)
        known = self._prepared[item.id]
        if isinstance(known, str):
            raise StepeditError(known)
        return known

    def _prepare(self, item: Item) -> Prepared:
        clean = item.held.speech
        if item.case is None or not item.case.prepare:
            return Prepared(clean)
        scorer = get_registry().scorer(type(item.case.edit))
        rng = np.random.default_rng([self._item_seed(item), 0])
        made = scorer.prepare(item.case, clean, rng)
        path = self.baseline / f"{_file(item)}.original.flac"
        return Prepared(_kept(path, made.source, clean), made.reference, made.facts)

    def _item_seed(self, item: Item) -> int:
        return case_seed(self.seed, item.row, item.held.id)

    def path(self, item: Item, condition: str, step: int = 0) -> Path:
        """Return where a recording is kept."""
        folder = self.folder if condition in ENGINE else self.baseline
        number = f"-{step + 1}" if step else ""
        return folder / f"{_file(item)}.{condition}{number}.flac"

    def make(self, condition: str, items: Sequence[Item]) -> list[Made]:
        """Return the recordings of several items; those that are there are read."""
        items = [_shared(item, condition) for item in items]
        found = [self._read(item, condition) for item in items]
        todo = [item for item, made in zip(items, found, strict=True) if made is None]
        fresh = iter(self._make(condition, todo) if todo else ())
        return [made if made is not None else next(fresh) for made in found]

    def _read(self, item: Item, condition: str) -> Made | None:
        """Return what is kept, or None where something is missing."""
        if condition == "ideal":
            return Made((item.held.speech,))
        if condition == "original":
            return Made((self.prepared(item).source,))
        paths = [self.path(item, condition, step) for step in range(max(1, len(item.edits)))]
        if not all(path.is_file() for path in paths):
            return None
        texts = _texts(item, condition, self.prepared(item).source)
        return Made(
            tuple(Utterance.read(path, text, "en") for path, text in zip(paths, texts, strict=True))
        )

    def _make(self, condition: str, items: Sequence[Item]) -> list[Made]:
        """Make recordings, in one batch where an engine does it, and keep them."""
        tasks = [partial(self._task, condition, item) for item in items]
        if condition in ENGINE:
            assert self.engine is not None
            ran = [(one.value, one.error) for one in run_together(self.engine, tasks)]
        else:
            ran = [_try(task) for task in tasks]
        made = []
        for item, (steps, error) in zip(items, ran, strict=True):
            if error is not None and not isinstance(error, StepeditError):
                raise error
            made.append(self._keep(item, condition, steps or (), error))
        return made

    def _keep(
        self,
        item: Item,
        condition: str,
        steps: Sequence[Utterance],
        error: Exception | None,
    ) -> Made:
        if error is not None:
            return Made(problem=str(error))
        texts = _texts(item, condition, self.prepared(item).source)
        kept = [
            _kept(self.path(item, condition, number), step.replace(transcript=text), None)
            for number, (step, text) in enumerate(zip(steps, texts, strict=True))
        ]
        return Made(tuple(kept))

    def _task(
        self, condition: str, item: Item, engine: SpeechEngine | None = None
    ) -> tuple[Utterance, ...]:
        """Make one item's recordings; a chain's plain conditions run as often as it has edits."""
        source = self.prepared(item).source
        seed = self._item_seed(item)
        if condition in ("dsp", "llm"):
            route: Route = "dsp" if condition == "dsp" else "llm"
            result = Chain(item.edits)(source, engine, route=route, seed=seed)
            return tuple(step.utterance for step in result.steps)
        if condition == "target":
            assert engine is not None
            wanted = self._wanted(item)
            request, is_timed = _as_answered(engine, item, source, wanted, seed)
            audio = engine.decode([request])[0]
            if is_timed:
                audio, _ = fit_to_source_timing(audio, request.codes.start, wanted.seconds)
            return (audio,)
        steps: list[Utterance] = []
        for _ in range(max(1, len(item.edits)) if item.row == "chain" else 1):
            before = steps[-1] if steps else source
            steps.append(_coded(engine, before, seed) if engine else _world(before))
        return tuple(steps)

    def _wanted(self, item: Item) -> Utterance:
        """Return the ideal output: recorded, the clean speech, or what signal processing gave."""
        if item.target is not None:
            return item.target
        if item.case is not None and item.case.prepare:
            return item.held.speech
        made = self.make("dsp", [item])[0]
        if made.problem is not None:
            raise StepeditError(made.problem)
        return made.steps[-1]


def _shared(item: Item, condition: str) -> Item:
    """Return the item whose recording serves: requests on clean speech share a coded one.

    Inserted pauses are silence, which coding cannot damage, so the clean one serves there too.
    Noise does change what an engine codes; WORLD, which reproduces it, is shown on clean speech.
    """
    noisy = item.case is not None and "noise" in item.case.prepare
    own = condition not in ("identity", "world") or (noisy and condition == "identity")
    return item if own or item.row == "chain" else Item("identity", item.held, None, ())


def _world(speech: Utterance) -> Utterance:
    """Return speech taken apart and put together by the WORLD vocoder, nothing changed."""
    return transform(speech, ProsodyRecipe(), np.random.default_rng(0))


def _as_answered(
    engine: SpeechEngine, item: Item, source: Utterance, wanted: Utterance, seed: int
) -> tuple[DecodeRequest, bool]:
    """Return how an ideal output is decoded as an answer, and whether at the source's tempo."""
    (edit,) = item.edits
    own, codes = engine.encode([source, wanted])
    plan = edit.plan(source)
    alone = regenerates_insertions_only(engine, plan)
    request = request_for(edit, source, own, 0, plan=plan, insertions_only=alone)
    tempo = 1 / request.length_ratio if plan.uniform_tempo else 1.0
    offset = (tempo * codes.start - own.start) / GROUP_SECONDS
    source_map = request.source_map(codes.groups, offset)
    return DecodeRequest(codes, source, seed, source_map), plan.uniform_tempo


def _coded(engine: SpeechEngine, speech: Utterance, seed: int) -> Utterance:
    """Return speech coded and decoded in its own voice."""
    return reconstructed(engine, [speech], [seed])[0]


def _try(
    task: Callable[[], tuple[Utterance, ...]],
) -> tuple[tuple[Utterance, ...] | None, Exception | None]:
    try:
        return task(), None
    except StepeditError as error:
        return None, error


def _file(item: Item) -> str:
    row, kind, name = item.id.split("/", 2)
    return f"{row}/{kind}-{slug(name)}"


def _texts(item: Item, condition: str, source: Utterance) -> list[str | None]:
    """Return the words that each recording ought to say."""
    texts, state = [], source
    edits = (
        item.edits if condition in ("dsp", "target", "llm") else (None,) * max(1, len(item.edits))
    )
    for edit in edits or (None,):
        if edit is not None:
            state = state.replace(transcript=edit.transcript_after(state))
        texts.append(state.transcript)
    return texts


def _kept(path: Path, speech: Utterance, like: Utterance | None) -> Utterance:
    """Write a recording and return what is in the file, with its words and language."""
    if not path.is_file():
        speech.write(path, subtype="PCM_16")
    words = speech.transcript if like is None else like.transcript
    return Utterance.read(path, words, "en")
