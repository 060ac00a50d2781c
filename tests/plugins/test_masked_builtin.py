"""Masked around the edits that ship with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stepedit_bench.measuring import StandardMeasures
from stepedit_masked import Masked
from stepedit_masked.scorer import MaskedScorer, compare_outside
from stepedit_text.edit import Delete

from stepedit_core import Alignment, Case, Chain, Prepared, Recording, TimedWord, Utterance
from stepedit_core.errors import StepeditError
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import get_registry
from stepedit_core.testing import FakeEngine
from stepedit_core.testing.fake_measures import FakeMeasures

INNER = [
    {"edit": "speed", "rate": "slower"},
    {"edit": "speed", "factor": 1.6},
    {"edit": "denoise"},
    {"edit": "trim_silence"},
    {"edit": "emotion", "to": "happy"},
    {"edit": "style", "to": "whisper"},
]


@pytest.mark.parametrize("inner", INNER, ids=lambda inner: "-".join(map(str, inner.values())))
@pytest.mark.parametrize(("name", "rate"), [("garden", 8_000), ("books", 22_050)])
def test_difference_outside_is_exactly_zero(inner: dict[str, object], name: str, rate: int) -> None:
    source = packaged_speech(name).resample(rate)
    edit = Masked(inner=inner, spans=[(0.25, 0.9), (1.3, 2.45)])  # type: ignore[arg-type]
    output = edit.render(source, np.random.default_rng(1)).utterance
    assert compare_outside(source, output, edit.spans).difference == 0.0


class _Deaf(StandardMeasures):
    """The bench's measurements without a recogniser."""

    def word_error(self, expected: str, utterance: Utterance) -> float:
        return 0.0


@pytest.mark.parametrize("inner", ["clone", "paralinguistic"])
def test_edits_of_whole_utterances_are_refused(inner: str) -> None:
    source = packaged_speech("garden")
    text = "You love your home [laugh] and want it to be beautiful."
    edit = Masked(inner={"edit": inner, "text": text}, spans=[(0.2, 0.9)])  # type: ignore[arg-type]
    assert f"{inner} changes the words" in str(edit.problem(source))
    with pytest.raises(StepeditError):
        edit.render(source, np.random.default_rng(0))


def test_shipped_cases_are_reached_by_signal_processing() -> None:
    scorer, reached = MaskedScorer(), {}
    measures = _Deaf()
    for case in get_registry().cases(Masked):
        clean = packaged_speech(case.audio.removeprefix("speech:"))
        prepared = scorer.prepare(case, clean, np.random.default_rng(0))
        assert case.edit.problem(prepared.source) is None
        output = case.edit.render(prepared.source, np.random.default_rng(0)).utterance
        score = scorer.score(case, prepared, output, measures)
        assert score.values["outside_max_difference"] == 0.0
        reached[case.id] = score.reached
    assert len(reached) == 14
    # In so short a span the background rating does not rise by as much as in a whole recording.
    assert all(value for name, value in reached.items() if not name.startswith("denoise"))


@pytest.mark.parametrize("attack", ["reversed", "gain", "silence"])
@pytest.mark.parametrize("inner", [{"edit": "speed", "rate": "slower"}, {"edit": "denoise"}])
def test_any_change_inside_is_not_enough(inner: dict[str, object], attack: str) -> None:
    source = packaged_speech("garden")
    edit = Masked(inner=inner, spans=[(0.5, 1.4)])  # type: ignore[arg-type]
    samples = source.samples.copy()
    start, end = (round(edge * source.sample_rate) for edge in edit.spans[0])
    part = samples[start:end].copy()
    samples[start:end] = {"reversed": part[::-1], "gain": 0.8 * part, "silence": 0 * part}[attack]
    case = Case(id="x", edit=edit, audio="speech:garden")
    prepared, output = Prepared(source), source.replace(samples=samples)
    score = MaskedScorer().score(case, prepared, output, FakeMeasures())
    assert score.values["outside_max_difference"] == 0.0 and score.reached is not True
    if attack == "gain":
        assert score.values["join_step_db"] == pytest.approx(1.94, abs=0.01)


@pytest.mark.parametrize("where", [{"words": "a pleasant condition"}, {"spans": [(0.3, 1.9)]}])
def test_edits_of_words_look_in_the_region_alone(where: dict[str, object]) -> None:
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech("doubt")
    edit = Masked(inner={"edit": "delete", "find": "pleasant"}, **where)  # type: ignore[arg-type]
    result = Chain([edit])(speech)
    alone = Chain([Delete(find="pleasant")])(speech).utterance
    assert np.array_equal(result.utterance.samples, alone.samples)
    assert result.utterance.transcript == alone.transcript
    other = Masked(inner={"edit": "delete", "find": "absurd"}, **where)  # type: ignore[arg-type]
    assert "in the region: 'absurd' is not said" in str(other.problem(speech))


def test_new_words_inside_a_region_are_planned_as_replacements() -> None:
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech("doubt")
    edit = Masked(
        inner={"edit": "replace", "find": "is", "by": "was"},  # type: ignore[arg-type]
        words="certainty is absurd",
    )
    plan = edit.plan(speech)
    (change,) = plan.replacements
    assert (change.first, change.by) == (8, "was") and plan.problem is None
    assert plan.words_after == "Doubt is not a pleasant condition, but certainty was absurd."
    assert edit.route_problem("llm") is None and "no dsp route" in str(edit.route_problem("dsp"))
    gone = Masked(inner=edit.inner, words="uncertainty is absurd")
    assert "the nearest is 'certainty is absurd'" in str(gone.problem(speech))


def test_edits_of_words_inside_are_scored_by_their_own_scorer() -> None:
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech("doubt")
    edit = Masked(inner={"edit": "delete", "find": "pleasant"}, words="pleasant condition")  # type: ignore[arg-type]
    made = Chain([edit])(speech).utterance
    case = Case(id="a", edit=edit, audio="speech:doubt", transcript=speech.transcript)
    asked = case.model_copy(update={"edit": Delete(find="pleasant")})
    scores = [
        scorer.score(one, Prepared(speech), made, FakeMeasures())
        for scorer, one in (
            (MaskedScorer(), case),
            (get_registry().scorer(Delete), asked),
        )
    ]
    kept = scores[0].values["samples_kept"]
    assert scores[0] == scores[1] and kept is not None and kept > 0.99


def test_speakers_that_subtitles_name_are_regions(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    clip = packaged_speech("doubt")
    long = clip.replace(samples=np.concatenate([clip.samples, clip.samples]), alignment=None)
    talk = long.write(tmp_path / "talk.wav")
    half = clip.seconds
    (tmp_path / "talk.vtt").write_text(
        f"WEBVTT\n\n00:00.000 --> 00:0{half:.3f}\n<v Ann>{clip.transcript}\n\n"
        f"00:0{half:.3f} --> 00:{2 * half:06.3f}\n<v Bob>{clip.transcript}\n"
    )
    recording = Recording.read(talk, subtitles=tmp_path / "talk.vtt")
    inner = {"edit": "volume", "db": -6}
    louder = Masked(inner=inner, speaker="Bob")  # type: ignore[arg-type]
    recording.edit(Chain([louder]), tmp_path / "out.wav")
    before, after = (Utterance.read(tmp_path / name).samples for name in ("talk.wav", "out.wav"))
    changed = np.flatnonzero(before != after) / clip.sample_rate
    assert half - 0.5 < changed.min() < half + 0.5 and changed.max() > 2 * half - 1.0
    nobody = Masked(inner=inner, speaker="Cid")  # type: ignore[arg-type]
    with pytest.raises(StepeditError, match="no speaker 'Cid'; there is: Ann, Bob"):
        recording.edit(Chain([nobody]), tmp_path / "none.wav")


def test_new_words_inside_a_region_are_said_by_an_engine() -> None:
    rate, text = 24_000, "one two one two one two"
    tone = 0.2 * np.sin(2 * np.pi * 300 * np.arange(6 * 21_600) / rate)
    words = tuple(TimedWord(w, 0.9 * n, 0.9 * n + 0.9) for n, w in enumerate(text.split()))
    talk = Utterance(tone.astype("f4"), rate, text, "xx-test").replace(
        alignment=Alignment(text, words, "test")
    )
    inner = {"edit": "replace", "find": "two", "by": "ten"}
    edit = Masked(inner=inner, spans=[(1.8, 3.6)])  # type: ignore[arg-type]
    result = Chain([edit])(talk, FakeEngine(), route="llm")
    assert result.utterance.transcript == "one two one ten one two"
    (facts,) = result.steps[0].details["replacements"]
    begin, end = (round(second * rate) for second in facts["output_spans"][0])
    assert np.array_equal(result.utterance.samples[:begin], talk.samples[:begin])
    rest = len(result.utterance.samples) - end
    assert np.array_equal(result.utterance.samples[end:], talk.samples[-rest:])
