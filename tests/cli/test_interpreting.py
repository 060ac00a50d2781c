from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile as sf

from stepedit_core.testing import speech_like
from tests.cli.calls import call, refused


def test_chain_in_words_and_json() -> None:
    shown = call("interpret", "denoise it, then a bit slower")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        "1. denoise, from 'denoise it'",
        "2. speed:factor=0.9, from 'a bit slower'",
    ]
    data = json.loads(call("interpret", "slower", "a little less", "--json").stdout)
    assert data["chain"]["edits"] == [{"edit": "speed", "rate": None, "factor": 0.9}] or (
        data["chain"]["edits"] == [{"edit": "speed", "factor": 0.9}]
    )
    assert data["explanation"][0]["read_from"] == "slower"
    assert data["alternatives"] == []


def test_refusal_is_one_line() -> None:
    assert "contradict" in refused(call("interpret", "faster and slower"))


def test_choices_are_printed() -> None:
    asked = call("interpret", "delete go", "--text", "Go and go.", "--json")
    assert asked.exit_code == 2
    assert len(json.loads(asked.stdout)["alternatives"]) == 2


def test_say_runs_what_it_shows(tmp_path: Path) -> None:
    speech = speech_like()
    speech.write(tmp_path / "in.wav")
    args = ("edit", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--say", "half speed")
    assert "--yes" in refused(call(*args))
    done = call(*args, "--yes")
    assert done.exit_code == 0, done.output
    assert "1. speed:factor=0.5, from 'half speed'" in done.stdout
    seconds = sf.info(str(tmp_path / "out.wav")).duration
    assert abs(seconds - 2 * speech.seconds) < 0.1 * speech.seconds


def test_say_of_a_long_recording(tmp_path: Path) -> None:
    sound = np.tile(speech_like(10.0, 8_000).samples, 31)
    sf.write(tmp_path / "long.wav", sound, 8_000)
    args = ("edit", tmp_path / "long.wav", "-o", tmp_path / "out.wav", "--yes", "--say")
    done = call(*args, "6 dB softer")
    assert done.exit_code == 0, done.output
    assert "1. volume:db=-6.0, from '6 dB softer'" in done.stdout
    assert sf.info(str(tmp_path / "out.wav")).duration == 310
    line = refused(call(*args, "make the first 10 seconds softer"))
    assert "masked names seconds of the whole recording" in line
    told = call(
        "interpret", "make the last 10 seconds softer", "--recording", tmp_path / "long.wav"
    )
    assert told.exit_code == 0 and "300" in told.stdout
