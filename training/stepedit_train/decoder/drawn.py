"""The ``drawn-codes`` stage: codes of targets as the language model draws them.

A decoder that is taught by the codes of recordings meets others in use: those that a language model
draws, with its errors. Here the model draws every token of a target's answer while what lies before
it is the recording's own (teacher forcing), so that the drawn codes keep the recording's time and
its mel is the target of both. The model draws as in use, by its rules for the edit.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.numpy import save_file

from stepedit_core.atomic import replace_file
from stepedit_core.codes import GROUP_SIZE, DualCodes
from stepedit_core.config import GenerationPolicy, SamplingConfig, without_own_weights
from stepedit_core.errors import StepeditError, counted
from stepedit_core.llm_route.planning import request_for
from stepedit_core.models.checkpoint.model_files import folder_sampling
from stepedit_core.models.decoder.flow import token_rows
from stepedit_core.models.lm.constraints import CODE_COUNT
from stepedit_core.models.lm.framing import Rules
from stepedit_core.models.lm.step1.loading import load_step1
from stepedit_core.storage.pair_rows import (
    finished_shards,
    read_shard,
    row_codes,
    row_edit,
    row_utterance,
)
from stepedit_train.decoder.store import Spoken
from stepedit_train.rl.layout import AnswerRow, Vocabulary, lay_out
from stepedit_train.rl.log_probs import collate_answers, decision_log_probs, parts_within
from stepedit_train.seeds import generator_of
from stepedit_train.settings import Settings, resolve_path

__all__ = ["Drawer", "DrawnCodes", "DrawnCodesSettings", "draw_codes"]

_COLUMNS = [
    "id", "edit_json", "source_audio", "source_text", "source_codes", "source_start",
    "target_codes", "source_seconds", "target_seconds", "language", "split",
]  # fmt: skip
_ANY_LENGTH = {"max_growth": 1000.0, "max_growth_known": 1000.0, "min_length": 0.0}
"""A recording may be longer or shorter than the model would be let answer."""
_WHOLE = {"top_k": None, "top_p": None, "grammar": True}
"""What these cut off could be the recording's."""


class DrawnCodesSettings(Settings):
    """Settings of the drawn-codes stage."""

    model: Path
    """Folder of an engine, whose rules of sampling are taken."""
    weights: Path | None = None
    """Folder inside it with the language model's weights; None: its own."""
    pairs: tuple[Path, ...]
    """Folders of `stepedit pairs`, with codes."""
    out: Path
    """Folder of the drawn codes."""
    draws: int = Field(default=4, ge=1)
    """Draws of each target."""
    sampling: SamplingConfig = SamplingConfig()
    """Rules of sampling other than the model's."""
    max_pairs: int = Field(default=3000, ge=1)
    """Rows taken of each folder."""
    max_seconds: float = Field(default=8.0, gt=0)
    """Pairs with a longer source or target are left out."""
    max_tokens: int = Field(default=1100, ge=16)
    """Longer prompts with their answers are left out."""
    tokens: int = Field(default=6000, ge=64)
    """Tokens that are read together."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draws."""


class Drawer:
    """Lays pair rows out as answers, and draws them again."""

    def __init__(self, settings: DrawnCodesSettings) -> None:
        folder = resolve_path(settings, settings.model)
        part = folder if settings.weights is None else folder / settings.weights
        self.settings = settings
        self.vocabulary = Vocabulary.of_folder(folder)
        self.model: Any = load_step1(part, dtype=torch.float32)
        self.model.train(False)
        self.model.config.use_cache = False
        sampling, policy = folder_sampling(folder)
        self.rules = Rules(
            settings.sampling.model_copy(update=_WHOLE).filled(sampling),
            GenerationPolicy().filled(without_own_weights(policy)),
        )

    def answer(self, row: Mapping[str, Any]) -> AnswerRow | str:
        """Return a row as decisions, or why the model could not be asked so."""
        try:
            edit = row_edit(row)
            source, codes = row_utterance(row, "source"), row_codes(row, "source")
            target = row_codes(row, "target")
            if source is None or codes is None or target is None:
                return "the row has no codes (stepedit pairs-encode gives them)"
            plan = edit.plan(source)
            own = self.any_length(self.rules.for_edit(*plan.rules))
            request = request_for(edit, source, codes, 0, plan=plan)
            answer = lay_out(request, replace(target, start=0.0), self.vocabulary, own)
        except StepeditError as error:
            return str(error)
        most = self.settings.max_tokens
        return answer if answer.tokens <= most else f"longer than {most} tokens"

    def any_length(self, rules: Rules) -> Rules:
        """Return rules by which a recording may be the answer, however long it is."""
        sampling = {"repetition_window": 0, "max_length": self.settings.max_tokens}
        return Rules(
            rules.sampling.model_copy(update=sampling), rules.policy.model_copy(update=_ANY_LENGTH)
        )

    def codes(self, rows: Sequence[AnswerRow], generator: torch.Generator) -> list[list[DualCodes]]:
        """Return the codes that are drawn for each answer, ``draws`` times each."""
        aligned = self.model.config.source_alignment is not None
        batch = collate_answers(rows, aligned=aligned)
        scores = decision_log_probs(self.model, batch, self.vocabulary.layout)
        found = []
        for at, row in enumerate(rows):
            count = len(row.ids) - len(row.ids) % GROUP_SIZE
            own = scores[at, :count]
            own[:, CODE_COUNT] = -torch.inf  # a recording goes on where it does
            drawn = torch.multinomial(
                own.exp(), self.settings.draws, replacement=True, generator=generator
            )
            kept = torch.from_numpy(row.columns[:count])[:, None].expand_as(drawn)
            given = torch.from_numpy(row.drawn[:count])[:, None]
            tokens = torch.where(given, drawn, kept).t().numpy()
            found.append([DualCodes.from_interleaved(one) for one in tokens])
        return found


def draw_codes(settings: DrawnCodesSettings) -> Iterator[str]:
    """Draw for the shards that are not done yet; yield lines that say what was done.

    Raises:
        StepeditError: if a folder of pairs holds none.
    """
    out = resolve_path(settings, settings.out)
    drawer: Drawer | None = None
    for folder in settings.pairs:
        left = settings.max_pairs
        for path in finished_shards(resolve_path(settings, folder)):
            if left <= 0:
                break
            rows = [row for row in read_shard(path, _COLUMNS) if _is_wanted(row, settings)][:left]
            left -= len(rows)
            place = out / folder.name / f"{path.stem}.safetensors"
            if place.is_file():
                continue
            begun = time.monotonic()
            drawer = drawer or Drawer(settings)
            answers, skipped = _answers(drawer, rows)
            _draw_shard(drawer, answers, place, folder.name)
            seconds, pairs = time.monotonic() - begun, counted(len(rows), "pair")
            yield f"{folder.name}/{path.stem}: {len(answers)} of {pairs} in {seconds:.0f} s"
            yield from (f"  {count} left out: {reason}" for reason, count in skipped.items())


def _is_wanted(row: Mapping[str, Any], settings: DrawnCodesSettings) -> bool:
    longest = max(row["source_seconds"], row["target_seconds"])
    return bool(row["split"] != "test" and longest <= settings.max_seconds)


def _answers(
    drawer: Drawer, rows: Sequence[Mapping[str, Any]]
) -> tuple[list[tuple[str, AnswerRow]], Counter[str]]:
    """Return rows as decisions by their ids, short ones first, and why others were left out."""
    found: list[tuple[str, AnswerRow]] = []
    skipped: Counter[str] = Counter()
    for row in rows:
        answer = drawer.answer(row)
        if isinstance(answer, str):
            skipped[answer] += 1
        else:
            found.append((row["id"], answer))
    return sorted(found, key=lambda one: one[1].tokens), skipped


def _draw_shard(
    drawer: Drawer, known: Sequence[tuple[str, AnswerRow]], place: Path, name: str
) -> None:
    """Draw for the answers of a shard, and write what was drawn."""
    answers = [one for _, one in known]
    tensors: dict[str, npt.NDArray[np.int16]] = {}
    with torch.inference_mode():
        for part in parts_within(answers, drawer.settings.tokens):
            generator = generator_of(drawer.settings.seed, name, place.stem, part[0])
            made = drawer.codes([answers[at] for at in part], generator)
            for at, own in zip(part, made, strict=True):
                laid_out = [token_rows(one.interleave()).numpy() for one in own]
                tensors[known[at][0]] = np.stack(laid_out).astype(np.int16)
    replace_file(place, lambda partial: save_file(tensors, partial))


class DrawnCodes:
    """Read drawn codes; arrays stay on disk until they are asked for.

    Args:
        folder: that the stage made.

    Raises:
        StepeditError: if there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, str], Any] = {}
        for path in sorted(folder.glob("*/*.safetensors")):
            file: Any = safe_open(path, framework="numpy")
            self._files |= {(path.parent.name, key): file for key in file.keys()}  # noqa: SIM118
        if not self._files:
            raise StepeditError(f"{folder}: holds no codes; run `stepedit train drawn-codes` first")

    def check(self, items: Sequence[Spoken]) -> None:
        """Hold that targets of a store are among them, and are as long as there.

        Raises:
            StepeditError: if they are of other pairs, or of another tokenizer's codes.
        """
        known = [one for one in items if (one.family, one.id) in self._files]
        targets = [one for one in known if one.role == "target"]
        if not targets:
            raise StepeditError(f"{self._folder}: its codes are of none of the store's targets")
        for one in targets:
            shape = self._files[one.family, one.id].get_slice(one.id).get_shape()
            if shape[1] != one.rows:
                raise StepeditError(
                    f"{self._folder}: {one.family}/{one.id} has {shape[1]} rows, and {one.rows} in "
                    "the store: draw the codes again"
                )

    def rows(self, family: str, name: str) -> npt.NDArray[np.int64] | None:
        """Return the draws of a target, int64 ``(draws, n, 2)``, or None."""
        file = self._files.get((family, name))
        return None if file is None else file.get_tensor(name).astype(np.int64)
