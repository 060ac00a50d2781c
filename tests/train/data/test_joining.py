"""Longer utterances of neighbouring pieces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from stepedit_train.data import pieces
from stepedit_train.data.joining import joined, runs_to_join
from stepedit_train.data.pieces import PiecesSettings, make_pieces

from stepedit_core.dsp.silences import find_speech
from stepedit_core.recordings import packaged_speech
from stepedit_core.utterance import Utterance


def row(number: int, speaker: str = "a", **changes: object) -> dict[str, object]:
    return {
        "id": f"c/{speaker}#{number:02d}",
        "path": f"{number}.flac",
        "text": f"part {number}",
        "speaker": speaker,
        "split": "train",
        "seconds": 2.0,
        **changes,
    }


def test_runs_hold_one_speaker_and_each_row_once() -> None:
    rows = [row(n, speaker) for n in range(9) for speaker in "ba"]
    rows += [row(20, "a", text=None), row(21, "lonely"), row(22, "a", split="dev")]
    runs = list(runs_to_join(rows, (4.0, 8.0), np.random.default_rng(0)))
    names = [one["id"] for run in runs for one in run]
    assert len(names) == len(set(names)) >= 12
    for run in runs:
        assert len(run) >= 2 and len({one["speaker"] for one in run}) == 1
        assert 4.0 <= sum(one["seconds"] for one in run) <= 8.0
        assert [one["id"] for one in run] == sorted(one["id"] for one in run)
    again = list(runs_to_join(rows, (4.0, 8.0), np.random.default_rng(0)))
    assert again == runs


def write(folder: Path, number: int, gain: float = 1.0) -> Utterance:
    speech = packaged_speech("garden")
    quiet = np.random.default_rng(number).normal(0, 1e-4, speech.sample_rate // 2)
    samples = gain * np.concatenate([quiet, speech.samples, quiet])
    sf.write(folder / f"{number}.flac", samples, speech.sample_rate)
    return speech


def test_joined_pieces(tmp_path: Path) -> None:
    speech = write(tmp_path, 0)
    write(tmp_path, 1, gain=0.5)
    found = joined(tmp_path, [row(0), row(1, text="Part one?")], np.random.default_rng(1))
    assert found is not None
    samples, facts = found
    whole = Utterance(samples, speech.sample_rate)
    assert facts["text"] == "part 0. Part one?" and facts["joined"] == 2
    assert facts["seconds"] == pytest.approx(whole.seconds, abs=1e-3)
    spoken = find_speech(Utterance.read(tmp_path / "0.flac"))
    said = spoken[-1].end - spoken[0].start
    assert 2 * said + 0.2 < whole.seconds < 2 * said + 1.2
    half = len(samples) // 2
    first, second = (np.sqrt(np.mean(part**2)) for part in (samples[:half], samples[half:]))
    assert first == pytest.approx(second, rel=0.1)


def test_pieces_that_are_not_joined(tmp_path: Path) -> None:
    write(tmp_path, 0)
    write(tmp_path, 1, gain=0.1)
    assert joined(tmp_path, [row(0), row(1)], np.random.default_rng(1)) is None
    sf.write(tmp_path / "2.flac", np.zeros(48_000), 24_000)
    assert joined(tmp_path, [row(0), row(2)], np.random.default_rng(1)) is None


def test_the_stage_writes_them_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    (out / "parts").mkdir(parents=True)
    (out / "audio").mkdir()
    write(out, 0)
    write(out, 1)
    part = "".join(json.dumps(row(n)) + "\n" for n in range(2))
    (out / "parts" / "x.jsonl").write_text(part)
    settings = PiecesSettings.model_validate(
        {"caches": [], "out": out, "joined_seconds": [3.0, 9.0]}
    )
    lines = list(make_pieces(settings))
    assert lines[-1].startswith("3 pieces")
    made = json.loads((out / "manifest.jsonl").read_text().splitlines()[0])
    assert made["id"] == "c/a#00+1" and (out / made["path"]).is_file()
    monkeypatch.setattr(pieces, "joined", None)
    assert list(make_pieces(settings))[-1] == lines[-1]
