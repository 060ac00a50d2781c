"""Pairs along a label: which items meet, in which direction, with which margin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stepedit_emotion import Emotion
from stepedit_emotion.pairs import EmotionPairs
from stepedit_emotion.profiles import PROFILES
from stepedit_style.pairs import StylePairs

from stepedit_core import BuildContext, CorpusItem, EditPair, Rejected, StepeditError, Utterance
from stepedit_core.dsp.acoustics import difference, margin
from stepedit_core.edit import Edit
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing.fake_engine import FakeEngine


class ProfileMargin:
    """The margin along a profile, as the acoustic margin scorer has it."""

    name = "profile-of-tests"
    validation = "for tests"

    def margin(self, source: Utterance, target: Utterance, edit: Edit) -> float | None:
        profile = PROFILES.get(edit.to)  # type: ignore[attr-defined]
        return None if profile is None else margin(difference(source, target), profile)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[CorpusItem]:
    """One speaker, one sentence: neutral, happy and sad by recipe, a flat copy called angry."""
    folder = tmp_path_factory.mktemp("corpus")
    speech = packaged_speech("surpassed")
    sounds = {"neutral": speech, "anger": speech.replace(samples=speech.samples * 0.9)}
    for label in ("happy", "sad"):
        made = Emotion(to=label).render(speech, np.random.default_rng(0))
        sounds[label] = made.utterance
    items = []
    for label, sound in sounds.items():
        path = sound.write(folder / f"{label}.wav", subtype="FLOAT")
        items.append(item(label, str(path), speech.transcript))
    return items


def item(
    label: str, path: str = "x.wav", text: str | None = "some words", **more: str
) -> CorpusItem:
    fields = {"speaker": "lj", "group": "lj-1", **more}
    return CorpusItem(
        f"{fields['group']}-{label}",
        path,
        text,
        language="en",
        labels={"emotion": label},
        **{k: fields[k] for k in ("speaker", "group")},
    )


def run(
    items: list[CorpusItem], options: dict[str, str], engine: FakeEngine | None = None
) -> Iterator[EditPair | Rejected]:
    builder = EmotionPairs()
    for number, job in enumerate(builder.jobs(items, options)):
        rng = np.random.default_rng([0, number])
        yield from builder.build(job, BuildContext(rng, options, engine, ProfileMargin()))


def test_parallel_pairs(
    corpus: list[CorpusItem],
) -> None:
    made = list(run(corpus, {"mode": "parallel", "directions": "to+remove"}))
    pairs = [pair for pair in made if isinstance(pair, EditPair)]
    assert sorted(pair.edit.to for pair in pairs) == ["happy", "remove", "remove", "sad"]
    neutral = packaged_speech("surpassed")
    for pair in pairs:
        marked, plain = pair.target, pair.source
        if pair.edit.to == "remove":
            marked, plain = plain, marked
        assert np.array_equal(plain.samples, neutral.samples)
        assert not np.array_equal(marked.samples, neutral.samples)
        assert pair.source.transcript == pair.target.transcript
        assert 6 <= pair.margin <= 10
        assert pair.details["margin_by"] == "profile-of-tests"
    rejected = [row for row in made if isinstance(row, Rejected)]
    assert [row.reason for row in rejected] == ["margin of angry below 6"] * 2
    assert all(row.details["margin"] < 2 for row in rejected)


def test_the_margin_of_remove_is_that_of_the_label(corpus: list[CorpusItem]) -> None:
    made = [row for row in run(corpus, {"labels": "sad"}) if isinstance(row, EditPair)]
    assert {row.edit.to for row in made} == {"sad", "remove"}
    assert len({round(row.margin, 6) for row in made}) == 1


def test_between_goes_from_label_to_label(corpus: list[CorpusItem]) -> None:
    jobs = list(EmotionPairs().jobs(corpus, {"directions": "between"}))
    assert {(job.params["between"], job.params["label"]) for job in jobs} == {
        ("angry", "happy"),
        ("happy", "sad"),
        ("sad", "angry"),
    }
    made = list(run(corpus, {"directions": "between", "threshold": "1"}))
    assert all(isinstance(row, EditPair) for row in made)
    assert {row.details["from"] for row in made} == {"angry", "happy", "sad"}


def test_thresholds_are_options(corpus: list[CorpusItem]) -> None:
    strict = list(run(corpus, {"threshold": "10", "labels": "happy+sad"}))
    kept = [row for row in strict if isinstance(row, EditPair)]
    assert len(kept) < 4 and all(row.margin == 10 for row in kept)


def test_render_makes_pairs_of_neutral_recordings(corpus: list[CorpusItem]) -> None:
    options = {"mode": "render", "labels": "happy+sad+coldness"}
    first, again = list(run(corpus, options)), list(run(corpus, options))
    pairs = [row for row in first if isinstance(row, EditPair)]
    assert sorted(row.edit.to for row in pairs) == ["happy", "remove", "remove", "sad"]
    assert [row.target.digest for row in pairs] == [row.target.digest for row in again]
    assert pairs[0].details["render"]["backend"].startswith("WORLD")


def test_clone_speaks_other_words_with_both_prompts(tmp_path: Path) -> None:
    items = []
    for number, (label, name) in enumerate(
        [("neutral", "surpassed"), ("neutral", "garden"), ("happy", "office")]
    ):
        speech = packaged_speech(name)
        path = speech.write(tmp_path / f"{name}.wav")
        items.append(item(label, str(path), speech.transcript, group=f"g{number}"))
    engine = FakeEngine()
    made = list(run(items, {"mode": "clone", "threshold": "1"}, engine))
    spoken = {request.prompt.user[-1] for request in engine.requests}
    assert len(engine.requests) == 2 and len(spoken) == 1
    assert spoken <= {packaged_speech(name).transcript for name in ("surpassed", "garden")}
    assert all(request.prompt.is_clone for request in engine.requests)
    assert {request.utterance.transcript for request in engine.requests} == {
        packaged_speech(name).transcript for name in ("surpassed", "office")
    }
    assert made


def test_clone_without_an_engine_is_refused(corpus: list[CorpusItem]) -> None:
    with pytest.raises(StepeditError, match="--engine"):
        list(run(corpus, {"mode": "clone"}))


def test_labels_of_corpora_are_normalised() -> None:
    names = ["Neutral", "fearful", "Disgust", "surprise", "calm", "happiness"]
    builder = EmotionPairs()
    settings = builder.settings({})
    found = [builder.label_of(item(name), settings) for name in names]
    assert found == ["neutral", "fear", "disgusted", "surprised", None, "happy"]
    jobs = list(builder.jobs([item(name) for name in names], {"directions": "to"}))
    assert sorted(job.params["label"] for job in jobs) == [
        "disgusted",
        "fear",
        "happy",
        "surprised",
    ]


def test_items_without_a_group() -> None:
    rows = [
        item("neutral", group=""),
        item("happy", group="", text="Some  words"),
        item("sad", group="", speaker="other"),
    ]
    jobs = list(EmotionPairs().jobs(rows, {}))
    assert [job.params["label"] for job in jobs] == ["happy"]


def test_unlabelled_items_are_neutral_only_on_request() -> None:
    plain = CorpusItem("a", "x.wav", "words")
    assert not list(EmotionPairs().jobs([plain], {"mode": "render", "labels": "happy"}))
    options = {"mode": "render", "labels": "happy", "unlabelled": "neutral"}
    assert [job.key for job in EmotionPairs().jobs([plain], options)] == ["render:a>happy"]


def test_rejects_say_why(corpus: list[CorpusItem]) -> None:
    silent = [
        CorpusItem(row.id, row.path, None, row.speaker, labels=row.labels, group=row.group)
        for row in corpus
    ]
    assert {row.reason for row in run(silent, {"directions": "to"})} == {"no transcript"}
    strange = [
        corpus[0],
        CorpusItem(
            "c",
            corpus[2].path,
            corpus[2].transcript,
            "lj",
            labels={"emotion": "coldness"},
            group=corpus[0].group,
        ),
    ]
    reasons = {row.reason for row in run(strange, {"directions": "to"})}
    assert reasons == {"margin of coldness could not be measured"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"mode": "x"}, "mode"),
        ({"directions": "up"}, "directions"),
        ({"labels": "hapy"}, "labels"),
        ({"threshold": "big"}, "threshold"),
    ],
)
def test_wrong_options_are_named(options: dict[str, str], named: str) -> None:
    for builder in (EmotionPairs(), StylePairs()):
        with pytest.raises(StepeditError, match=named):
            list(builder.jobs([], options))
