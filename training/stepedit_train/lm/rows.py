"""From pair rows to ids: the chat format, with the loss on the answer alone.

Targets that last as long as the edit announces are fitted to their source's timing. The audio
tokenizer cuts silence off both ends of what it encodes: a noisy source keeps what a clean target
loses, so that their codes begin and end at different times, and at inference nobody knows by how
much. Targets get those groups back, as repetitions of their own last group, which is the silence
that the tokenizer leaves after the last word.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stepedit_core.codes import GROUP_SECONDS, GROUP_SIZE, DualCodes, FreeGroups, splice_codes
from stepedit_core.edit import Edit
from stepedit_core.errors import EngineError
from stepedit_core.llm_route.planning import inserted_groups, request_for
from stepedit_core.models.lm.chat import PromptEncoding
from stepedit_core.models.lm.framing import aligned_prompt
from stepedit_core.models.lm.step1 import Alignment
from stepedit_core.models.text.base import TextTokenizer
from stepedit_core.plan import Insertion
from stepedit_core.storage.pair_rows import (
    finished_shards,
    read_rows,
    row_codes,
    row_details,
    row_edit,
    row_utterance,
)
from stepedit_train.lm.encoding import needs_codes, with_codes

__all__ = [
    "IGNORED",
    "Example",
    "example_of",
    "fit_to_source_timing",
    "put_in_part",
    "read_examples",
]

IGNORED = -100
"""Label of ids that no loss is taken of."""
COLUMNS = [
    "id", "edit_json", "source_audio", "source_text", "source_codes", "target_codes", "speaker",
    "language", "split", "source_start", "target_start", "source_seconds", "target_seconds",
    "details",
]  # fmt: skip

_SAME = 0.02
"""Largest relative difference of a target's duration from the announced one."""
_MOST = 25
"""Groups (3 s) that are put back at most on one side."""


@dataclass(frozen=True)
class Example:
    """One pre-tokenised pair.

    Attributes:
        name: the row's id.
        edit: registered name of the edit.
        speaker: identity of the speaker, or the row's id.
        ids: prompt and answer.
        prompt: number of prompt ids, of which no loss is taken.
        alignment: expected place of the answer in its source.
        judged: first slot and slot after the last that the loss is taken on; None: all answers.
        shown: what the model is given in place of ``ids``, where noise was put on them.
    """

    name: str
    edit: str
    speaker: str
    ids: list[int]
    prompt: int
    alignment: Alignment | None = None
    judged: tuple[int, int] | None = None
    shown: list[int] | None = field(default=None, compare=False)

    @property
    def labels(self) -> list[int]:
        """The ids with the prompt's hidden, and what is copied."""
        first, stop = self.judged or (self.prompt, len(self.ids))
        after = [IGNORED] * (len(self.ids) - stop)
        return [IGNORED] * first + self.ids[first:stop] + after


def _problem(row: Mapping[str, Any], edit: Edit) -> str | None:
    """Return why a row cannot be trained on, or None."""
    if edit.route_problem("llm"):
        return f"{edit.name} has no llm route for these parameters"
    if not row["source_codes"] or not row["target_codes"]:
        return "the row has no codes (stepedit pairs-encode gives them)"
    if edit.needs_transcript("llm") and not (row["source_text"] or "").strip():
        return f"{edit.name} needs a transcript"
    return None


def example_of(
    row: Mapping[str, Any],
    tokenizer: TextTokenizer,
    encoding: PromptEncoding,
    *,
    insertions_only: bool = False,
) -> Example | str:
    """Return a row as ids, or why it is left out.

    The prompt and its alignment are made by the code that inference uses, from the edit's own
    ``prompt`` and ``plan``.

    Args:
        row: with the columns of a pair shard.
        tokenizer: the language model's.
        encoding: prompt encoding of the model.
        insertions_only: copy all but what was put in, as an engine does that keeps the rest, and
            take the loss on that alone.

    Raises:
        StepeditError: if the row names an unknown edit or a parameter that it does not take.
    """
    edit = row_edit(row)
    problem = _problem(row, edit)
    if problem:
        return problem
    # Spans of an edit are in seconds of the recording: codes know where in it they begin.
    speech, codes = row_utterance(row, "source"), row_codes(row, "source")
    target = row_codes(row, "target")
    assert speech is not None and codes is not None and target is not None
    target = replace(target, start=0.0)
    part = put_in_part(row, codes, target) if insertions_only else None
    if isinstance(part, str):
        return part
    try:
        request = request_for(edit, speech, codes, 0)
        if part is not None:
            target = splice_codes(codes, target, (part,))
            request = replace(request, free=(part,))
        prompt = aligned_prompt(request, tokenizer, encoding)
    except EngineError as error:
        return str(error)
    answer = tokenizer.audio_ids(target.interleave().tolist())
    answer, alignment = fit_to_source_timing(row, answer, prompt.alignment)
    ids = [*prompt.ids, *answer, tokenizer.eot_id]
    speaker = row["speaker"] or row["id"]
    judged = None
    if part is not None:
        first = len(prompt.ids) + GROUP_SIZE * part.start
        judged = (first, first + GROUP_SIZE * part.length)
    return Example(row["id"], edit.name, speaker, ids, len(prompt.ids), alignment, judged)


def put_in_part(row: Mapping[str, Any], source: DualCodes, target: DualCodes) -> FreeGroups | str:
    """Return the source group that a sound was put into and what it grew to, or why there is none.

    Args:
        row: its ``details`` say ``at``, the place in the source in seconds.
        source: codes before the edit.
        target: codes after it.
    """
    at = row_details(row).get("at")
    if at is None:
        return "the details do not say where a sound was put in"
    if abs((row["target_start"] or 0.0) - source.start) > GROUP_SECONDS / 2:
        return "source and target do not begin together"
    seconds = row["target_seconds"] - row["source_seconds"]
    part = inserted_groups([Insertion(at, seconds)], source)[0]
    # Codes end with the last sound; the silence after one that was put in last is not among them.
    length = min(part.length, target.groups - part.start)
    if seconds < GROUP_SECONDS / 2 or length < 2:
        return "the target does not hold what was put in"
    return replace(part, length=length)


def read_examples(
    folder: Path,
    tokenizer: TextTokenizer,
    encoding: PromptEncoding,
    *,
    max_tokens: int,
    splits: tuple[str, ...] = ("train",),
    insertions_only: bool = False,
    codes_by: Path | None = None,
) -> tuple[list[Example], Counter[str]]:
    """Return the rows of a run of `stepedit pairs` as ids, and why others were left out.

    Args:
        folder: of the run.
        tokenizer: the language model's.
        encoding: prompt encoding of the model.
        max_tokens: longer examples are left out.
        splits: rows of other splits are left out; rows that name none are taken.
        insertions_only: see ``example_of``.
        codes_by: folder of the audio tokenizer for rows without codes; None leaves them out.
    """
    examples: list[Example] = []
    skipped: Counter[str] = Counter()
    finished_shards(folder)
    columns = COLUMNS if codes_by is None else [*COLUMNS, "target_audio", "target_text"]
    for row in read_rows(folder, columns):
        if row["split"] is not None and row["split"] not in splits:
            skipped[f"split {row['split']}"] += 1
            continue
        coded = with_codes(row, codes_by) if codes_by is not None and needs_codes(row) else row
        made = (
            coded
            if isinstance(coded, str)
            else example_of(coded, tokenizer, encoding, insertions_only=insertions_only)
        )
        if isinstance(made, str):
            skipped[made] += 1
        elif len(made.ids) > max_tokens:
            skipped[f"longer than {max_tokens} tokens"] += 1
        else:
            examples.append(made)
    return examples, skipped


def fit_to_source_timing(
    row: Mapping[str, Any], answer: list[int], alignment: Alignment
) -> tuple[list[int], Alignment]:
    """Return the target's ids with silence put back, and the alignment that is left.

    Rows whose target has not the duration that the edit announces (cut pauses, added sounds,
    other words), and rows that do not say where their codes begin, stay as they are.

    Args:
        row: with the starts and durations of source and target, in seconds.
        answer: interleaved ids of the target.
        alignment: the expected one.
    """
    times: list[Any] = [row.get(name) for name in ("source_start", "target_start")]
    lengths: list[Any] = [row.get(name) for name in ("source_seconds", "target_seconds")]
    if None in times + lengths or alignment.kind != "audio" or len(alignment.bends) != 1:
        return answer, alignment
    pace = alignment.bends[0][1]
    if abs(lengths[1] * pace / lengths[0] - 1) > _SAME:
        return answer, alignment
    late = (times[1] - times[0] / pace) / GROUP_SECONDS
    lead = min(_MOST, max(0, round(late)))
    expected = round((alignment.stop - alignment.start) / GROUP_SIZE / pace)
    trail = min(_MOST, max(0, expected - lead - len(answer) // GROUP_SIZE))
    silence = answer[-GROUP_SIZE:]
    moved = dataclasses.replace(alignment, bends=((lead - late, pace),))
    return [*(silence * lead), *answer, *(silence * trail)], moved
