from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stepedit_trim_silence import TrimSilence
from stepedit_trim_silence.dsp import trim
from stepedit_trim_silence.pairs import TrimSilencePairs, margin_of
from stepedit_trim_silence.room_tone import dips
from stepedit_trim_silence.scorer import TrimSilenceScorer, long_silence

from stepedit_core import (
    BuildContext,
    Case,
    CorpusItem,
    EditPair,
    Rejected,
    StepeditError,
    Utterance,
)
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import FakeMeasures
from stepedit_core.testing.fake_measures import FailingMeasures
from stepedit_core.testing.signals import noise


def _build(folder: Path, speech: Utterance, **options: str) -> list[EditPair | Rejected]:
    path = speech.write(folder / "a.wav", subtype="FLOAT")
    builder = TrimSilencePairs()
    (job,) = builder.jobs([CorpusItem("a", str(path), speech.transcript)], options)
    return list(builder.build(job, BuildContext(np.random.default_rng(1), options)))


@pytest.mark.parametrize("clip", ["wind", "typography", "doctor"])
def test_nothing_inserted_is_in_the_target(tmp_path: Path, clip: str) -> None:
    speech = packaged_speech(clip)
    (pair,) = _build(tmp_path, speech, kinds="inserted")
    assert isinstance(pair, EditPair)
    rate = speech.sample_rate
    keep = np.ones(len(pair.source.samples), bool)
    for start, end in pair.details["inserted_spans"]:
        keep[round(start * rate) : round(end * rate)] = False
    # Without what was inserted the source is the recording, and the target is cut from that.
    np.testing.assert_array_equal(pair.source.samples[keep], speech.samples)
    assert pair.target.digest == trim(speech)[0].digest
    removed = pair.source.seconds - pair.target.seconds
    assert removed >= 0.95 * pair.details["inserted_seconds"]
    assert pair.margin == pytest.approx(margin_of(removed / pair.source.seconds))
    assert pair.margin >= 6
    assert pair.edit == TrimSilence()
    assert pair.source.transcript == pair.target.transcript == speech.transcript


def test_natural_silence_and_its_rejection(tmp_path: Path) -> None:
    (pair,) = _build(tmp_path, packaged_speech("garden"), kinds="natural")
    assert isinstance(pair, EditPair)
    assert pair.source.digest == packaged_speech("garden").digest
    assert pair.details["removed_spans"]
    (rejected,) = _build(tmp_path, packaged_speech("books"), kinds="natural")
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "margin below 6"


def test_reasons_are_given(tmp_path: Path) -> None:
    assert _build(tmp_path, noise(1.0)) == [Rejected("no speech was found")]
    first, _ = _build(tmp_path, packaged_speech("surpassed"))
    assert isinstance(first, Rejected)
    assert "no pause" in first.reason


def test_same_seed_same_pairs(tmp_path: Path) -> None:
    first, again = (_build(tmp_path, packaged_speech("wind")) for _ in range(2))
    assert [p.source for p in first if isinstance(p, EditPair)] == [
        p.source for p in again if isinstance(p, EditPair)
    ]


@pytest.mark.parametrize("options", [{"kinds": "loud"}, {"share": "1"}, {"share": "0:1"}])
def test_wrong_options_are_named(options: dict[str, str]) -> None:
    with pytest.raises(StepeditError, match=next(iter(options))):
        list(TrimSilencePairs().jobs([CorpusItem("a", "a.wav")], options))


def test_margin() -> None:
    assert margin_of(0) == 1
    assert margin_of(0.3) == margin_of(0.5) == 10
    assert margin_of(5 / 30) == pytest.approx(6)


class _Vad(FakeMeasures):
    """Measures with the real voice activity detector."""

    def speech_spans(self, utterance: Utterance) -> list[tuple[float, float]]:
        return [tuple(span) for span in speech_spans(utterance)]


@pytest.mark.parametrize("clip", ["wind", "books", "doctor"])
def test_scorer_verdicts(clip: str) -> None:
    case = Case(id="a", edit=TrimSilence(), audio=f"speech:{clip}", prepare={"silence_share": 0.5})
    speech = packaged_speech(clip)
    scorer = TrimSilenceScorer()
    ready = scorer.prepare(case, speech, np.random.default_rng(0))
    silence = ready.source.seconds - speech.seconds
    assert silence == pytest.approx(0.5 * speech.seconds, abs=0.01)
    edited, _ = trim(ready.source)
    score = scorer.score(case, ready, edited, _Vad())
    assert score.reached is True
    assert score.values["speech_kept"] == pytest.approx(1, abs=0.05)
    untouched = scorer.score(case, ready, ready.source, _Vad())
    assert untouched.reached is False
    assert untouched.values["silence_removed"] == pytest.approx(0)
    # Known amounts: a hand-cut third of the speech, and a hand-cut second of silence.
    chopped = edited.slice((0.0, 0.67 * edited.seconds))
    assert scorer.score(case, ready, chopped, _Vad()).reached is False
    lost = scorer.score(case, ready, chopped, _Vad()).values["speech_kept"]
    assert lost == pytest.approx(0.67, abs=0.08)
    assert scorer.score(case, ready, edited, FailingMeasures()).reached is None


def test_scorer_measures_silence_in_seconds() -> None:
    assert long_silence([(1.0, 2.0), (2.2, 3.0)], 4.0) == pytest.approx(0.75 + 0.75)
    speech = packaged_speech("wind")
    pad = np.zeros(speech.sample_rate, np.float32)
    padded = speech.replace(samples=np.concatenate([pad, speech.samples]))
    case = Case(id="a", edit=TrimSilence(), audio="speech:wind")
    ready = TrimSilenceScorer().prepare(case, padded, np.random.default_rng(0))
    before = TrimSilenceScorer().score(case, ready, padded, _Vad()).values
    after = TrimSilenceScorer().score(case, ready, speech, _Vad()).values
    assert (before["silence_left"] or 0) - (after["silence_left"] or 0) == pytest.approx(1, abs=0.1)


def test_input_without_silence_is_unscored() -> None:
    speech, _ = trim(packaged_speech("doctor"))
    case = Case(id="a", edit=TrimSilence(), audio="speech:doctor")
    ready = TrimSilenceScorer().prepare(case, speech, np.random.default_rng(0))
    score = TrimSilenceScorer().score(case, ready, speech, _Vad())
    assert score.reached is None
    assert "no long silence" in str(score.unscored)


def test_inside_goes_into_speech_and_not_around_it(tmp_path: Path) -> None:
    speech = packaged_speech("typography")
    (pair,) = _build(tmp_path, speech, kinds="inside")
    assert isinstance(pair, EditPair)
    spans = pair.details["inserted_spans"]
    assert 1 <= len(spans) <= 3
    spoken = speech_spans(pair.source)
    for start, end in spans:
        assert spoken[0].start + 0.2 < start and end < spoken[-1].end - 0.2
    rate = speech.sample_rate
    keep = np.ones(len(pair.source.samples), bool)
    for start, end in spans:
        keep[round(start * rate) : round(end * rate)] = False
    np.testing.assert_array_equal(pair.source.samples[keep], speech.samples)
    assert pair.target.digest == trim(speech)[0].digest
    silent = speech.replace(samples=np.full(16_000, 1e-6, np.float32), sample_rate=16_000)
    assert dips(silent) == []
