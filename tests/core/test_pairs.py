from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stepedit_core.errors import AudioError
from stepedit_core.pairs import (
    BuildContext,
    CorpusItem,
    EditPair,
    PairBuilder,
    PairJob,
    Rejected,
)
from stepedit_core.testing import contract_corpus, silence
from stepedit_core.utterance import Utterance
from tests.toy_edits import Gain


class Quieter(PairBuilder):
    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        source = job.items[0].read()
        edit = Gain(db=float(context.rng.integers(-20, -6)))
        yield EditPair(source, edit.render(source, context.rng).utterance, edit, 8.0)


def test_jobs_are_one_per_item_in_order() -> None:
    items = [CorpusItem(name, f"{name}.wav") for name in "cab"]
    assert [job.key for job in Quieter().jobs(items, {})] == ["c", "a", "b"]


def test_a_job_is_seeded_by_its_own_generator(tmp_path: Path) -> None:
    item = contract_corpus(tmp_path)[0]
    job = PairJob(item.id, (item,))
    one, two = (
        next(iter(Quieter().build(job, BuildContext(np.random.default_rng(5))))) for _ in range(2)
    )
    assert isinstance(one, EditPair)
    assert isinstance(two, EditPair)
    assert one.edit == two.edit
    assert one.source.transcript == item.transcript


@pytest.mark.parametrize("margin", [0.9, 10.1, float("nan")])
def test_a_margin_lies_in_its_range(speech: Utterance, margin: float) -> None:
    with pytest.raises(ValueError, match=r"outside 1\.\.10"):
        EditPair(speech, speech, Gain(), margin)


def test_an_item_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = silence(0.5).write(tmp_path / "silent.wav")
    with pytest.raises(AudioError, match=r"silent\.wav: .*digital silence"):
        CorpusItem("a", str(path)).read()
    with pytest.raises(AudioError, match=r"no such file"):
        CorpusItem("a", str(tmp_path / "absent.wav")).read()


def test_a_context_samples_nothing_by_default() -> None:
    context = BuildContext(np.random.default_rng(0))
    assert context.sample(context.rng, 3) == []
