"""Dereverb and separate: what they take away, what they leave, scorers with cheats, pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_scene import Dereverb, Separate
from stepedit_scene.removal_pairs import DereverbPairs, SeparatePairs
from stepedit_scene.removal_scorer import DereverbScorer, SeparateScorer, envelope_distance
from stepedit_scene.reverberation import estimate_rt60
from stepedit_scene.separation import installed_net

from stepedit_core import (
    BuildContext,
    Case,
    Chain,
    CorpusItem,
    Edit,
    EditPair,
    InvalidChainError,
    Prepared,
    StepeditError,
    Utterance,
)
from stepedit_core.dsp.enhancement import enhanced_by_net, missing_package
from stepedit_core.dsp.loudness import active_level
from stepedit_core.dsp.rooms import reverberate, simulate_room
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import EditContract, FakeMeasures

pytest.importorskip("nara_wpe")
pytest.importorskip("pyroomacoustics")
if installed_net() is None:
    pytest.skip("no network is installed", allow_module_level=True)
RNG = np.random.default_rng(0)


def _in_room(name: str, rt60: float, rate: int = 16_000) -> tuple[Utterance, Utterance]:
    clean = packaged_speech(name).resample(rate)
    return clean, reverberate(clean, simulate_room(3, rate, rt60, rt60))


def _made(edit: Edit, source: Utterance) -> Utterance:
    return edit.render(source, np.random.default_rng(0)).utterance


@pytest.mark.parametrize(("rt60", "rate"), [(0.4, 16_000), (0.8, 24_000), (1.2, 8_000)])
def test_nearer_to_the_dry_recording(rt60: float, rate: int) -> None:
    clean, source = _in_room("books", rt60, rate)
    made = Dereverb(backend="wpe").render(source, RNG)
    before, after = (envelope_distance(clean, x) for x in (source, made.utterance))
    assert before is not None and after is not None
    assert after[0] < 0.85 * before[0]
    assert after[1] < 0.9 * before[1]
    assert after[2] < before[2] + 1.5
    assert made.details["rt60"] == pytest.approx(rt60, rel=0.35)
    out = made.utterance
    assert (len(out.samples), out.sample_rate) == (len(source.samples), rate)
    levels = [active_level(x) for x in (source, out)]
    assert levels[1] == pytest.approx(levels[0], abs=0.5)


def test_dry_speech_stays() -> None:
    clean = packaged_speech("garden")
    assert estimate_rt60(clean) < 0.25
    apart = envelope_distance(clean, _made(Dereverb(backend="wpe"), clean))
    assert apart is not None and apart[1] < 2.0 and apart[2] < 1.5


def test_strength() -> None:
    clean, source = _in_room("doctor", 0.8, 8_000)
    left = [
        envelope_distance(clean, _made(Dereverb(backend="wpe", strength=s), source))
        for s in (0.05, 0.4, 0.8)
    ]
    assert all(one is not None for one in left)
    assert left[0] > left[1] > left[2]  # type: ignore[operator]
    softer = Dereverb(strength=0.8).gentler()
    assert softer is not None and softer.strength == 0.4
    assert Dereverb(strength=0.2).gentler() is None


def test_pieces_of_long_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    _, source = _in_room("books", 0.6, 8_000)
    whole = _made(Dereverb(backend="wpe"), source)
    monkeypatch.setattr("stepedit_scene.reverberation._PIECE_SECONDS", 2.0)
    parts = _made(Dereverb(backend="wpe"), source)
    assert len(parts.samples) == len(whole.samples)
    assert np.corrcoef(parts.samples, whole.samples)[0, 1] > 0.9
    steps = np.abs(np.diff(parts.samples))
    assert steps.max() <= 1.5 * np.abs(np.diff(source.samples)).max()


def test_parts_add_up_and_noise_is_behind() -> None:
    case = _case(Separate(keep="background"), {"background": "rain", "snr_db": 5, "seed": 3})
    ready = SeparateScorer().prepare(case, packaged_speech("office"), RNG)
    voice, behind = (_made(Separate(keep=k), ready.source) for k in ("voice", "background"))  # type: ignore[arg-type]
    np.testing.assert_allclose(voice.samples + behind.samples, ready.source.samples, atol=2e-6)
    assert case.edit.transcript_after(ready.source) is None
    assert Separate().transcript_after(ready.source) == ready.source.transcript
    assert _reached(case, ready, behind) is True
    assert _reached(case, ready, voice) is False


def _case(edit: Edit, prepare: dict[str, Any]) -> Case:
    return Case(id="x", edit=edit, audio="speech:office", prepare=prepare)


def _reached(case: Case, ready: Prepared, output: Utterance) -> bool | None:
    scorer = SeparateScorer() if isinstance(case.edit, Separate) else DereverbScorer()
    return scorer.score(case, ready, output, FakeMeasures()).reached


def _low_pass(sound: Utterance, hertz: float) -> Utterance:
    spectrum = np.fft.rfft(sound.samples)
    spectrum[np.fft.rfftfreq(len(sound.samples), 1 / sound.sample_rate) > hertz] = 0
    out = np.fft.irfft(spectrum, len(sound.samples)).astype(np.float32)
    return sound.replace(samples=out)


def _gated(sound: Utterance) -> Utterance:
    power = np.convolve(sound.samples**2, np.ones(400) / 400, "same")
    open_ = power > 0.05 * np.quantile(power, 0.95)
    return sound.replace(samples=(sound.samples * open_).astype(np.float32))


def _cheats(source: Utterance) -> dict[str, Utterance]:
    noise = np.random.default_rng(1).normal(0, 0.1, len(source.samples)).astype(np.float32)
    return {
        "untouched": source,
        "silence": source.replace(samples=np.zeros_like(source.samples)),
        "noise": source.replace(samples=noise),
        "softer": source.replace(samples=source.samples * np.float32(0.5)),
        "low-passed": _low_pass(source, 2_000),
        "gated": _gated(source),
        "backwards": source.replace(samples=source.samples[::-1].copy()),
    }


def test_dereverb_scorer_and_its_cheats() -> None:
    for room, name in (({"rt60": 0.6, "room": 4}, "garden"), ({"room": "large"}, "office")):
        case = _case(Dereverb(), room)
        ready = DereverbScorer().prepare(case, packaged_speech(name).resample(8_000), RNG)
        assert _reached(case, ready, _made(case.edit, ready.source)) is True
        assert ready.reference is not None
        assert _reached(case, ready, ready.reference) is True
        cheats = _cheats(ready.source)
        assert [name for name, out in cheats.items() if _reached(case, ready, out)] == []
    plain = _case(Dereverb(), {})
    dry = DereverbScorer().prepare(plain, packaged_speech("office"), RNG)
    assert _reached(plain, dry, dry.source) is None


@pytest.mark.parametrize("keep", ["voice", "background"])
def test_separate_scorer_and_its_cheats(keep: str) -> None:
    case = _case(
        Separate.model_validate({"keep": keep}), {"background": "white", "snr_db": 5, "seed": 1}
    )
    ready = SeparateScorer().prepare(case, packaged_speech("office"), RNG)
    assert ready.reference is not None
    assert _reached(case, ready, _made(case.edit, ready.source)) is True
    assert _reached(case, ready, ready.reference) is True
    cheats = _cheats(ready.source)
    if keep == "background":
        cheats["high-passed"] = ready.source.replace(
            samples=ready.source.samples - _low_pass(ready.source, 3_000).samples
        )
    assert [name for name, out in cheats.items() if _reached(case, ready, out)] == []
    with pytest.raises(StepeditError, match="rain, street"):
        SeparateScorer().prepare(
            _case(case.edit, {"background": "sea", "snr_db": 5}), ready.source, RNG
        )


def test_a_voice_in_a_room_before_music_or_a_file(tmp_path: Path) -> None:
    scorer, speech = SeparateScorer(), packaged_speech("office").resample(16_000)
    case = _case(Separate(), {"background": "music", "snr_db": 5, "room": "small", "seed": 3})
    ready = scorer.prepare(case, speech, RNG)
    wet = scorer.prepare(case, speech, RNG).reference
    assert ready.reference is not None and wet == ready.reference
    assert ready.facts["snr_db"] == pytest.approx(5, abs=0.1)
    assert len(wet.samples) == len(speech.samples) and wet != speech
    behind = ready.source.samples - wet.samples
    path = Utterance(behind, 16_000).write(tmp_path / "music.wav", subtype="FLOAT")
    case = _case(Separate(), {"background": str(path), "snr_db": 0})
    assert scorer.prepare(case, speech, RNG).facts["snr_db"] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("edit", "params", "says"),
    [
        (Dereverb, {"strength": 0}, "greater than 0"),
        (Dereverb, {"backend": "magic"}, "auto"),
        (Separate, {"keep": "second speaker"}, "voice"),
        (Separate, {"backend": "spleeter"}, "hush"),
    ],
)
def test_bad_parameters(edit: type[Edit], params: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        edit.model_validate(params)


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepedit_scene.removal.has_predictor", lambda: False)
    assert "extra dereverb" in str(Dereverb().route_problem("dsp"))
    monkeypatch.setattr(
        "stepedit_scene.separation.missing_package", lambda name: f"{name} needs it"
    )
    monkeypatch.setattr("stepedit_scene.removal.missing_package", lambda name: f"{name} needs it")
    for edit in (Separate(), Separate(backend="hush")):
        problem = edit.route_problem("dsp")
        assert problem is not None and "needs" in problem and "\n" not in problem
        with pytest.raises(InvalidChainError, match="needs"):
            Chain([edit])(packaged_speech("garden"))


def test_prompts_have_no_words_for_parameters() -> None:
    speech = packaged_speech("garden")
    said = {edit.prompt(speech) for edit in (Dereverb(), Separate(), Separate(keep="background"))}
    assert len(said) == 3
    assert "strength=" in str(Dereverb(strength=0.5).route_problem("llm"))
    assert "backend=" in str(Separate(backend="hush").route_problem("llm"))


def test_nothing_but_the_span(monkeypatch: pytest.MonkeyPatch) -> None:
    from stepedit_core import get_edit

    _, source = _in_room("books", 0.8, 8_000)
    masked = get_edit("masked").model_validate(
        {"inner": {"edit": "dereverb", "backend": "wpe"}, "spans": [[0.5, 1.5]]}
    )
    out = Chain([masked])(source).utterance
    changed = np.flatnonzero(out.samples != source.samples) / source.sample_rate
    assert len(out.samples) == len(source.samples)
    assert 0.4 < changed.min() < 0.6 and 1.4 < changed.max() < 1.6


def test_a_network_above_its_rate() -> None:
    if problem := missing_package("hush"):
        pytest.skip(problem)
    speech = packaged_speech("garden")
    made = speech.replace(samples=enhanced_by_net(speech, "hush"))
    spectra = [np.abs(np.fft.rfft(sound.samples)) for sound in (speech, made)]
    hertz = np.fft.rfftfreq(len(speech.samples), 1 / speech.sample_rate)
    before, after = (float(np.sum(one[hertz > 8_500] ** 2)) for one in spectra)
    assert speech.sample_rate == 24_000
    assert -12 < 10 * np.log10(after / before) < 0.5


def test_pairs(tmp_path: Path) -> None:
    items = []
    for name, speaker in (("garden", "a"), ("office", "b")):
        path = packaged_speech(name).write(tmp_path / f"{name}.wav", subtype="FLOAT")
        items.append(CorpusItem(name, str(path), "words", speaker=speaker))
    for builder, options in (
        (DereverbPairs(), {"rt60": "0.8:1.0", "rooms": "2"}),
        (SeparatePairs(), {"snr": "0:5", "backgrounds": "rain", "keep": "voice"}),
        (SeparatePairs(), {"snr": "-10:-5", "backgrounds": "rain", "keep": "background"}),
    ):
        kept = []
        for job in builder.jobs(items, options):
            kept += list(builder.build(job, BuildContext(np.random.default_rng(3), options)))
        assert len(kept) == 2 and all(isinstance(pair, EditPair) for pair in kept), kept
        assert all(len(p.source.samples) == len(p.target.samples) for p in kept)
    with pytest.raises(StepeditError, match="LOW:HIGH"):
        DereverbPairs().settings({"rt60": "9"})
    with pytest.raises(StepeditError, match="voice, background"):
        SeparatePairs().settings({"keep": "drums"})


@pytest.mark.slow
class TestDereverb(EditContract):
    edits = (Dereverb(), Dereverb(backend="wpe", strength=0.5))
    invalid = ({"strength": 2}, {"backend": "magic"})


@pytest.mark.slow
class TestSeparate(EditContract):
    edits = (Separate(), Separate(keep="background"))
    invalid = ({"keep": "drums"},)
