from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_clone import Clone, stepedit_cases
from stepedit_clone.pairs import ClonePairs, novelty
from stepedit_clone.scorer import CloneScorer

from stepedit_core.chain.running import carry_out
from stepedit_core.dsp.words import read_seconds
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.pairs import BuildContext, CorpusItem, EditPair, Rejected
from stepedit_core.prompt import Slot
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.scoring import Case, Prepared
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.fake_measures import FailingMeasures, FakeMeasures
from stepedit_core.utterance import Utterance


def test_prompt_is_the_public_systems_to_the_letter() -> None:
    voice = packaged_speech("office")
    prompt = Clone(text="今日天氣好好。", dialect="Cantonese").prompt(voice)
    assert prompt.user == ("[Cantonese]今日天氣好好。",)
    assert prompt.system == (
        "Generate audio with the following timbre, prosody and speaking style\n\n"
        "[speaker_start]\nspeaker name: ",
        Slot.SPEAKER,
        "\nspeaker prompt text: \n",
        "Go home with some office supplies.",
        "\nspeaker audio tokens: \n",
        Slot.AUDIO,
        "\n[speaker_end]\n",
    )
    assert prompt.is_clone


def test_pinyin_and_inner_tags_are_kept_as_written() -> None:
    text = "我也想guo4guo4guo1儿guo4guo4的生活 [laugh]。"
    assert Clone(text=text).prompt(packaged_speech("office")).user == (text,)


@pytest.mark.parametrize("tag", ["[Japanese]", "[japanese] ", " [Japanese]"])
def test_a_leading_tag_is_the_dialect(tag: str) -> None:
    edit = Clone(text=f"{tag}おはよう")
    assert (edit.text, edit.dialect) == ("おはよう", "Japanese")
    assert edit == Clone(text="おはよう", dialect="Japanese")
    assert edit.transcript_after(packaged_speech("office")) == "おはよう"


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ({"text": "hello", "dialect": "Cantonse"}, "did you mean 'Cantonese'"),
        ({"text": "hello", "dialect": "French"}, "there is Sichuanese, Cantonese"),
        ({"text": "[Sichuan]你好"}, r"did you mean \[Sichuanese\]"),
        ({"text": "[Korean]안녕", "dialect": "Japanese"}, "begins with"),
        ({"text": "  "}, "no word to say"),
        ({"text": "[laugh]!"}, "no word to say"),
        ({}, "Field required"),
    ],
)
def test_bad_parameters_are_refused(params: dict[str, str], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        Clone(**params)  # type: ignore[arg-type]


def test_a_leading_event_tag_is_no_dialect() -> None:
    assert Clone(text="[laugh] hello").text == "[laugh] hello"


def test_length_ratio_follows_the_words_in_any_script() -> None:
    voice = packaged_speech("office")
    assert voice.transcript is not None
    read = read_seconds(voice.transcript)
    once = Clone(text=voice.transcript).plan(voice).length_ratio
    assert once == pytest.approx((read / voice.seconds) ** 0.5)
    twice = Clone(text=f"{voice.transcript} {voice.transcript}").plan(voice).length_ratio
    assert twice == pytest.approx(2 * once, rel=0.1)
    chinese = Clone(text="今天的天气真好呀。").plan(voice).length_ratio
    tempo = (voice.seconds / read) ** 0.5
    assert chinese * voice.seconds == pytest.approx(tempo * (0.25 + 8 / 5.18))
    # Half of a speaker's tempo is kept, on a logarithmic scale.
    slow = voice.replace(samples=np.tile(voice.samples, 2))
    assert Clone(text="hello there").plan(slow).length_ratio * slow.seconds == pytest.approx(
        2**0.5 * Clone(text="hello there").plan(voice).length_ratio * voice.seconds
    )
    silent = voice.replace(transcript=None)
    assert Clone(text="one two").plan(silent).length_ratio < 0.3
    assert Clone(text="word " * 900).plan(voice).length_ratio == 20.0


def test_there_is_no_dsp_route_and_it_says_why() -> None:
    edit = Clone(text="hello")
    assert edit.routes() == ("llm",)
    assert "cannot speak new words" in str(edit.route_problem("dsp"))
    assert edit.route_problem("llm") is None


def test_llm_route_returns_the_new_words() -> None:
    voice, engine = packaged_speech("office"), FakeEngine()
    edit = Clone(text="Nobody expected the train to arrive on time today.")
    outcome = carry_out(edit, voice, engine, np.random.default_rng(0), "llm", None)
    assert outcome.utterance.transcript == edit.text
    assert engine.requests[0].prompt.is_clone
    ratio = outcome.utterance.seconds / voice.seconds
    assert ratio == pytest.approx(edit.plan(voice).length_ratio, abs=0.1)


def corpus(folder: Path) -> list[CorpusItem]:
    rows = [
        ("garden", "a", {}),
        ("doubt", "b", {}),
        ("hardware", "a", {"dialect": "cantonese"}),
        ("office", "a", {}),
        ("wind", None, {}),
        ("romance", "c", {}),
    ]
    items = []
    for name, speaker, labels in rows:
        voice = packaged_speech(name)
        path = voice.write(folder / f"{name}.wav")
        items.append(CorpusItem(name, str(path), voice.transcript, speaker, "en", labels))
    return items


def build(items: list[CorpusItem], **options: str) -> list[EditPair | Rejected]:
    builder = ClonePairs()
    return [
        made
        for job in builder.jobs(items, options)
        for made in builder.build(job, BuildContext(np.random.default_rng(0), options))
    ]


def test_pairs_join_recordings_of_one_speaker(tmp_path: Path) -> None:
    made = build(corpus(tmp_path))
    pairs = [item for item in made if isinstance(item, EditPair)]
    assert [(p.details["prompt"], p.details["target"]) for p in pairs] == [
        ("garden", "hardware"),
        ("hardware", "office"),
    ]
    for pair in pairs:
        assert isinstance(pair.edit, Clone)
        assert pair.edit.text == pair.target.transcript
        assert pair.margin == 10.0
    assert isinstance(pairs[0].edit, Clone)
    assert pairs[0].edit.dialect == "Cantonese"
    reasons = [item.reason for item in made if isinstance(item, Rejected)]
    assert reasons == ["no speaker label"] + ["only recording of its speaker"] * 2


def test_pairs_that_teach_nothing_are_rejected(tmp_path: Path) -> None:
    first = corpus(tmp_path)[0]
    again = CorpusItem("again", first.path, first.transcript, "a")
    wordless = CorpusItem("wordless", first.path, None, "a")
    reasons = [
        item.reason for item in build([first, again, wordless]) if isinstance(item, Rejected)
    ]
    assert reasons == ["margin below 6", "no transcript"]
    short = build(corpus(tmp_path)[::2][:2], min_seconds="4")
    assert [item.reason for item in short if isinstance(item, Rejected)] == ["not within 4..30 s"]
    with pytest.raises(StepeditError, match="min_seconds=long: give a number"):
        build(corpus(tmp_path), min_seconds="long")


def test_novelty_is_the_share_of_new_words() -> None:
    assert novelty("one two three", "one two three") == 0.0
    assert novelty("one two three", "four five") == 1.0
    assert novelty("one two", "One, two, three, four!") == 0.5
    assert novelty("今天好", "今天坏") == pytest.approx(1 / 3)


class Heard(FakeMeasures):
    """Say what was heard and how alike the voices are."""

    def __init__(self, error: float, similarity: float) -> None:
        super().__init__()
        self.error, self.similarity = error, similarity
        self.asked: list[tuple[str, str | None]] = []

    def word_error(self, expected: str, utterance: Utterance) -> float:
        self.asked.append((expected, utterance.language))
        return self.error

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        return self.similarity


@pytest.mark.parametrize(
    ("error", "similarity", "reached"),
    [(0.1, 0.9, True), (0.3, 0.9, False), (0.1, 0.6, False)],
)
def test_scorer_wants_words_and_voice(error: float, similarity: float, reached: bool) -> None:
    voice = packaged_speech("office")
    case = Case(id="x", edit=Clone(text="Hello there."), audio="speech:office")
    score = CloneScorer().score(case, Prepared(voice), voice, Heard(error, similarity))
    assert score.reached is reached
    assert score.values == {"word_error": error, "speaker_similarity": similarity}


def test_scorer_listens_in_the_language_of_the_text() -> None:
    voice = packaged_speech("office")
    measures = Heard(0.0, 1.0)
    for edit, meta in [
        (Clone(text="你好"), {}),
        (Clone(text="おはよう", dialect="Japanese"), {}),
        (Clone(text="他在银hang2"), {"spoken": "他在银行"}),
        (Clone(text="hello"), {}),
    ]:
        case = Case(id="x", edit=edit, audio="speech:office", meta=meta)
        CloneScorer().score(case, Prepared(voice), voice, measures)
    assert measures.asked == [
        ("你好", "zh"),
        ("おはよう", "ja"),
        ("他在银行", "zh"),
        ("hello", "en"),
    ]


def test_scorer_failures_and_untouched_input() -> None:
    voice = packaged_speech("office")
    case = Case(id="x", edit=Clone(text="Hello there."), audio="speech:office")
    failed = CloneScorer().score(case, Prepared(voice), voice, FailingMeasures())
    assert failed.reached is None
    assert failed.unscored == "this measurement fails on purpose"
    untouched = CloneScorer().score(case, Prepared(voice), voice, FakeMeasures())
    assert untouched.reached is False


def test_cases_are_whole() -> None:
    import stepedit_clone

    registry = Registry(disabled=[])
    registry.register(stepedit_clone, "clone")
    set_registry(registry)
    try:
        cases = list(stepedit_cases(Clone, "default") or [])
    finally:
        set_registry(None)
    assert len(cases) == 15
    for case in cases:
        voice = packaged_speech(case.audio.removeprefix("speech:"))
        assert case.edit.problem(voice) is None
    assert stepedit_cases(Edit, "default") is None
    assert stepedit_cases(Clone, "other") is None
