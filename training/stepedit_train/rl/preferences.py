"""Preference data: two answers to one request, and which of them is better."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stepedit_core.codes import DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.planning import request_for
from stepedit_core.models.lm.framing import Rules
from stepedit_core.storage.pair_rows import (
    finished_shards,
    read_rows,
    row_codes,
    row_details,
    row_edit,
    row_utterance,
)
from stepedit_train.lm.store import load_examples
from stepedit_train.rl.layout import READING, AnswerRow, Vocabulary, lay_out, read_answer
from stepedit_train.seeds import rng_of, share_of
from stepedit_train.settings import Settings

__all__ = ["Preference", "PreferenceSource", "Preferences", "read_preferences"]

COLUMNS = [
    "id", "edit_json", "source_audio", "source_text", "source_codes", "target_codes",
    "rejected_codes", "speaker", "language", "split", "source_start", "details",
]  # fmt: skip
MARGIN = "margin"
"""Judge of a pair that is preferred to its own source: the margin that its builder asked for."""


class PreferenceSource(Settings):
    """One folder of rows."""

    path: Path
    """Folder of `stepedit pairs-prefer`, or of `stepedit pairs`; for ``reward`` also a file of
    pre-tokenised examples (``replay.npz`` of a model), with ``rejected = "source"``."""
    rejected: Literal["row", "source", "neighbour", "speaker"] = "row"
    """The worse answer: the row's own (`pairs-prefer` writes it); or the source, unedited, which
    makes preferences of any large-margin pairs. Harder to tell are targets of other requests of
    the same edit: ``neighbour`` takes one for the same source, such as *surprised* where *happy*
    is asked for; ``speaker`` one by the same speaker, such as a clone of other words."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Part of the rows that is taken."""


@dataclass(frozen=True, eq=False)
class Preference:
    """One pair of answers.

    Attributes:
        name: the row's id.
        edit: registered name of the edit.
        speaker: identity of the speaker, or the row's id.
        by: who preferred: ``people``, a judge's name, or ``margin``.
        chosen: the better answer.
        rejected: the worse one.
    """

    name: str
    edit: str
    speaker: str
    by: str
    chosen: AnswerRow
    rejected: AnswerRow

    @property
    def tokens(self) -> int:
        """Padded tokens of both."""
        return 2 * max(self.chosen.tokens, self.rejected.tokens)


@dataclass(frozen=True)
class Preferences:
    """Preferences to train on and to validate on, of different speakers.

    Attributes:
        train: in the order of the folders.
        dev: of speakers that are not in ``train``.
        skipped: rows left out, by reason.
    """

    train: list[Preference]
    dev: list[Preference]
    skipped: Counter[str]


_SHARED = {"neighbour": "source_codes", "speaker": "speaker"}
"""Column that a row has in common with those whose targets are its worse answers."""
Others = Mapping[str, Sequence[tuple[str, str]]]
"""For a value of that column: requests as JSON, and the codes of their targets."""


def _others(path: Path, column: str) -> Others:
    """Return what is asked in a folder, by a column."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in read_rows(path, sorted({column, "target_codes", "edit_json"})):
        if row[column] and row["target_codes"]:
            found.setdefault(row[column], []).append((row["edit_json"], row["target_codes"]))
    return found


def _with_another(
    row: Mapping[str, Any], known: Others, column: str, seed: int
) -> Mapping[str, Any]:
    """Return a row whose rejected answer is another request's target, drawn by the seed."""
    name = json.loads(row["edit_json"])["edit"]
    others = [
        codes
        for edit, codes in known.get(row[column] or "", ())
        if edit != row["edit_json"] and json.loads(edit)["edit"] == name
    ]
    if not others:
        return {**row, "rejected_codes": None}
    at = int(rng_of(seed, "neighbour", row["id"]).integers(len(others)))
    return {**row, "rejected_codes": others[at]}


def _answers(
    row: Mapping[str, Any], source: PreferenceSource
) -> tuple[DualCodes, DualCodes, DualCodes] | str:
    """Return the codes of source, better and worse answer, or why there are none."""
    before, better = row_codes(row, "source"), row_codes(row, "target")
    worse = before if source.rejected == "source" else row_codes(row, "rejected")
    if before is None or better is None:
        return "the row has no codes (stepedit pairs-encode gives them)"
    if worse is None:
        if source.rejected in _SHARED:
            whose = "source" if source.rejected == "neighbour" else "speaker"
            return f"its {whose} has no other request of the same edit"
        return "the row has no rejected answer (rejected = 'source' takes the unedited source)"
    if worse.interleave().tolist() == better.interleave().tolist():
        return "both answers have the same codes"
    return before, replace(better, start=0.0), replace(worse, start=0.0)


class _Asking:
    """Requests of rows; that of the last row is kept, since rows of one request stand together.

    Planning may align words, which costs more than the rest of a row.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._key: tuple[Any, ...] = ()
        self._made: tuple[GenerateRequest, Rules] | None = None

    def __call__(self, row: Mapping[str, Any], before: DualCodes) -> tuple[GenerateRequest, Rules]:
        """Return a row's request, and the rules that hold for it.

        Raises:
            StepeditError: if it cannot be asked.
        """
        speech = row_utterance(row, "source")
        if speech is None:
            raise StepeditError("the row has no source audio")
        key = (row["edit_json"], row["source_text"], row["source_codes"], speech.digest)
        if self._made is None or key != self._key:
            edit = row_edit(row)
            plan = edit.plan(speech)
            own = self.rules.for_edit(*plan.rules)
            alone = own.policy.regenerate == "insertions"
            request = request_for(edit, speech, before, 0, plan=plan, insertions_only=alone)
            self._key, self._made = key, (request, own)
        return self._made


def _preference(
    row: Mapping[str, Any], source: PreferenceSource, vocabulary: Vocabulary, asking: _Asking
) -> Preference | str:
    """Return one row's preference, or why it is left out."""
    edit = row_edit(row)
    found = _answers(row, source)
    if edit.route_problem("llm"):
        return f"{edit.name} has no llm route for these parameters"
    if isinstance(found, str):
        return found
    before, better, worse = found
    try:
        request, own = asking(row, before)
        rows = [lay_out(request, codes, vocabulary, own) for codes in (better, worse)]
    except StepeditError as error:
        return str(error)
    by = MARGIN
    if source.rejected == "row":
        by = str(row_details(row).get("preference", {}).get("by", MARGIN))
    return Preference(row["id"], edit.name, row["speaker"] or row["id"], by, *rows)


def _of_examples(
    source: PreferenceSource, vocabulary: Vocabulary, rules: Rules
) -> Iterator[Preference | str]:
    """Yield the preferences of a file of examples: each answer above its own source."""
    if source.rejected != "source" or rules != READING:
        raise StepeditError(
            f"{source.path}: pre-tokenised examples have no rejected answers and no rules of "
            "sampling; they are for `stepedit train reward`, with rejected = 'source'"
        )
    base = vocabulary.layout.audio_base
    for one in load_examples(source.path)[0]:
        prompt = one.ids[: one.prompt]
        answers = (
            [i for i in one.ids[one.prompt :] if i >= base],
            [i for i in prompt if i >= base],
        )
        if not all(answers) or answers[0] == answers[1]:
            yield "both answers have the same codes"
            continue
        rows = [read_answer(prompt, ids, vocabulary, one.alignment) for ids in answers]
        yield Preference(one.name, one.edit, one.speaker, MARGIN, *rows)


def _of_rows(
    source: PreferenceSource, vocabulary: Vocabulary, rules: Rules, seed: int
) -> Iterator[Preference | str]:
    """Yield the preferences of a folder, or why a row has none."""
    finished_shards(source.path)
    column = _SHARED.get(source.rejected)
    known = {} if column is None else _others(source.path, column)
    asking = _Asking(rules)
    for row in read_rows(source.path, COLUMNS):
        if row["split"] not in (None, "train"):
            yield f"split {row['split']}"
        elif _is_taken(source, row["id"], seed):
            whole = row if column is None else _with_another(row, known, column, seed)
            yield _preference(whole, source, vocabulary, asking)


def _is_taken(source: PreferenceSource, name: str, seed: int) -> bool:
    return bool(rng_of(seed, "share", name).random() < source.share)


def read_preferences(
    sources: Sequence[PreferenceSource],
    vocabulary: Vocabulary,
    rules: Rules,
    *,
    max_tokens: int,
    dev_share: float,
    seed: int,
) -> Preferences:
    """Read folders of rows, and keep some speakers for validation.

    Args:
        sources: their paths absolute.
        vocabulary: of the model.
        rules: of sampling, which decide what answers could be given.
        max_tokens: longer answers are left out, with their prompts counted.
        dev_share: part of the speakers that is kept for validation.
        seed: of the rows that a share takes.

    Raises:
        StepeditError: if no row is left; the text says why.
    """
    found: list[Preference] = []
    skipped: Counter[str] = Counter()
    for source in sources:
        made: Iterator[Preference | str]
        if source.path.suffix == ".npz":
            every = _of_examples(source, vocabulary, rules)
            made = (
                one for one in every if isinstance(one, str) or _is_taken(source, one.name, seed)
            )
        else:
            made = _of_rows(source, vocabulary, rules, seed)
        for one in made:
            if isinstance(one, str):
                skipped[one] += 1
            elif max(one.chosen.tokens, one.rejected.tokens) > max_tokens:
                skipped[f"longer than {max_tokens} tokens"] += 1
            else:
                found.append(one)
    train = [one for one in found if share_of("sft", one.speaker) >= dev_share]
    dev = [one for one in found if share_of("sft", one.speaker) < dev_share]
    if not train:
        why = "; ".join(f"{count}: {reason}" for reason, count in skipped.items())
        raise StepeditError(f"no preference is left to train on ({why or 'the folders are empty'})")
    return Preferences(train, dev, skipped)
