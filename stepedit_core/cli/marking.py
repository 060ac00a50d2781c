"""``--mark``: write marks into the outputs of ``stepedit edit`` and beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from stepedit_core.atomic import is_outlet
from stepedit_core.chain.chain import Chain, ChainResult
from stepedit_core.cli.plan import Job
from stepedit_core.errors import StepeditError, counted
from stepedit_core.storage.blocks import clips, target_rate
from stepedit_core.utterance import Utterance

__all__ = ["check_marks", "how_written", "mark_long", "write_output"]


def check_marks(names: Sequence[str], jobs: Sequence[Job], long: Collection[Path]) -> None:
    """Refuse marks that cannot be made before anything runs.

    Args:
        names: of the marks.
        jobs: all recordings.
        long: targets of those that are edited in pieces.

    Raises:
        StepeditError: naming the mark and what to do.
    """
    if not names:
        return
    from stepedit_core.marks.marking import load_marks

    for job in jobs:
        for mark in load_marks(names, job.target):
            if mark.marks_sound and job.target in long:
                raise StepeditError(
                    f"mark {mark.name}: {job.source} is edited in pieces, and marks in the sound "
                    "are for recordings of up to five minutes; c2pa and sidecar work"
                )


def write_output(names: Sequence[str], job: Job, result: ChainResult) -> Path:
    """Write what came out, with the marks that are asked for, and return the file."""
    if not names:
        return result.utterance.write(job.target)
    from stepedit_core.marks.marking import load_marks, write_marked

    marks = load_marks(names, job.target)
    return write_marked(result, job.target, marks, source_file=job.source)


def how_written(utterance: Utterance, target: Path) -> str:
    """Return rate and channels of a written output, and what its format changed."""
    rate = target_rate(target, utterance.sample_rate)
    other = f", resampled from {utterance.sample_rate} Hz for this format"
    resampled = other if rate != utterance.sample_rate else ""
    over = int(np.sum(np.abs(utterance.samples) > 1.0))
    lost = over and not is_outlet(target) and clips(sf.info(str(target)).subtype)
    clipped = (
        f", {counted(over, 'sample above full scale was', 'samples above full scale were')} clipped"
        if lost
        else ""
    )
    return f"{rate} Hz mono{resampled}{clipped}"


def mark_long(names: Sequence[str], job: Job, chain: Chain, row: Mapping[str, Any]) -> None:
    """Mark what a recording was edited into in pieces; ``row`` is its record for the report."""
    if names:
        from stepedit_core.marks.marking import load_marks, mark_file
        from stepedit_core.marks.sidecar import file_hash

        record = {**row, "chain": chain.public_data()["edits"]}
        facts = {key: value for key, value in record.pop("source").items() if key != "sha256"}
        record["input"] = {**facts, "name": job.source.name, "sha256": file_hash(job.source)}
        mark_file(job.target, record, load_marks(names, job.target))
