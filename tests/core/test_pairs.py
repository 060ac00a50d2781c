from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.pairs import (
    BuildContext,
    CorpusItem,
    EditPair,
    PairBuilder,
    PairJob,
    PairOptions,
    Rejected,
)
from stepedit_core.testing import contract_corpus, silence, speech_like
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


def test_settings_are_read() -> None:
    asked = PairOptions({"kinds": "b+a", "each": "3", "share": "0.5", "snr": "-5:10"})
    assert asked.words("kinds", "abc") == ("b", "a")
    assert asked.words("others", "abc") == ("a", "b", "c")
    assert asked.words("others", "abc", "c") == ("c",)
    assert asked.word("backend", ("sox", "rubberband")) == "sox"
    assert (asked.count("each", 1), asked.count("draw", 2)) == (3, 2)
    assert (asked.share("share"), asked.share("clean")) == (0.5, 0.0)
    assert asked.limits("snr", "0:10") == (-5.0, 10.0)
    assert asked.folder("noises") is None
    assert asked.directions() == "both"


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (lambda o: o.words("x", "ab"), "a+c", "x: there are a, b; got 'a\\+c'"),
        (lambda o: o.word("x", ("a", "b", "c")), "d", "x: a, b or c, got 'd'"),
        (lambda o: o.count("x", 1), "0", "x: a whole number from 1, got '0'"),
        (lambda o: o.count("x", 1, least=0), "-1", "x: a whole number from 0"),
        (lambda o: o.share("x"), "nan", "x: a number from 0 to 1"),
        (lambda o: o.limits("x", "0:1"), "5", "x: give LOW:HIGH, such as 0:1"),
        (lambda o: o.limits("x", "0:1"), "2:1", "x: the first number is the lower one"),
        (lambda o: o.folder("x"), "/no/where", "x: /no/where is no folder"),
    ],
)
def test_wrong_settings(read: Callable[[PairOptions], object], text: str, says: str) -> None:
    with pytest.raises(StepeditError, match=says):
        read(PairOptions({"x": text}))


@pytest.mark.parametrize(("directions", "count"), [("both", 2), ("forward", 1), ("backward", 1)])
def test_both_ways(directions: str, count: int) -> None:
    loud, soft = speech_like(1.0), speech_like(1.0, peak=0.1)
    builder, there, back = Quieter(), Gain(db=-12), Gain(db=12)
    made = list(builder.both_ways(loud, soft, there, back, 8.0, {"x": 1}, directions))
    pairs = [one for one in made if isinstance(one, EditPair)]
    assert len(pairs) == len(made) == count
    for one in pairs:
        forward = one.details["direction"] == "forward"
        assert one.edit == (there if forward else back)
        assert (one.source, one.target) == ((loud, soft) if forward else (soft, loud))
    (rejected,) = builder.both_ways(loud, soft, there, back, 3.0, {"x": 1})
    assert rejected == Rejected("margin below 6", {"x": 1, "margin": 3.0})
