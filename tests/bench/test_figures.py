from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from stepedit_bench.commands import bench
from stepedit_bench.figures import cost, families, gates, running
from stepedit_bench.figures.families import ROWS, Item
from stepedit_bench.figures.hearing import KeptMeasures, count_words
from stepedit_bench.figures.heldout import LEAST, MOST, Held, excerpts, held_out
from stepedit_bench.figures.joint import routes_of
from stepedit_bench.figures.lines import Lines
from stepedit_bench.figures.making import Maker
from stepedit_bench.figures.pictures import draw_rows
from stepedit_bench.figures.reporting import write_figures
from stepedit_bench.figures.running import Run, Settings, measure_all
from stepedit_bench.figures.summing import estimate, figure_rows

from stepedit_core import Utterance
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.errors import StepeditError
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import get_edit
from stepedit_core.scoring import Case
from stepedit_core.testing import FakeEngine, speech_like
from tests.bench.figures_kit import LightKept
from tests.models.tiny_checkpoint import MODEL, write_engine

GATES = {gate.name: gate for gate in gates.GATES}


def test_held_out_speakers_alone_are_drawn_in_turn(data: Path, tmp_path: Path) -> None:
    measures = LightKept(tmp_path)
    four = held_out(data, tmp_path / "out", 4, 0, measures)
    assert [one.speaker for one in four["synthetic"]] in (
        ["made0", "made1"] * 2,
        ["made1", "made0"] * 2,
    )
    assert {one.speaker for one in four["real"]} == {"read0", "read1"}
    by_speaker = {one.speaker: one for one in four["real"]}
    assert by_speaker["read1"].text_source == "reference"
    assert by_speaker["read1"].speech.transcript == "These are the words spoken"
    assert by_speaker["read0"].text_source == "whisper"
    assert by_speaker["read0"].speech.transcript == "words that were heard here"
    two = held_out(data, tmp_path / "out", 2, 0, measures)
    assert [one.id for one in two["synthetic"]] == [one.id for one in four["synthetic"][:2]]


def test_without_data_one_line_says_what_is_missing(tmp_path: Path) -> None:
    measures = LightKept(tmp_path)
    with pytest.raises(StepeditError, match=r"no manifest\.csv or manifest\.jsonl"):
        held_out(tmp_path, tmp_path / "out", 2, 0, measures)
    (tmp_path / "manifest.jsonl").write_text('{"path": "a.wav", "language": "en"}\n')
    with pytest.raises(StepeditError, match="speakers that were held out"):
        held_out(tmp_path, tmp_path / "out", 2, 0, measures)


def test_long_recordings_are_cut_in_pauses_without_overlap() -> None:
    parts = [packaged_speech(name).resample(24_000).samples for name in ("garden", "office")]
    silence = np.zeros(12_000, np.float32)
    speech = Utterance(np.concatenate([parts[0], silence, parts[1], silence, parts[0]]), 24_000)
    cuts = excerpts(speech)
    assert cuts
    assert all(LEAST <= span.seconds <= MOST for span in cuts)
    assert all(a.end <= b.start or b.end <= a.start for a in cuts for b in cuts if a != b)
    spoken = speech_spans(speech, min_silence=0.12, pad=0.0)
    for span in cuts:
        edges = [edge for part in spoken for edge in part]
        assert not any(
            part.start < edge < part.end for part in spoken for edge in span if edge not in edges
        )


@pytest.mark.parametrize("name", [row for row in ROWS if row not in ("identity", "chain")])
def test_every_row_asks_what_its_plugins_can_do_by_the_model(name: str) -> None:
    pool = [
        Held(f"synthetic/{n}", "synthetic", "one", "reference", packaged_speech(speech))
        for n, speech in enumerate(("garden", "office", "wind", "doubt"))
    ]
    items = list(families.items_of(name, {"real": [], "synthetic": pool}))
    assert items
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert item.edits[0].route_problem("llm") is None
        assert item.edits[0].problem(item.held.speech) is None
    if name == "clone":
        assert all(item.target is not None for item in items)
        assert items[0].edits[0].text == pool[1].speech.transcript  # type: ignore[attr-defined]
    if name == "denoise":
        assert {item.case.prepare["snr_db"] for item in items if item.case} == {5}


def settings(data: Path, out: Path, *rows: str, count: int = 2, **more: Any) -> Settings:
    return Settings(data, out, rows, count, **more)


def test_a_run_measures_goes_on_and_shares_its_baselines(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = settings(data, out, "identity", "speed", "masked", "clone", count=4)
    engine = FakeEngine()
    run = measure_all(chosen, engine, measures=LightKept(out))
    rows = {(each["row"], each["kind"]): each for each in figure_rows(run, 0)}
    assert rows["masked.outside_identical", "all"]["value"] == 100
    assert rows["masked.outside_identical", "all"]["beside"]["dsp"] == 100
    # Groups of 120 ms are as near as the fake engine comes to a duration.
    assert rows["speed.ratio_error", "all"]["value"] < 6
    assert rows["speed.ratio_error", "all"]["beside"]["identity"] > 20
    assert rows["speed.early_stops", "all"]["value"] == 0
    assert rows["identity.added_wer", "real"]["n"] == 2
    assert ("clone.wer", "real") not in rows
    asked, baseline = len(engine.requests), (out / "baseline/lines.jsonl").read_bytes()
    lines = next((out / "engines").glob("*/lines.jsonl"))
    whole = lines.read_bytes()

    lines.write_bytes(whole[: len(whole) // 2])  # as a killed run leaves it
    part = measure_all(replace(chosen, finished=True), engine, measures=LightKept(out))
    counts = [len(lines) for lines in part.lines.values()]
    assert 0 < sum(counts) < sum(len(lines) for lines in run.lines.values())
    assert any(one["n"] for one in figure_rows(part, 0))
    again = measure_all(chosen, engine, measures=LightKept(out))
    assert len(engine.requests) == asked  # recordings were kept
    without = [
        {k: {**line, "make_seconds": 0} for k, line in by.items()} for by in run.lines.values()
    ]
    assert without == [
        {k: {**line, "make_seconds": 0} for k, line in by.items()} for by in again.lines.values()
    ]

    measure_all(chosen, FakeEngine("other"), measures=LightKept(out))
    assert len(list((out / "engines").iterdir())) == 2
    assert (out / "baseline/lines.jsonl").read_bytes() == baseline


def test_reports_pictures_and_routes_are_written(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = settings(data, out, "denoise", "emotion_style", quick=True)
    engine = FakeEngine()
    run = measure_all(chosen, engine, measures=LightKept(out))
    pictures = draw_rows(run)
    assert [path.name for path in pictures] == ["denoise.png", "emotion_style.png"]
    assert (run.folder / "pictures/denoise-real-target.wav").is_file()
    took = {"rtf": 0.5, "memory_gb": 2.0, "load_seconds": 1.0, "n": 5}
    page = write_figures(run, chosen, engine, took, "stepedit bench figures", pictures)
    found = json.loads((run.folder / "figures.json").read_text())
    assert found["model"] == "none"
    by_name = {(each["row"], each["kind"]): each for each in found["rows"]}
    assert by_name["denoise.joint", "all"]["n"] == 4
    assert by_name["cost.memory_gb", "all"]["gate_met"] is False
    assert by_name["cost.rtf", "all"]["goal_met"] is False
    routes = json.loads((run.folder / "routes.json").read_text())["edits"]
    assert set(routes) == {"denoise", "emotion", "style"}
    assert all(each["route"] in ("llm", "dsp") and each["n"] for each in routes.values())
    assert "| denoise.joint (%) | all |" in page.read_text()


def test_an_engine_that_fails_counts_as_missed(data: Path, tmp_path: Path) -> None:
    chosen = settings(data, tmp_path / "out", "speed", quick=True)
    run = measure_all(chosen, FakeEngine(fail_after=0), measures=LightKept(tmp_path / "out"))
    rows = {(one["row"], one["kind"]): one for one in figure_rows(run, 0)}
    assert rows["speed.early_stops", "all"]["value"] == 100
    assert rows["speed.ratio_error", "all"]["value"] == 100
    assert rows["speed.added_wer", "all"]["value"] == 100
    assert routes_of(run)["speed"]["llm"] == 0
    assert routes_of(run)["speed"]["route"] == "dsp"


def test_a_chain_is_heard_at_both_ends_and_one_that_breaks_lost_its_words(
    data: Path, tmp_path: Path
) -> None:
    chosen = settings(data, tmp_path / "out", "chain")
    run = measure_all(chosen, FakeEngine(fail_after=1), measures=LightKept(tmp_path / "out"))
    assert [len(lines["identity"]["words"]) for lines in run.lines.values()] == [2] * 4
    rows = {(one["row"], one["kind"]): one for one in figure_rows(run, 0)}
    assert rows["chain.wer_growth", "all"]["value"] == 50
    assert rows["chain.wer_growth", "all"]["beside"]["identity"] == 0


def line(errors: int, length: int, **more: Any) -> dict[str, Any]:
    return {"words": [{"whisper": {"errors": errors, "deletions": 0, "length": length}}], **more}


def one_item(name: str, held: str = "real/a") -> Item:
    speech = speech_like(1.5).replace(transcript="some words to say", language="en")
    case = Case(id=held, edit=get_edit("speed")(rate="faster"), audio="x")
    return Item(name, Held(held, "real", "s", "reference", speech), case, (case.edit,))


def a_run(lines: list[dict[str, Any]], tmp_path: Path) -> Run:
    items = [one_item("speed", f"real/{number}") for number in range(len(lines))]
    maker = Maker(tmp_path, tmp_path, None, 0)
    return Run(tmp_path, items, {i.id: one for i, one in zip(items, lines, strict=True)}, maker)


def test_word_error_is_pooled_over_words_and_relative_to_the_identity_edit(tmp_path: Path) -> None:
    lines = [
        {"original": line(0, 10), "identity": line(2, 10), "llm": line(3, 10)},
        {"original": line(1, 2), "identity": line(1, 2), "llm": line(2, 2)},
    ]
    run = a_run(lines, tmp_path)
    found = next(one for one in figure_rows(run, 0) if one["row"] == "speed.added_wer")
    assert found["value"] == pytest.approx(100 * 2 / 12, abs=1e-3)
    assert found["beside"]["identity"] == pytest.approx(100 * 2 / 12, abs=1e-3)
    assert found["gate_met"] is False


def joint_line(reached: bool, similarity: float = 0.9) -> dict[str, Any]:
    kept = {
        "text": {"errors": 0, "length": 4, "unit": "word", "rate": 0},
        "speaker_similarity": similarity,
        "dnsmos_ovrl": 3.0,
        "loudness_lufs": -20.0,
        "clipped_share": 0.0,
        "seconds": 1.5,
    }
    return line(0, 4, kept=kept, score={"reached": reached, "values": {}, "unscored": None})


def test_routes_go_to_the_better_one_and_ties_to_dsp(tmp_path: Path) -> None:
    def case(llm: dict[str, Any], dsp: dict[str, Any]) -> dict[str, Any]:
        return {
            "original": joint_line(False),
            "identity": joint_line(False),
            "llm": llm,
            "dsp": dsp,
        }

    yes, no, foreign = joint_line(True), joint_line(False), joint_line(True, 0.3)
    tie = routes_of(a_run([case(yes, yes), case(no, no)], tmp_path))
    assert tie["speed"] == {"llm": 0.5, "dsp": 0.5, "n": 2, "route": "dsp"}
    better = routes_of(a_run([case(yes, yes), case(yes, foreign)], tmp_path))
    assert better["speed"] == {"llm": 1.0, "dsp": 0.5, "n": 2, "route": "llm"}


def test_gates_know_which_side_is_good() -> None:
    similarity, wer = GATES["identity.speaker_similarity"], GATES["identity.added_wer"]
    assert similarity.meets(0.8, similarity.gate)
    assert not similarity.meets(0.7, similarity.gate)
    assert wer.meets(20, wer.gate)
    assert not wer.meets(20.1, wer.gate)
    assert all(
        (gate.goal >= gate.gate) if gate.higher else (gate.goal <= gate.gate)
        for gate in gates.GATES
    )


def test_intervals_hold_the_value_and_shrink_with_more_items() -> None:
    few = estimate([(float(n % 2), 1.0) for n in range(10)], gates.pooled, 0)
    many = estimate([(float(n % 2), 1.0) for n in range(200)], gates.pooled, 0)
    assert few.low < few.mean == many.mean == 50 < few.high
    assert many.high - many.low < few.high - few.low


def test_lines_survive_a_torn_end_and_refuse_damage(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    lines = Lines(path)
    lines.add("a", 1)
    lines.add("b", {"x": 2})
    with path.open("ab") as file:
        file.write(b'{"key": "c", "va')
    again = Lines(path)
    assert again.entries == {"a": 1, "b": {"x": 2}}
    again.add("c", 3)
    assert Lines(path).entries["c"] == 3
    path.write_bytes(b"no json\n" + path.read_bytes())
    with pytest.raises(StepeditError, match="line 1 is damaged"):
        Lines(path)


def test_deletions_are_counted_apart() -> None:
    found = count_words("read the other page", "reed other page", "en")
    assert (found.errors, found.deletions, found.length) == (2, 1, 4)


def test_measurements_are_kept_across_runs(tmp_path: Path) -> None:
    speech = speech_like(1.0)
    calls: list[int] = []

    def make() -> float:
        calls.append(1)
        return 0.5

    assert KeptMeasures(tmp_path)._once("x", speech, make) == 0.5
    assert KeptMeasures(tmp_path)._once("x", speech, make) == 0.5
    assert len(calls) == 1


def test_an_unknown_row_is_refused_with_the_known_ones(data: Path, tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="no row 'sped' of the figures; there is identity"):
        running.Settings(data, tmp_path, ("sped",)).check()


@pytest.mark.slow
def test_the_command_measures_a_real_engine_by_real_judges(data: Path, tmp_path: Path) -> None:
    folder = write_engine(tmp_path / "engine") / MODEL
    out = tmp_path / "out"
    arguments = ["figures", "--engine", str(folder), "--data", str(data), "--out", str(out)]
    ran = CliRunner().invoke(
        bench, [*arguments, "--rows", "identity", "--n", "2", "--quick", "--install"]
    )
    assert ran.exit_code == 0, ran.output
    found = json.loads((folder / "figures.json").read_text())
    assert {one["row"] for one in found["rows"]} >= {"identity.added_wer", "identity.ovrl_drop"}


@pytest.mark.slow
def test_time_and_memory_are_those_of_a_process_of_its_own(tmp_path: Path) -> None:
    folder = write_engine(tmp_path / "engine") / MODEL
    speech = speech_like(1.5).write(tmp_path / "a.wav")
    took = cost.measure_cost(str(folder), [(speech, "some words")] * 2)
    assert took["n"] == 1
    assert 0 < took["rtf"] < 1000
    assert 0.05 < took["memory_gb"] < 5
    with pytest.raises(StepeditError, match="could not be measured"):
        cost.measure_cost(str(tmp_path / "nothing"), [(speech, "words")])
