"""Requests for online training: sources and edits, whose answers the policy draws itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit
from stepedit_core.errors import PluginError, StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Case, Prepared
from stepedit_core.storage.pair_rows import (
    read_rows,
    row_codes,
    row_details,
    row_edit,
    row_utterance,
    shard_paths,
)
from stepedit_train.data.select import CorpusSettings, select_items
from stepedit_train.seeds import rng_of, share_of
from stepedit_train.settings import Settings

__all__ = ["Prompt", "PromptSource", "Ready", "read_prompts"]

COLUMNS = [
    "id", "edit_json", "source_audio", "source_text", "source_codes", "source_start",
    "target_audio", "target_text", "target_codes", "source_seconds", "speaker", "language",
    "split", "details",
]  # fmt: skip


class PromptSource(Settings):
    """Source of requests: a folder of pairs, or a corpus of plain speech."""

    path: Path
    """Folder of `stepedit pairs`, whose sources and edits are taken (targets serve as references
    of rewards that need one); or a corpus, whose recordings the edit's scorer prepares as it
    does those of its benchmark."""
    edits: tuple[str, ...] = ()
    """Names of the edits; needed for a corpus, which gets those of their benchmark cases. None
    takes all edits of a folder of pairs."""
    layout: str | None = None
    """Corpus reader, where the look of the path does not say it."""
    shortest: float = Field(default=1.0, gt=0)
    """Seconds of a source at least."""
    longest: float = Field(default=12.0, gt=0)
    """Seconds of a source at most."""
    most: int | None = Field(default=None, ge=1)
    """At most so many requests, drawn by the seed."""


@dataclass(frozen=True)
class Ready:
    """A request made ready.

    Attributes:
        case: as a benchmark item.
        prepared: what the scorer made of the recording.
        codes: of the source, where they are known.
        target: codes of a recorded answer, where there is one.
    """

    case: Case
    prepared: Prepared
    codes: DualCodes | None = None
    target: DualCodes | None = None


@dataclass(frozen=True, eq=False)
class Prompt:
    """A request whose source is read when it is needed.

    Attributes:
        name: unique in a run.
        edit: what is asked.
        speaker: identity of the speaker, or the name.
        seed: of what the scorer prepares.
        row: of a folder of pairs, or None.
        item: of a corpus, or None.
        prepare: what the benchmark's cases of the edit have done to their recordings.
    """

    name: str
    edit: Edit
    speaker: str
    seed: int
    row: Mapping[str, Any] | None = None
    item: CorpusItem | None = None
    prepare: tuple[tuple[str, Any], ...] = ()

    def ready(self) -> Ready:
        """Return the source as the edit receives it.

        Raises:
            StepeditError: if the recording cannot be read, or not be prepared.
        """
        return self._of_row(self.row) if self.row is not None else self._of_item()

    def _of_row(self, row: Mapping[str, Any]) -> Ready:
        source = row_utterance(row, "source")
        if source is None:
            raise StepeditError(f"row {self.name}: has no source audio")
        case = self._case(self.name, source.transcript, source.language)
        prepared = Prepared(source, row_utterance(row, "target"), row_details(row))
        return Ready(case, prepared, row_codes(row, "source"), row_codes(row, "target"))

    def _of_item(self) -> Ready:
        item = self.item
        assert item is not None
        clean = item.read()
        case = self._case(item.path, clean.transcript, clean.language)
        try:
            scorer = get_registry().scorer(type(self.edit))
        except PluginError:
            return Ready(case, Prepared(clean))
        rng = rng_of(self.seed, "prepare", self.name)
        return Ready(case, scorer.prepare(case, clean, rng))

    def _case(self, audio: str, words: str | None, language: str | None) -> Case:
        return Case(
            id=self.name,
            edit=self.edit,
            audio=audio,
            transcript=words,
            language=language,
            prepare=dict(self.prepare),
        )


def _of_pairs(source: PromptSource, seed: int) -> Iterator[Prompt]:
    for row in read_rows(source.path, COLUMNS):
        seconds = row["source_seconds"] or 0.0
        if row["split"] not in (None, "train") or not source.shortest <= seconds <= source.longest:
            continue
        if source.edits and json.loads(row["edit_json"])["edit"] not in source.edits:
            continue
        edit = row_edit(row)
        yield Prompt(row["id"], edit, row["speaker"] or row["id"], seed, row=row)


def _templates(name: str) -> list[tuple[Edit, tuple[tuple[str, Any], ...]]]:
    """Return the requests of an edit's benchmark, each once; its defaults where it has none."""
    kind = get_registry().edit_class(name)
    try:
        cases = get_registry().cases(kind)
    except PluginError:
        return [(kind(), ())]
    known = {
        (case.edit.model_dump_json(), json.dumps(dict(case.prepare), sort_keys=True)): case
        for case in cases
    }
    return [(case.edit, tuple(sorted(case.prepare.items()))) for case in known.values()]


def _of_corpus(source: PromptSource, seed: int) -> Iterator[Prompt]:
    if not source.edits:
        raise StepeditError(f"{source.path}: name the edits of a corpus (edits = [...])")
    templates = {name: _templates(name) for name in source.edits}
    settings = CorpusSettings(path=source.path, layout=source.layout)
    for chosen in select_items(settings, source.path, 0.0):
        if chosen.split != "train":
            continue
        item = chosen.item
        for name, known in templates.items():
            at = int(rng_of(seed, "edit", name, item.id).integers(len(known)))
            edit, prepare = known[at]
            speaker = item.speaker or item.id
            yield Prompt(f"{name}/{item.id}", edit, speaker, seed, item=item, prepare=prepare)


def _is_fit(prompt: Prompt, source: PromptSource) -> bool:
    """Return whether a request can be learned from: by this model's route, with its words known."""
    if prompt.edit.route_problem("llm"):
        return False
    if prompt.item is None:
        return True
    try:
        speech = prompt.item.read()
    except StepeditError:
        return False
    said = bool((speech.transcript or "").strip()) or not prompt.edit.needs_transcript("llm")
    fits = source.shortest <= speech.seconds <= source.longest
    return said and fits and not prompt.edit.problem(speech) and not _replaces(prompt.edit, speech)


def _replaces(edit: Edit, speech: Any) -> bool:
    return bool(edit.plan(speech).replacements)


def _some(source: PromptSource, seed: int) -> list[Prompt]:
    """Return the requests of a source, in an order that the seed gives."""
    is_pairs = bool(shard_paths(source.path))
    found = list(_of_pairs(source, seed) if is_pairs else _of_corpus(source, seed))
    order = rng_of(seed, "prompts", source.path.name).permutation(len(found))
    kept: list[Prompt] = []
    for at in order.tolist():
        if source.most is not None and len(kept) >= source.most:
            break
        if _is_fit(found[at], source):
            kept.append(found[at])
    if not kept:
        raise StepeditError(f"{source.path}: holds no request that can be learned from")
    return kept


def read_prompts(
    sources: Sequence[PromptSource], dev_share: float, seed: int
) -> tuple[list[Prompt], list[Prompt]]:
    """Return requests to train on, and those of other speakers to validate on.

    Args:
        sources: their paths absolute.
        dev_share: part of the speakers that is kept for validation.
        seed: of the order, of the edits that recordings get, and of what scorers prepare.

    Raises:
        StepeditError: if a source holds none.
    """
    found = [prompt for source in sources for prompt in _some(source, seed)]
    train = [one for one in found if share_of("sft", one.speaker) >= dev_share]
    dev = [one for one in found if share_of("sft", one.speaker) < dev_share]
    if not train:
        raise StepeditError("no request is left to train on: all speakers are held out")
    return train, dev
