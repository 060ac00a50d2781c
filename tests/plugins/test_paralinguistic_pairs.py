from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stepedit_paralinguistic import Paralinguistic
from stepedit_paralinguistic.alignment import align
from stepedit_paralinguistic.material import audibility, tagged_text
from stepedit_paralinguistic.pairs import ParalinguisticPairs
from stepedit_paralinguistic.tags import event_tag

from stepedit_core.dsp.words import split_words, without_tags
from stepedit_core.errors import StepeditError
from stepedit_core.pairs import BuildContext, CorpusItem, EditPair, Rejected
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.signals import speech_like
from stepedit_core.utterance import Span, Utterance


def item(
    folder: Path, name: str, utterance: Utterance, text: str | None, **labels: str
) -> CorpusItem:
    path = utterance.write(folder / f"{name}.wav")
    return CorpusItem(name, str(path), text, name, "en", labels)


def speech_items(folder: Path, names: list[str]) -> list[CorpusItem]:
    return [
        item(folder, name, packaged_speech(name), packaged_speech(name).transcript)
        for name in names
    ]


def build(
    items: list[CorpusItem], options: dict[str, str] | None = None, engine: FakeEngine | None = None
) -> list[EditPair | Rejected]:
    builder, given = ParalinguisticPairs(), options or {}
    return [
        made
        for number, job in enumerate(builder.jobs(items, given))
        for made in builder.build(job, BuildContext(np.random.default_rng(number), given, engine))
    ]


def pairs(made: list[EditPair | Rejected]) -> list[EditPair]:
    return [each for each in made if isinstance(each, EditPair)]


def reasons(made: list[EditPair | Rejected]) -> list[str]:
    return [each.reason for each in made if isinstance(each, Rejected)]


def test_insert_with_later_events(tmp_path: Path) -> None:
    laugh = speech_like(seconds=0.8, sample_rate=16_000)
    corpus = [
        *speech_items(tmp_path, ["garden", "wind"]),
        item(tmp_path, "laugh1", laugh, None, event="laughter (mostly)"),
        item(tmp_path, "crying1", laugh, None, event="crying/sobbing"),
    ]
    made = build(corpus)
    assert reasons(made) == ["event without a tag"]
    first, second = pairs(made)
    for pair in (first, second):
        assert isinstance(pair.edit, Paralinguistic)
        assert "[laugh]" in pair.edit.text
        assert without_tags(pair.edit.text) == pair.source.transcript
        assert pair.target.transcript == pair.edit.text
        assert pair.edit.problem(pair.source) is None
        assert pair.target.sample_rate == pair.source.sample_rate
        assert pair.target.seconds - pair.source.seconds == pytest.approx(0.75, abs=0.3)
        assert pair.margin > 8
        assert pair.details["event"] == "laugh1"
        assert pair.details["same_speaker"] is False
        start, _ = pair.details["output_span"]
        before = round((start - 0.08) * pair.source.sample_rate)
        assert np.array_equal(pair.source.samples[:before], pair.target.samples[:before])
    again = pairs(build(corpus))
    assert [pair.target.digest for pair in again] == [
        pair.target.digest for pair in (first, second)
    ]


def test_insert_without_events_is_counted(tmp_path: Path) -> None:
    made = build(speech_items(tmp_path, ["garden"]))
    (reason,) = reasons(made)
    assert reason.startswith("no event recordings to insert")


def test_events_keep_to_the_split_of_the_speech(tmp_path: Path) -> None:
    (speech,) = speech_items(tmp_path, ["garden"])
    laugh = item(tmp_path, "laugh1", speech_like(seconds=0.8), None, event="laugh")
    test = CorpusItem(laugh.id, laugh.path, None, "x", "en", laugh.labels, split="test")
    assert reasons(build([speech, test]))[0].startswith("no event recordings")


def test_remove_cuts_the_event_and_finds_its_words(tmp_path: Path) -> None:
    speech = packaged_speech("wind")
    text = "When the wind is great, bow before it; [laugh] when the wind is heavy, yield to it."
    rendered = Paralinguistic(text=text).render(speech, np.random.default_rng(0))
    start, end = rendered.details["events"][0]["output_span"]
    labels = {"event": "laughter", "event_start": f"{start:.3f}", "event_end": f"{end:.3f}"}
    corpus = [item(tmp_path, "a", rendered.utterance, speech.transcript, **labels)]
    (pair,) = pairs(build(corpus))
    assert isinstance(pair.edit, Paralinguistic)
    assert pair.edit.text == text
    assert pair.target.samples.shape == rendered.utterance.samples.shape
    assert pair.source.seconds == pytest.approx(
        pair.target.seconds - (end - start) + 0.08, abs=0.01
    )
    assert pair.source.transcript == speech.transcript
    wrong = item(tmp_path, "b", speech, speech.transcript, **{**labels, "event_end": "99"})
    assert reasons(build([wrong])) == ["event times are not in the recording"]


def test_clone_says_the_words_without_tags(tmp_path: Path) -> None:
    speech = packaged_speech("garden")
    text = "You love your home [Laughter] and want [Music] it to be beautiful."
    corpus = [item(tmp_path, "a", speech, text)]
    assert reasons(build(corpus)) == ["cloning needs an engine"]
    engine = FakeEngine()
    (pair,) = pairs(build(corpus, engine=engine))
    words = "You love your home and want it to be beautiful."
    assert pair.source.transcript == words
    assert isinstance(pair.edit, Paralinguistic)
    assert pair.edit.text == "You love your home [laugh] and want it to be beautiful."
    assert engine.requests[0].prompt.user == (words,)
    assert engine.requests[0].length_ratio < 1
    assert np.array_equal(pair.target.samples, speech.replace().samples) or pair.target.seconds == (
        pytest.approx(speech.seconds)
    )


def test_render_synthesises_where_asked(tmp_path: Path) -> None:
    corpus = speech_items(tmp_path, ["garden", "books", "wind"])
    made = build(corpus, {"method": "render", "tags": "2025"})
    assert len(made) == 3
    for pair in pairs(made):
        assert isinstance(pair.edit, Paralinguistic)
        assert pair.edit.tags == "2025"
        assert 6 <= pair.margin <= 10
        assert pair.edit.placed[0].word == pair.details["after_word"]
    assert len(pairs(made)) >= 2


def test_render_draws_from_the_tags_that_are_asked_for(tmp_path: Path) -> None:
    corpus = speech_items(tmp_path, ["garden", "books", "wind"])
    made = pairs(build(corpus, {"method": "render", "only": "uhm+Question-ei"}))
    asked = {pair.edit.placed[0].tag for pair in made if isinstance(pair.edit, Paralinguistic)}
    assert asked and asked <= {"uhm", "Question-ei"}
    with pytest.raises(StepeditError, match=r"only=uhm.snort: cannot make snort"):
        build(corpus, {"method": "render", "only": "uhm+snort"})


def test_what_fits_no_method_is_counted(tmp_path: Path) -> None:
    speech = packaged_speech("garden")
    corpus = [
        item(tmp_path, "a", speech, None),
        item(tmp_path, "b", speech, speech.transcript, event="laugh"),
        item(tmp_path, "c", speech, "You [laugh] love your home."),
    ]
    assert reasons(build(corpus, {"method": "insert"})) == [
        "no transcript",
        "the event's place is not labelled",
        "not fit for method=insert",
    ]
    with pytest.raises(StepeditError, match="method=magic: there is auto, clone"):
        build(corpus, {"method": "magic"})
    with pytest.raises(StepeditError, match="tags=1999"):
        build([corpus[2]], {"tags": "1999"}, FakeEngine())


@pytest.mark.parametrize(
    ("label", "tag"),
    [("laughter (mostly)", "laugh"), ("sigh (mostly)", "sigh"), ("cough", "cough"),
     ("[Breathing]", "breath"), ("baby_cry", None), ("gasp/scream", None)],
)  # fmt: skip
def test_event_labels(label: str, tag: str | None) -> None:
    assert event_tag(label) == tag


def test_tagged_text() -> None:
    assert tagged_text("Well, then.", 1, "laugh") == "Well, [laugh] then."
    assert tagged_text("Well, then.", 0, "laugh") == "[laugh] Well, then."
    assert tagged_text("Well, then.", 2, "laugh") == "Well, then. [laugh]"
    assert tagged_text("今天累", 2, "sigh") == "今天 [sigh] 累"


def test_margin_grows_with_level_and_length() -> None:
    quiet = np.random.default_rng(0).normal(0, 0.001, 24_000).astype(np.float32)
    margins = []
    for level, length in [(0.002, 0.5), (0.005, 0.5), (0.1, 0.5), (0.1, 0.1)]:
        samples = quiet.copy()
        stop = 6_000 + round(length * 24_000)
        samples[6_000:stop] *= level / 0.001
        margin, measured = audibility(Utterance(samples, 24_000), Span(0.25, 0.25 + length))
        margins.append(margin)
        assert measured == pytest.approx(20 * np.log10(level / 0.001), abs=1.5)
    assert margins[0] < margins[1] < margins[2] == 10.0
    assert margins[3] == pytest.approx(1 + 9 * 0.4, abs=0.1)


def test_pauses_alone_come_near_to_forced_alignment() -> None:
    pytest.importorskip("pocketsphinx")
    errors = []
    for name in packaged():
        speech = packaged_speech(name)
        text = speech.transcript or ""
        forced = align(speech, split_words(text), text)
        paused = align(speech.replace(language="xx"), split_words(text), text)
        assert (forced.aligner, paused.aligner) == ("pocketsphinx", "pauses")
        errors += [abs(a.start - b.start) for a, b in zip(forced.words, paused.words, strict=True)]
    assert float(np.median(errors)) < 0.15
    assert float(np.percentile(errors, 90)) < 0.35


def test_pauses_fall_between_words_in_any_script() -> None:
    speech = packaged_speech("wind")  # pauses end at 1.57, 2.75 and 4.00 s
    text = "风大的时候，弯腰就好；如果风更猛烈，就顺着它走。"
    times = align(speech.replace(language="zh"), split_words(text), text)
    assert times.aligner == "pauses"
    starts = [span.start for span in times.words]
    assert starts == sorted(starts)
    for word, start in [(5, 1.57), (9, 2.75), (15, 4.0)]:
        assert starts[word] == pytest.approx(start, abs=0.05)
