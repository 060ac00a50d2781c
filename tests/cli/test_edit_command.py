from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from stepedit_core import embedded
from stepedit_core.chain.chain import Chain
from stepedit_core.config import EngineConfig
from stepedit_core.testing import FakeEngine, speech_like
from stepedit_core.utterance import Utterance
from tests.cli.calls import call, refused
from tests.toy_edits import Gain, Hiss

pytestmark = pytest.mark.usefixtures("toys")


def test_one_file_by_one_edit(wav: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    result = call("edit", wav, "-o", out, "-e", "gain:db=-6")
    assert result.exit_code == 0, result.output
    before, after = Utterance.read(wav), Utterance.read(out)
    assert np.allclose(after.samples, before.samples * 10 ** (-6 / 20), atol=1e-4)
    assert "step 1: gain" in result.stdout
    assert "route dsp (no engine)" in result.stdout
    assert f"wrote {out}" in result.stdout


def test_the_engine_and_the_route_are_said(wav: Path, tmp_path: Path) -> None:
    args = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "hiss", "-e", "gain", "--engine", "fake")
    lines = call(*args).stdout.splitlines()
    assert "step 1: hiss | route llm (engine fake)" in lines[0]
    assert "step 2: gain | route dsp (no engine)" in lines[1]


def test_the_route_can_be_forced(wav: Path, tmp_path: Path) -> None:
    args = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "hiss", "--engine", "fake")
    assert "route dsp" in call(*args, "--route", "dsp").stdout
    line = refused(call("edit", wav, "-o", tmp_path / "b.wav", "-e", "gain", "--route", "llm"))
    assert "gain has no llm route" in line
    assert not (tmp_path / "b.wav").exists()


def test_implied_engine(wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(config: EngineConfig) -> FakeEngine:
        asked.append(config.name_or_path)
        return FakeEngine()

    monkeypatch.setattr("stepedit_core.registry.registry.load_engine", load)
    words = ("--text", "a")
    plain = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "hiss", *words)
    only_llm = ("-e", "recite:words=x")
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    assert "needs an engine" in refused(call(*plain, *only_llm))
    (tmp_path / "config.json").write_text("{}")
    assert call(*plain).exit_code == 0
    assert call(*plain, "--route", "dsp").exit_code == 0
    assert asked == []
    result = call(*plain, *only_llm)
    assert "recite needs an engine (it has no dsp route): taking --engine embedded" in result.stdout
    assert "step 2: recite" in result.stdout
    assert "--route llm is asked for" in call(*plain, "--route", "llm").stdout
    assert asked == ["embedded", "embedded"]


def test_an_engine_that_no_step_uses(
    wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(config: EngineConfig) -> FakeEngine:
        asked.append(config.name_or_path)
        return FakeEngine()

    monkeypatch.setattr("stepedit_core.registry.registry.load_engine", load)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    base = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "hiss", "--engine", folder)
    assert call(*base).exit_code == 0
    assert len(asked) == 1, "nothing says which route is better"
    (folder / "routes.json").write_text('{"edits": {"hiss": {"route": "dsp"}}}')
    result = call(*base)
    assert "route dsp" in result.stdout
    assert f"engine {folder} is not needed and not loaded" in result.stdout
    assert call(*base, "-e", "gain").exit_code == 0
    assert call(*base, "--route", "dsp").exit_code == 0
    assert len(asked) == 1
    assert call(*base, "--route", "llm").exit_code == 0
    assert len(asked) == 2
    assert call(*base, "--accept", "normal").exit_code in (0, 1)
    assert len(asked) == 3, "limits may send a step to its other route"
    (folder / "routes.json").write_text("{")
    assert "routes.json is not readable JSON" in refused(call(*base))


def test_seeds_repeat(wav: Path, tmp_path: Path) -> None:
    def digest(seed: int) -> str:
        assert (
            call("edit", wav, "-o", tmp_path / "o.wav", "-e", "hiss", "--seed", seed).exit_code == 0
        )
        return Utterance.read(tmp_path / "o.wav").digest

    assert digest(1) == digest(1) != digest(2)


def test_a_chain_file_runs_before_further_edits(wav: Path, tmp_path: Path) -> None:
    chain = tmp_path / "chain.json"
    chain.write_text(Chain([Hiss(), Gain(db=-3)]).to_json())
    report = tmp_path / "report.json"
    result = call(
        "edit", wav, "-o", tmp_path / "out.wav", "--chain", chain, "-e", "gain:db=1",
        "--iterations", 2, "--report", report,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    data = json.loads(report.read_text())
    steps = data["runs"][0]["steps"]
    assert [step["edit"]["edit"] for step in steps] == ["hiss", "gain", "gain"] * 2
    assert data["runs"][0]["source"]["sha256"] == Utterance.read(wav).digest
    assert list(Chain.from_data(data["chain"]).flat())[2] == Gain(db=1)


def test_words_from_the_option_a_file_or_a_sidecar(wav: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "out.wav", tmp_path / "words.txt"
    base = ("edit", wav, "-o", out, "-e", "recite:words=x", "--engine", "fake")
    assert "give it with transcript= or --text" in refused(call(*base))
    report = tmp_path / "r.json"
    assert call(*base, "--text", "from the option", "--report", report).exit_code == 0
    assert json.loads(report.read_text())["runs"][0]["source"]["transcript"] == "from the option"
    words.write_text("from\n a file \n")
    assert "words from" in call(*base, "--text-file", words).stdout
    wav.with_suffix(".txt").write_text("from the sidecar")
    result = call(*base, "--report", report)
    assert f"words from {wav.with_suffix('.txt')}" in result.stdout
    assert json.loads(report.read_text())["runs"][0]["source"]["transcript"] == "from the sidecar"


def test_several_inputs_go_into_a_folder(tmp_path: Path) -> None:
    sources = [speech_like(0.4, seed=n).write(tmp_path / f"{n}.flac") for n in range(3)]
    folder = tmp_path / "out"
    result = call("edit", *sources, "-o", folder, "-e", "gain", "--report", folder / "r.json")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == [
        "0.flac",
        "1.flac",
        "2.flac",
        "r.json",
    ]
    runs = json.loads((folder / "r.json").read_text())["runs"]
    assert [Path(run["input"]).name for run in runs] == ["0.flac", "1.flac", "2.flac"]


def test_mixing_down_is_said(tmp_path: Path) -> None:
    one = speech_like(0.5).samples
    sf.write(tmp_path / "stereo.wav", np.stack([one, one], axis=1), 24_000)
    result = call("edit", tmp_path / "stereo.wav", "-o", tmp_path / "out.wav", "-e", "gain:db=0")
    assert "stereo.wav: 2 channels mixed down to mono" in result.stdout
    assert sf.info(tmp_path / "out.wav").channels == 1


@pytest.mark.parametrize("rate", [4_000, 8_000, 44_100, 192_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_any_rate_and_number_format(tmp_path: Path, rate: int, subtype: str) -> None:
    source = tmp_path / "in.wav"
    sf.write(source, speech_like(0.3, rate).samples, rate, subtype=subtype)
    assert call("edit", source, "-o", tmp_path / "out.wav", "-e", "gain").exit_code == 0
    info = sf.info(tmp_path / "out.wav")
    assert (info.samplerate, info.subtype) == (rate, subtype)


def test_every_step_can_be_kept(wav: Path, tmp_path: Path) -> None:
    out = tmp_path / "o" / "out.wav"
    assert call("edit", wav, "-o", out, "-e", "gain", "-e", "hiss", "--keep-steps").exit_code == 0
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ["out.step1-gain.wav", "out.step2-hiss.wav", "out.wav"]


def test_a_failing_step_keeps_what_was_finished(wav: Path, tmp_path: Path) -> None:
    folder, report = tmp_path / "o", tmp_path / "r.json"
    result = call(
        "edit", wav, "-o", folder / "out.wav", "-e", "gain:db=-6", "-e", "burst", "--report", report
    )
    line = refused(result, code=1)
    assert "step 2, burst ((local) 0): RuntimeError: it burst" in line
    assert f"kept the audio after step 1 in {folder / 'out.step1-gain.wav'}" in line
    assert [path.name for path in folder.iterdir()] == ["out.step1-gain.wav"]
    run = json.loads(report.read_text())["runs"][0]
    assert run["output"] is None
    assert "it burst" in run["error"]
    assert len(run["steps"]) == 1


def test_a_failing_first_step_writes_nothing(wav: Path, tmp_path: Path) -> None:
    line = refused(call("edit", wav, "-o", tmp_path / "o" / "x.wav", "-e", "burst"), code=1)
    assert "nothing was written" in line
    assert not (tmp_path / "o").exists()


def test_one_failure_does_not_stop_a_batch(tmp_path: Path) -> None:
    sources = [
        speech_like(length, seed=1).write(tmp_path / f"{length}.wav") for length in (1.0, 0.2)
    ]
    result = call(
        "edit", *sources, "-o", tmp_path / "out", "--engine", "fake-failing", "-e", "hiss"
    )
    assert result.exit_code == 1
    assert "(1 of 2 recordings failed)" in result.stderr
    # The journal stays, so that the same call again does the failed one alone.
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [".stepedit-edit.jsonl", "1.0.wav"]


def test_debug_shows_where(wav: Path, tmp_path: Path) -> None:
    args = ("edit", wav, "-o", tmp_path / "out.wav", "-e", "nix")
    assert "Traceback" not in call(*args).stderr
    assert "Traceback" in call("--debug", *args).stderr


def test_a_chain_file_may_begin_with_a_byte_order_mark(wav: Path, tmp_path: Path) -> None:
    chain = tmp_path / "chain.json"
    chain.write_text('{"schema_version": 1, "edits": [{"edit": "gain"}]}', encoding="utf-8-sig")
    assert call("edit", wav, "-o", tmp_path / "out.wav", "--chain", chain).exit_code == 0


def test_clipping_is_said(tmp_path: Path) -> None:
    loud = speech_like(0.3)
    peak = np.abs(loud.samples).max()
    loud = loud.replace(samples=loud.samples / peak * 3.9)
    source = loud.write(tmp_path / "in.wav", subtype="FLOAT")
    over = int(np.sum(np.abs(loud.samples) > 10 ** (6 / 20)))
    for name in ("out.flac", "out.opus"):
        result = call("edit", source, "-o", tmp_path / name, "-e", "gain:db=-6")
        assert result.exit_code == 0
        assert f"{over} samples above full scale were clipped" in result.output
        assert np.abs(sf.read(tmp_path / name)[0]).max() < 1.01
    for name in ("out.wav", "out.ogg", "out.mp3"):  # these codecs keep what is above it
        kept = call("edit", source, "-o", tmp_path / name, "-e", "gain:db=-6")
        assert kept.exit_code == 0 and "clipped" not in kept.output
        assert np.abs(sf.read(tmp_path / name)[0]).max() > 1.2
