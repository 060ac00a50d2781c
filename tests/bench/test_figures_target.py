"""The condition ``target``: the codes of an ideal output, decoded in the source's voice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from stepedit_bench.figures import families
from stepedit_bench.figures.families import ROWS, Item, items_of
from stepedit_bench.figures.heldout import Held
from stepedit_bench.figures.joint import joint_success
from stepedit_bench.figures.making import ENGINE, Maker
from stepedit_bench.figures.reporting import write_figures
from stepedit_bench.figures.running import Settings, conditions_of, measure_all
from stepedit_bench.figures.summing import figure_rows

from stepedit_core import DecodeRequest, DualCodes, Utterance
from stepedit_core.recordings import packaged_speech
from stepedit_core.scoring import Case
from stepedit_core.testing import FakeEngine
from tests.bench import bench_kit
from tests.bench.figures_kit import LightKept


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


def held(count: int = 4) -> list[Held]:
    """Return packaged speech as one synthetic voice."""
    return [
        Held(f"synthetic/{name}", "synthetic", "one", "reference", packaged_speech(name))
        for name in ("garden", "office", "wind", "doubt")[:count]
    ]


def items(row: str, count: int = 4) -> list[Item]:
    return list(items_of(row, {"synthetic": held(count)}))


def gain(speech: Held, db: float) -> Item:
    """Return a request for the bench's gain edit; 99 dB breaks."""
    edit = bench_kit.Gain(db=db)
    case = Case(id=speech.id, edit=edit, audio=speech.id, transcript=speech.speech.transcript)
    return Item("gain", speech, case, (edit,))


@pytest.mark.parametrize("row", ROWS)
def test_rows_with_one_ideal_output_have_it(row: str, tmp_path: Path) -> None:
    chosen = Settings(tmp_path, tmp_path)
    found = items(row)
    assert found
    expected = row not in ("identity", "masked", "chain")
    for item in found:
        assert ("target" in conditions_of(item, chosen, ENGINE)) is expected


@pytest.mark.parametrize("row", ["clone", "denoise", "trim_silence", "speed", "emotion_style"])
def test_the_ideal_output_is_coded_and_decoded_in_the_sources_voice(
    row: str, tmp_path: Path
) -> None:
    engine = Remembering()
    maker = Maker(tmp_path / "baseline", tmp_path / "engine", engine, 0)
    asked = items(row, 2)
    ideal = {
        "clone": [item.target for item in asked],
        "denoise": [item.held.speech for item in asked],
        "trim_silence": [item.held.speech for item in asked],
    }.get(row) or [made.steps[-1] for made in maker.make("dsp", asked)]
    made = maker.make("target", asked)
    assert len(engine.encoded) == 4 and len(asked) == 2 and not engine.requests
    for item, wanted, request, got in zip(asked, ideal, engine.decoded, made, strict=True):
        assert wanted is not None
        expected = FakeEngine().encode([wanted])[0]
        np.testing.assert_array_equal(request.codes.semantic, expected.semantic)
        source = maker.prepared(item).source
        assert request.source_map is not None
        assert request.source_map.condition == item.edits[0].plan(source).label
        if row in ("speed", "denoise"):
            assert request.source_map.positions is not None
            assert got.steps[0].seconds == pytest.approx(wanted.seconds, abs=1e-3)
        np.testing.assert_array_equal(request.reference.samples, source.samples)
        assert got.problem is None and len(got.steps) == 1
        assert got.steps[0].transcript == item.edits[0].transcript_after(source)
        assert maker.path(item, "target").is_relative_to(tmp_path / "engine")
    maker.make("target", asked)
    assert len(engine.encoded) == 4  # recordings are kept


def test_where_signal_processing_fails_a_line_says_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench_kit.install([])
    monkeypatch.setitem(
        families.ROWS, "gain", lambda row: lambda pool, n: gain(pool[n], 99 if n else 3)
    )
    chosen = Settings(data, tmp_path / "out", ("gain",), 2)
    run = measure_all(chosen, FakeEngine(), measures=LightKept(tmp_path / "out"))
    assert len(run.items) == 4
    for place, item in enumerate(run.items):
        lines = run.lines[item.id]
        broken = place % 2 == 1
        assert lines["llm"]["problem"] is None
        assert ("kept" in lines["target"]) is not broken
        if broken:
            assert "the gain breaks on purpose" in lines["target"]["problem"]
            assert joint_success(run.maker, item, lines, "target") is False


def test_it_stands_beside_the_models_own_figure(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = Settings(data, out, ("identity", "speed", "denoise"), 2, quick=True)
    engine = FakeEngine()
    run = measure_all(chosen, engine, measures=LightKept(out))
    page = write_figures(run, chosen, engine, None, "stepedit bench figures", ())
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
    head, *table = [line for line in page.read_text().splitlines() if line.startswith("|")]
    cells = [cell.strip() for cell in head.strip("|").split("|")]
    speed = next(line for line in table if line.startswith("| speed.ratio_error (%) | all |"))
    assert cells[-1] == "target" and speed.strip("| ").split("|")[-1].strip()


def test_baselines_alone_have_none(data: Path, tmp_path: Path) -> None:
    chosen = Settings(data, tmp_path / "out", ("speed",), 2, quick=True)
    run = measure_all(chosen, None, measures=LightKept(tmp_path / "out"))
    assert all("target" not in lines for lines in run.lines.values())
    assert all("target" not in one["beside"] for one in figure_rows(run, 0))
