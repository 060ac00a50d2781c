"""Edits of the words: transcripts, cuts that keep all other samples, the scorer's judgement."""

from __future__ import annotations

import numpy as np
import pytest
from stepedit_text.changes import Change, applied, difference
from stepedit_text.dsp import without
from stepedit_text.edit import Delete, Insert, RemoveFillers, Replace, Rewrite, TextEdit
from stepedit_text.scorer import TextScorer, local_errors, misheard, share_kept

from stepedit_core import Alignment, Case, Chain, Prepared, TimedWord, Utterance, align
from stepedit_core.dsp.cutting import Cut, cut_out, join_steps, plan_cut
from stepedit_core.errors import AlignmentError, InvalidChainError, StepeditError
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import speech_like

TALK = "Well, um, I think, you know, we should go. Uh, yes."


class Heard:
    """Measures of a fake recogniser that hears a source's transcript, and else what it is told."""

    def __init__(self, source: Utterance, text: str, before: str | None = None) -> None:
        self.source, self.text = source, text
        self.before = str(source.transcript) if before is None else before

    def transcribe(self, utterance: Utterance) -> str:
        return self.before if utterance.digest == self.source.digest else self.text


@pytest.fixture(scope="module")
def doubt() -> Utterance:
    pytest.importorskip("pocketsphinx")
    return packaged_speech("doubt")


@pytest.mark.parametrize(
    ("text", "changes", "after"),
    [
        (TALK, RemoveFillers().changes(TALK), "Well, I think, we should go. Yes."),
        ("We saw the big dog, and left.", [Change(2, 4)], "We saw dog, and left."),
        ("We left, um.", [Change(2, 3)], "We left."),
        ("I love home", [Change(1, 1, "truly")], "I truly love home"),
        ("I love home", [Change(3, 3, "now")], "I love home now"),
        ("我们呃走吧。", [Change(2, 3)], "我们走吧。"),
        ("我们走吧。", [Change(2, 3, "跑")], "我们跑吧。"),
    ],
)
def test_transcripts(text: str, changes: list[Change], after: str) -> None:
    assert applied(text, changes) == after


def test_difference_leads_to_the_other_text() -> None:
    before, after = "I really love my old home by the sea", "I hate my old house by the sea"
    changes = difference(before, after)
    assert applied(before, changes) == after
    assert difference(before, before.upper()) == []


def test_all_samples_outside_the_cut_are_kept(doubt: Utterance) -> None:
    result = Chain([Delete(find="pleasant")])(doubt)
    step = result.steps[0]
    ((start, end),) = [cut["span"] for cut in step.details["cuts"]]
    rate, fade = doubt.sample_rate, round(0.006 * doubt.sample_rate)
    a, b = round(start * rate) - fade, round(end * rate) + fade
    out = result.utterance.samples
    assert np.array_equal(out[:a], doubt.samples[:a])
    assert np.array_equal(out[-(len(doubt.samples) - b) :], doubt.samples[b:])
    assert result.utterance.transcript == "Doubt is not a condition, but certainty is absurd."


SAID = "the cat, um, saw the dog and uh the um red dog run"


@pytest.mark.parametrize(
    ("edit", "after"),
    [
        (Delete(find="the"), None),
        (Delete(find="the", occurrence=2), "the cat, um, saw the dog and uh um red dog run"),
        (Replace(find="red", by="blue"), "the cat, um, saw the dog and uh the um blue dog run"),
        (Insert(text="big", at="start"), "the cat, um, big saw the dog and uh the um red dog run"),
        (Insert(text="big", at="end"), "the cat, um, saw the dog and uh the um red dog big run"),
        (RemoveFillers(), "the cat, um, saw the dog and uh the red dog run"),
        (Delete(find="cat"), None),
        (Rewrite(to="saw a cow"), None),
    ],
)
def test_edits_of_words_are_confined(edit: TextEdit, after: str | None) -> None:
    confined = edit.confined([range(3, 6), range(8, 12)])
    if after is None:
        with pytest.raises(AlignmentError):
            confined.changes(SAID)
    else:
        assert applied(SAID, confined.changes(SAID)) == after
    assert edit.confined([range(3, 6)]) != edit


def test_one_stretch_is_rewritten() -> None:
    confined = Rewrite(to="saw a cow").confined([range(3, 6)])
    speech = speech_like(2.0).replace(transcript=SAID)
    assert confined.transcript_after(speech) == "the cat, um, saw a cow and uh the um red dog run"


def test_times_are_carried_along(doubt: Utterance) -> None:
    edited = Chain([Delete(find="pleasant"), Delete(find="certainty")])(doubt).utterance
    carried = edited.alignment
    assert carried is not None and [w.text for w in carried.words][-2:] == ["is", "absurd"]
    anew = align(edited.replace(alignment=None))
    away = [abs(a.start - b.start) for a, b in zip(carried.words, anew.words, strict=True)]
    assert np.median(away) < 0.03


def test_joins_are_smoother_than_cuts_at_the_borders(doubt: Utterance) -> None:
    found = align(doubt)
    ours, plain = [], []
    for n in range(1, len(found.words) - 1, 2):
        cut = plan_cut(doubt, found, n, n + 1)
        ours.append(join_steps(cut_out(doubt, cut), cut.start))
        edge = Cut(found.words[n].start, found.words[n].end)
        plain.append(join_steps(cut_out(doubt, edge), edge.start))
    assert np.all(np.median(ours, axis=0) < np.median(plain, axis=0))


def test_no_rest_of_a_word_is_left_for_a_smoother_join() -> None:
    rng = np.random.default_rng(0)
    levels = (0.2, 0.14, 0.05)  # the join steps by 12 dB, less inside the word that goes
    parts = [rng.normal(0, level, 4800).astype(np.float32) for level in levels]
    pause = rng.normal(0, 1e-4, 1600).astype(np.float32)
    sound = Utterance(np.concatenate([pause, *parts, pause]), 16_000, "one two three")
    words = tuple(
        TimedWord(text, 0.1 + n * 0.3, 0.4 + n * 0.3)
        for n, text in enumerate(("one", "two", "three"))
    )
    cut = plan_cut(sound, Alignment("one two three", words, "test"), 1, 2)
    assert cut.start == pytest.approx(0.4, abs=0.008)
    assert cut.end == pytest.approx(0.7, abs=0.008)


def test_words_that_are_not_there_are_refused_before_anything_runs(doubt: Utterance) -> None:
    with pytest.raises(InvalidChainError, match="nearest is 'pleasant'"):
        Chain([Delete(find="plesant")])(doubt)
    with pytest.raises(InvalidChainError, match="said 2 times"):
        Chain([Delete(find="is")])(doubt)
    with pytest.raises(InvalidChainError, match="none of the fillers"):
        Chain([RemoveFillers()])(doubt)
    with pytest.raises(InvalidChainError, match="no word would be left"):
        Chain([Delete(find=str(doubt.transcript))])(doubt)


def test_signal_processing_puts_no_words_in(doubt: Utterance) -> None:
    with pytest.raises(StepeditError, match="only take words out"):
        without(doubt, align(doubt), [Change(1, 2, "was")])


def test_fillers_next_to_each_other_are_one_cut() -> None:
    assert RemoveFillers().changes("so um you know yes") == [Change(1, 4)]
    with pytest.raises(ValueError, match="at least one filler"):
        RemoveFillers(words=("...",))


@pytest.mark.parametrize(
    ("heard", "errors"),
    [
        ("doubt is not a condition but certainty is absurd", 0),
        ("doubt is not a pleasant condition but certainty is absurd", 1),
        ("doubt is not a edition but certainty is absurd", 1),
        ("doubt is not a condition but certainty is a bird", 0),
        ("", 6),
    ],
)
def test_local_errors(heard: str, errors: int) -> None:
    asked = "Doubt is not a condition, but certainty is absurd."
    assert local_errors(asked, [Change(4, 5)], heard)[0] == errors


def test_words_that_nobody_hears_in_the_source_are_not_asked_for_again() -> None:
    text, asked = "so then said the eunuch to me", "so said the eunuch to me"
    unheard = misheard(text, "so then said the unit to me")
    assert unheard == {4}
    changes = [Change(1, 2)]
    assert local_errors(asked, changes, "so said the unit to me", unheard) == (0, 3)
    assert local_errors(asked, changes, "so said a unit to me", unheard)[0] == 1
    assert local_errors(asked, changes, "so then said the unit to me", unheard)[0] == 1
    assert local_errors(asked, changes, "so said the you nit to me", unheard)[0] == 1


def test_the_scorer_wants_words_and_samples(doubt: Utterance) -> None:
    edit = Delete(find="pleasant")
    case = Case(id="a", edit=edit, audio="speech:doubt")
    asked = "Doubt is not a condition but certainty is absurd"
    output = Chain([edit])(doubt).utterance

    def reached(heard: str, out: Utterance, before: str | None = None) -> bool | None:
        ears = Heard(doubt, heard, before)
        return TextScorer().score(case, Prepared(doubt), out, ears).reached  # type: ignore[arg-type]

    assert reached(asked, output)
    assert not reached(str(doubt.transcript), doubt)
    assert not reached(asked, output.replace(samples=output.samples * np.float32(0.9)))
    assert not reached("", output.replace(samples=output.samples * 0))
    assert reached("", output, before="") is None


def test_share_kept() -> None:
    rng = np.random.default_rng(0)
    source = Utterance(rng.normal(size=1000).astype(np.float32) / 9, 8000)
    cut = source.replace(samples=np.r_[source.samples[:300], source.samples[500:]])
    assert share_kept(source, cut) == 1.0
    assert share_kept(source, source.replace(samples=-source.samples)) == 0.0


def test_what_lies_between_two_changes_is_kept() -> None:
    rate, rng = 8_000, np.random.default_rng(0)
    samples = rng.standard_normal(5 * rate).astype(np.float32) * 0.1
    parts = np.split(samples, [rate, 2 * rate, 3 * rate, 4 * rate])
    said = [rng.standard_normal(n * rate // 4).astype(np.float32) * 0.1 for n in (3, 5)]
    made = np.concatenate([parts[0], said[0], parts[2], said[1], parts[4]])
    source, output = Utterance(samples, rate), Utterance(made, rate)
    assert share_kept(source, output) == pytest.approx(2 / 5)
    assert share_kept(source, output, 2) == pytest.approx(3 / 5)
    turned = np.concatenate([parts[0], parts[3], said[0], parts[1], parts[4]])
    assert share_kept(source, Utterance(turned, rate), 2) == pytest.approx(3 / 4.75)
    cut = np.concatenate([parts[0], parts[2], parts[4]])
    assert share_kept(source, Utterance(cut, rate), 2) == 1.0


def test_a_join_stays_within_full_scale() -> None:
    time = np.arange(8000) / 8000
    loud = Utterance(np.clip(2 * np.sin(2 * np.pi * 440 * time), -1, 1).astype(np.float32), 8000)
    for end in np.arange(0.3, 0.31, 0.0005):
        assert np.abs(cut_out(loud, Cut(0.2, float(end))).samples).max() <= 1.0


@pytest.mark.parametrize(
    "tag", ["[laugh]", "【laugh】", "<laugh>", "｛laugh｝", "⟨laugh⟩", "[laugh"]
)
def test_tags_are_no_words_to_say(tag: str) -> None:
    said = f"home {tag} now"
    with pytest.raises(ValueError, match="only words are said"):
        Replace(find="go", by=said)
    with pytest.raises(ValueError, match="only words are said"):
        Insert(text=said, at="end")


def test_a_new_transcript_keeps_its_tags_and_brings_none(speech: Utterance) -> None:
    tagged = speech.replace(transcript="we [laugh] should go")
    assert Rewrite(to="we [laugh] must go").problem(tagged) is None
    assert Rewrite(to="we [sigh] must go").problem(tagged) == (
        "[sigh] is new in the transcript: only words are said"
    )
    with pytest.raises(ValueError, match="【sigh】 stands in to"):
        Rewrite(to="we 【sigh】 must go")


def test_words_that_were_hardly_heard_are_named() -> None:
    said = [("we", 0.9), ("never", 0.02), ("knew", 0.8), ("it", None)]
    words = [TimedWord(w, n * 0.5, n * 0.5 + 0.4, sure) for n, (w, sure) in enumerate(said)]
    known = Alignment("we never knew it", tuple(words), "test")
    speech = speech_like(2.0, 16_000).replace(transcript=known.text, alignment=known)
    notes = [without(speech, known, [Change(n, n + 1)])[1]["notes"] for n in range(4)]
    assert notes[1] == [
        "hardly heard where it was cut out: 'never'; listen, is the transcript right?"
    ]
    assert notes[0] == notes[2] == notes[3] == []
