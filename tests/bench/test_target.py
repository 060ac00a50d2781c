"""The condition ``target``: the codes of an ideal output, decoded in the source's voice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from stepedit_bench.conditions import Recordings
from stepedit_bench.heldout import requests
from stepedit_bench.heldout.commands import Settings, measure
from stepedit_bench.heldout.figures import figure_rows, write_figures
from stepedit_bench.heldout.requests import ROWS, HeldOut, units_of
from stepedit_bench.heldout.speech import HeldOutUtterance
from stepedit_bench.produce import Protocol, produce_batch

from stepedit_core import DecodeRequest, DualCodes, Utterance
from stepedit_core.recordings import packaged_speech
from stepedit_core.scoring import Case
from stepedit_core.testing import FakeEngine
from tests.bench import bench_kit
from tests.bench.heldout_kit import LightKept


class Remembering(FakeEngine):
    """Keeps what it was asked to encode, and what it decoded in whose voice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[Utterance] = []
        self.decoded: list[DecodeRequest] = []

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        self.encoded += utterances
        return super().encode(utterances)

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        self.decoded += requests
        return super().decode(requests)


def held(count: int = 4) -> list[HeldOutUtterance]:
    """Return packaged speech as one synthetic voice."""
    return [
        HeldOutUtterance(
            f"synthetic/{name}", "synthetic", "one", "reference", packaged_speech(name)
        )
        for name in ("garden", "office", "wind", "doubt")[:count]
    ]


def items(row: str, count: int = 4) -> list[HeldOut]:
    return list(units_of(row, {("synthetic", "1.8-3.7 s"): held(count)}, 0))


def gain(speech: HeldOutUtterance, db: float) -> requests.RequestParts:
    """Return a request for the bench's gain edit; 99 dB breaks."""
    edit = bench_kit.Gain(db=db)
    case = Case(id=speech.id, edit=edit, audio=speech.id, transcript=speech.speech.transcript)
    return case, (edit,), None


@pytest.mark.parametrize("row", ROWS)
def test_rows_with_one_ideal_output_have_it(row: str) -> None:
    found = items(row)
    assert found
    expected = row not in ("identity", "masked", "chain")
    for item in found:
        assert ("target" in item.conditions(("identity", "target", "edit"))) is expected


@pytest.mark.parametrize("row", ["clone", "denoise", "trim_silence", "speed", "emotion_style"])
def test_target_recording(row: str, tmp_path: Path) -> None:
    engine = Remembering()
    kept = Recordings(tmp_path / "baseline", tmp_path / "engine")
    asked = items(row, 2)
    protocol = Protocol(conditions=("dsp", "target"))
    produced = produce_batch(asked, engine, protocol, kept)
    assert len(engine.encoded) == 4 and len(asked) == 2 and not engine.requests
    for item, one, request in zip(asked, produced, engine.decoded, strict=True):
        assert one.prepared is not None
        source = one.prepared.source
        made = one.made["dsp"].steps
        wanted = item.ideal(one.prepared) or made[-1].audio
        if row == "clone":
            assert wanted is item.target
        if row in ("denoise", "trim_silence"):
            assert wanted is item.held.speech
        expected = FakeEngine().encode([wanted])[0]
        np.testing.assert_array_equal(request.codes.semantic, expected.semantic)
        assert request.source_map is not None
        assert request.source_map.condition == item.edits[0].plan(source).label
        got = one.made["target"]
        if row in ("speed", "denoise"):
            assert request.source_map.positions is not None
            assert got.steps[0].audio.seconds == pytest.approx(wanted.seconds, abs=1e-3)
        np.testing.assert_array_equal(request.reference.samples, source.samples)
        assert got.problem is None and len(got.steps) == 1
        assert got.steps[0].audio.transcript == item.edits[0].transcript_after(source)
        assert kept.path(item, "target").is_relative_to(tmp_path / "engine")
    produce_batch(asked, engine, protocol, kept)
    assert len(engine.encoded) == 4  # recordings are kept


def test_where_signal_processing_fails_a_row_says_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench_kit.install([])
    monkeypatch.setitem(
        requests.ROWS, "gain", lambda: lambda pool, n: gain(pool[n], 99 if n else 3)
    )
    monkeypatch.setitem(requests._SCORED, "gain", ("dsp", "target", "edit"))
    chosen = Settings(data, tmp_path / "out", ("gain",), 2)
    run = measure(chosen, FakeEngine(), measures=LightKept(tmp_path / "out"))
    assert len(run.units) == 4
    rows = {(row["case"], row["condition"]): row for row in run.rows}
    for place, unit in enumerate(run.units):
        broken = place % 2 == 1
        target = rows[unit.name, "target"]
        assert rows[unit.name, "edit"]["status"] == "ok"
        assert bool(target["kept"]) is not broken
        if broken:
            assert "the gain breaks on purpose" in target["problem"]
            assert target["joint"] is False


def test_it_stands_beside_the_models_own_figure(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = Settings(data, out, ("identity", "speed", "denoise"), 2, quick=True)
    engine = FakeEngine()
    run = measure(chosen, engine, measures=LightKept(out))
    write_figures(run.folder, run.rows, run.units, engine, None, 0, "stepedit bench figures")
    found = json.loads((run.folder / "figures.json").read_text())
    beside = {(one["row"], one["kind"]): one["beside"] for one in found["rows"]}
    # The ideal tempo coded is off by the size of a group at most, the identity edit by the factor.
    assert beside["speed.ratio_error", "all"]["target"] < 6
    assert beside["speed.ratio_error", "all"]["identity"] > 20
    assert {"denoise.bak_gain", "speed.added_wer"} <= {
        name for (name, _), values in beside.items() if "target" in values
    }
    assert all(
        "target" not in values for (name, _), values in beside.items() if "identity." in name
    )


def test_baselines_alone_have_none(data: Path, tmp_path: Path) -> None:
    chosen = Settings(data, tmp_path / "out", ("speed",), 2, quick=True)
    run = measure(chosen, None, measures=LightKept(tmp_path / "out"))
    assert {row["condition"] for row in run.rows} == {"source", "dsp"}
    assert all("target" not in one["beside"] for one in figure_rows(run.rows, 0))
