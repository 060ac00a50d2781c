from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from stepedit_bench.commands import bench
from stepedit_bench.heldout import gates, requests
from stepedit_bench.heldout.commands import Settings, measure
from stepedit_bench.heldout.figures import figure_rows, write_figures
from stepedit_bench.heldout.requests import ROWS
from stepedit_bench.heldout.routes import routes_of
from stepedit_bench.heldout.speech import LENGTHS, SHORT, HeldOutUtterance, excerpts, held_out
from stepedit_bench.measuring import StandardMeasures
from stepedit_bench.measuring.text_error import count_words
from stepedit_bench.report import write_report
from stepedit_bench.speed import cost
from stepedit_bench.store import JOURNAL, Journal, read_results

from stepedit_core import Utterance
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.errors import StepeditError
from stepedit_core.recordings import packaged_speech
from stepedit_core.scoring import Interval, bootstrap_interval
from stepedit_core.testing import FakeEngine, speech_like
from tests.bench.heldout_kit import LightKept
from tests.models.tiny_checkpoint import MODEL, write_engine

LABEL = SHORT.label
GATES = {gate.name: gate for gate in gates.GATES}


def test_held_out_speakers_alone_are_drawn_in_turn(data: Path, tmp_path: Path) -> None:
    measures = LightKept(tmp_path)
    four = held_out(data, tmp_path / "out", 4, 0, measures)
    assert [one.speaker for one in four["synthetic", LABEL]] in (
        ["made0", "made1"] * 2,
        ["made1", "made0"] * 2,
    )
    assert {one.speaker for one in four["real", LABEL]} == {"read0", "read1"}
    by_speaker = {one.speaker: one for one in four["real", LABEL]}
    assert by_speaker["read1"].text_source == "reference"
    assert by_speaker["read1"].speech.transcript == "These are the words spoken"
    assert by_speaker["read0"].text_source == "whisper"
    assert by_speaker["read0"].speech.transcript == "words that were heard here"
    two = held_out(data, tmp_path / "out", 2, 0, measures)
    assert [one.id for one in two["synthetic", LABEL]] == [
        one.id for one in four["synthetic", LABEL][:2]
    ]


def test_reference_texts_beside_the_manifest(data: Path, tmp_path: Path) -> None:
    measures = LightKept(tmp_path)
    texts = {"r0.wav": "some words that were hurt here and more", "r1.wav": "nothing of this"}
    (real,) = (
        pool
        for (kind, _), pool in held_out(data, tmp_path / "out", 4, 0, measures, texts=texts).items()
        if kind == "real"
    )
    found = {one.speaker: (one.speech.transcript, one.text_source) for one in real}
    assert found["read0"] == ("words that were hurt here", "reference")
    assert found["read1"][1] == "whisper"  # what is heard is not in the text


def test_without_data_one_line_says_what_is_missing(tmp_path: Path) -> None:
    measures = LightKept(tmp_path)
    with pytest.raises(StepeditError, match=r"no manifest\.csv or manifest\.jsonl"):
        held_out(tmp_path, tmp_path / "out", 2, 0, measures)
    (tmp_path / "manifest.jsonl").write_text('{"path": "a.wav", "language": "en"}\n')
    with pytest.raises(StepeditError, match="speakers that were held out"):
        held_out(tmp_path, tmp_path / "out", 2, 0, measures)


def test_cutting_long_recordings() -> None:
    parts = [packaged_speech(name).resample(24_000).samples for name in ("garden", "office")]
    silence = np.zeros(12_000, np.float32)
    speech = Utterance(np.concatenate([parts[0], silence, parts[1], silence, parts[0]]), 24_000)
    cuts = excerpts(speech)
    assert cuts
    assert all(SHORT.least <= span.seconds <= SHORT.most for span in cuts)
    assert all(a.end <= b.start or b.end <= a.start for a in cuts for b in cuts if a != b)
    spoken = speech_spans(speech, min_silence=0.12, pad=0.0)
    for span in cuts:
        edges = [edge for part in spoken for edge in part]
        assert not any(
            part.start < edge < part.end for part in spoken for edge in span if edge not in edges
        )


@pytest.mark.parametrize("name", [row for row in ROWS if row not in ("identity", "chain")])
def test_rows_ask_supported_edits(name: str) -> None:
    pool = [
        HeldOutUtterance(f"synthetic/{n}", "synthetic", "one", "reference", packaged_speech(speech))
        for n, speech in enumerate(("garden", "office", "wind", "doubt"))
    ]
    items = list(requests.units_of(name, {("synthetic", LABEL): pool}, 0))
    assert items
    assert len({item.key for item in items}) == len(items)
    for item in items:
        assert item.edits[0].route_problem("llm") is None
        assert item.edits[0].problem(item.held.speech) is None
    if name == "clone":
        assert all(item.target is not None for item in items)
        assert items[0].edits[0].text == pool[1].speech.transcript  # type: ignore[attr-defined]
    if name == "denoise":
        assert {item.case.prepare["snr_db"] for item in items if item.case} == {5}


@pytest.mark.parametrize(("row", "times"), [("iteration", 4), ("iteration_8", 8)])
def test_the_same_edit_several_times_over(row: str, times: int) -> None:
    speech = packaged_speech("garden")
    held = HeldOutUtterance("synthetic/0", "synthetic", "one", "reference", speech)
    (item,) = requests.units_of(row, {("synthetic", LABEL): [held]}, 0)
    assert len(item.edits) == times and len(set(map(repr, item.edits))) == 1
    assert not {"target"} & set(item.conditions(("identity", "target", "edit")))


def settings(data: Path, out: Path, *rows: str, count: int = 2, **more: Any) -> Settings:
    return Settings(data, out, rows, count, **more)


def table(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["row"], one["kind"]): one for one in figure_rows(rows, 0)}


def test_a_run_goes_on_and_shares_its_baselines(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = settings(data, out, "identity", "speed", "masked", "clone", count=4)
    engine = FakeEngine()
    run = measure(chosen, engine, measures=LightKept(out))
    rows = table(run.rows)
    assert rows["masked.outside_identical", "all"]["value"] == 100
    assert rows["masked.outside_identical", "all"]["beside"]["dsp"] == 100
    # Groups of 120 ms are as near as the fake engine comes to a duration.
    assert rows["speed.ratio_error", "all"]["value"] < 6
    assert rows["speed.ratio_error", "all"]["beside"]["identity"] > 20
    assert rows["speed.early_stops", "all"]["value"] == 0
    assert rows["identity.added_wer", "real"]["n"] == 2
    assert rows["clone.wer", "real"]["n"] == 2  # each says the other's words
    asked = len(engine.requests)
    baseline = {path: path.stat().st_mtime_ns for path in (out / "baseline").rglob("*.flac")}
    journal = run.folder / JOURNAL
    whole = journal.read_bytes()

    journal.write_bytes(whole[: len(whole) // 2])  # as a killed run leaves it
    part = measure(replace(chosen, finished=True), engine, measures=LightKept(out))
    assert 0 < len(part.rows) < len(run.rows) and 0 < len(part.units) < len(run.units)
    assert any(one["n"] for one in figure_rows(part.rows, 0))
    again = measure(chosen, engine, measures=LightKept(out))
    assert len(engine.requests) == asked  # recordings were kept
    assert without_engine(again.rows) == without_engine(run.rows)

    measure(chosen, FakeEngine("other"), measures=LightKept(out))
    assert len(list((out / "engines").iterdir())) == 2
    assert baseline == {
        path: path.stat().st_mtime_ns for path in (out / "baseline").rglob("*.flac")
    }


def without_engine(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without what a recording that was read again does not tell."""
    return [
        {name: value for name, value in row.items() if name not in ("engine", "details")}
        for row in rows
    ]


def test_what_auto_takes_is_measured_apart(data: Path, tmp_path: Path) -> None:
    out, engine = tmp_path / "out", FakeEngine()
    own = measure(settings(data, out, "identity", quick=True), engine, measures=LightKept(out))
    chosen = settings(data, out, "mixed_chain", count=1, quick=True, route="auto", beside=())
    run = measure(chosen, engine, measures=LightKept(out))
    assert run.folder.name == f"{own.folder.name}-auto"
    edited = [row for row in run.rows if row["condition"] == "edit"]
    assert len(edited) == 2 * 5
    assert {row["route"] for row in edited if row["status"] == "ok"} <= {"llm", "dsp"}
    journal = run.folder / JOURNAL
    journal.write_bytes(b"")
    again = measure(chosen, engine, measures=LightKept(out))
    assert without_engine(again.rows) == without_engine(run.rows)  # routes, too
    asked = ["figures", "--data", str(data), "--out", str(out), "--route", "auto"]
    for more in (["--engine", "dsp"], ["--engine", str(tmp_path), "--install"]):
        done = CliRunner().invoke(bench, [*asked, *more])
        assert "--route auto is for an engine" in str(done.exception)


def test_figures_routes_and_report_are_written(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = settings(data, out, "denoise", "emotion_style", quick=True)
    engine = FakeEngine()
    run = measure(chosen, engine, measures=LightKept(out))
    took = {"rtf": 0.5, "memory_gb": 2.0, "load_seconds": 1.0, "n": 5}
    write_figures(run.folder, run.rows, run.units, engine, took, 0, "stepedit bench figures")
    found = json.loads((run.folder / "figures.json").read_text())
    assert found["model"] == "none"
    by_name = {(each["row"], each["kind"]): each for each in found["rows"]}
    assert by_name["denoise.joint", "all"]["n"] == 4
    assert by_name["cost.memory_gb", "all"]["gate_met"] is False
    assert by_name["cost.rtf", "all"]["goal_met"] is False
    routes = json.loads((run.folder / "routes.json").read_text())["edits"]
    assert set(routes) == {"denoise", "emotion", "style"}
    assert all(each["route"] in ("llm", "dsp") and each["n"] for each in routes.values())
    assert read_results(run.folder) == json.loads(json.dumps(run.rows))
    with pytest.raises(StepeditError, match="outside the folder"):
        write_report(run.folder)
    page = write_report(run.folder, around=out).read_text()
    assert "data:audio" in page
    assert "denoise.joint" in page and "better route" in page
    assert f'<tr data-stratum="real, {LABEL}"><td>denoise.joint (%)</td>' in page
    assert '<tr data-stratum="all"><td>cost.rtf' in page


def test_labels_inside_of_spans_are_asked_for_by_turns(data: Path, tmp_path: Path) -> None:
    chosen = settings(data, tmp_path / "out", "masked_label", quick=True)
    run = measure(chosen, FakeEngine(), measures=LightKept(tmp_path / "out"))
    asked = [unit.edits[0].to_data() for unit in run.units]
    assert {one["inner"]["edit"] for one in asked} == {"emotion", "style"}
    for one, unit in zip(asked, run.units, strict=True):
        ((start, end),) = one["spans"]
        assert end - start == pytest.approx(0.4 * unit.held.speech.seconds, abs=0.01)
    assert ("masked_label.reached", "all") in table(run.rows)


def test_an_engine_that_fails_counts_as_missed(data: Path, tmp_path: Path) -> None:
    chosen = settings(data, tmp_path / "out", "speed", quick=True)
    run = measure(chosen, FakeEngine(fail_after=0), measures=LightKept(tmp_path / "out"))
    rows = table(run.rows)
    assert rows["speed.early_stops", "all"]["value"] == 100
    assert rows["speed.ratio_error", "all"]["value"] == 100
    assert rows["speed.added_wer", "all"]["value"] == 100
    assert routes_of(run.rows)["speed"]["llm"] == 0
    assert routes_of(run.rows)["speed"]["route"] == "dsp"


def test_chain_word_errors_per_step(data: Path, tmp_path: Path) -> None:
    chosen = settings(data, tmp_path / "out", "chain", count=1)
    run = measure(chosen, FakeEngine(fail_after=1), measures=LightKept(tmp_path / "out"))
    coded = [row for row in run.rows if row["condition"] == "identity"]
    assert [row["iteration"] for row in coded] == [1, 2, 3] * 2
    assert all("words" in row for row in coded)
    rows = table(run.rows)
    assert rows["chain.wer_growth", "all"]["value"] == 50
    assert rows["chain.wer_growth", "all"]["beside"]["identity"] == 0


def test_settings_that_change_figures_are_refused(data: Path, tmp_path: Path) -> None:
    chosen = settings(data, tmp_path / "out", "identity")
    measure(chosen, FakeEngine(), measures=LightKept(tmp_path / "out"))
    more = replace(chosen, rows=("identity", "chain"))
    assert len(measure(more, FakeEngine(), measures=LightKept(tmp_path / "out")).units) == 8
    with pytest.raises(StepeditError, match="another seed"):
        measure(replace(chosen, seed=1), FakeEngine(), measures=LightKept(tmp_path / "out"))


def test_longer_strata_are_joined_from_neighbours(data: Path, tmp_path: Path) -> None:
    measures = LightKept(tmp_path)
    lengths = [LENGTHS["short"], LENGTHS["medium"]]
    pools = held_out(data, tmp_path / "out", 4, 0, measures, lengths)
    medium = pools["synthetic", "4-10 s"]
    assert [one.speaker for one in medium] in (["made0", "made1"], ["made1", "made0"])
    joined = medium[[one.speaker for one in medium].index("made0")]
    assert joined.speech.transcript == (
        "We asked for the words of number 0. We asked for the words of number 2."
    )
    assert joined.speech.seconds == pytest.approx(2.4 + 0.3 + 2.4, abs=0.01)
    assert len(pools["synthetic", LABEL]) == 4


def test_rows_per_edit(data: Path, tmp_path: Path) -> None:
    chosen = settings(data, tmp_path / "out", "iteration", "mixed_chain", quick=True)
    with pytest.raises(StepeditError, match="--route auto"):
        measure(chosen, FakeEngine(), measures=LightKept(tmp_path / "out"))
    lengths = ("short", "medium")
    chosen = replace(chosen, count=1, lengths=lengths, route="auto", beside=())
    run = measure(chosen, FakeEngine(), measures=LightKept(tmp_path / "out"))
    edited = [row for row in run.rows if row["condition"] == "edit"]
    counts = {name: {} for name in ("iteration", "mixed_chain")}  # type: dict[str, dict[str, int]]
    for one in edited:
        own = counts[one["edit"]]
        own[one["case"]] = max(own.get(one["case"], 0), one["iteration"])
    assert set(counts["iteration"].values()) == {4}
    assert set(counts["mixed_chain"].values()) == {5}
    assert all(one["joint"] is not None for one in edited if one["edit"] == "iteration")
    assert {one["status"] for one in edited if one["edit"] == "iteration"} == {"ok"}
    steps = [one for one in edited if one["edit"] == "mixed_chain"]
    # Each by its own scorer; without words in it, a recording takes no sound between them.
    told = {number: [one for one in steps if one["iteration"] == number] for number in (1, 2, 3)}
    assert all("bak_gain" in one["values"] for one in told[1])
    assert all("label_correct" in one["values"] for one in told[2])
    assert {one["status"] for one in told[3]} == {"failed"}
    assert all(one["kept"]["seconds"] for one in edited if one["status"] == "ok")
    assert {one["length"] for one in edited} == {LABEL, "4-10 s"}
    assert not list(figure_rows(run.rows, 0))


def row(case: int, condition: str, errors: int, length: int, **more: Any) -> dict[str, Any]:
    counts = {"errors": errors, "deletions": 0, "length": length}
    plain = {
        "edit": "speed",
        "name": "speed",
        "kind": "real",
        "length": LABEL,
        "status": "ok",
        "values": {},
    }
    own = {"case": str(case), "condition": condition, "iteration": 1, "kept": {}, "scorer": "x"}
    return {**plain, **own, "words": {"whisper": counts}, **more}


def test_added_word_error() -> None:
    counted = (("source", 0, 1), ("identity", 2, 1), ("edit", 3, 2))
    rows = [
        row(case, condition, errors[case], (10, 2)[case])
        for case in (0, 1)
        for condition, *errors in counted
    ]
    found = next(one for one in figure_rows(rows, 0) if one["row"] == "speed.added_wer")
    assert found["value"] == pytest.approx(100 * 2 / 12, abs=1e-3)
    assert found["beside"]["identity"] == pytest.approx(100 * 2 / 12, abs=1e-3)
    assert found["gate_met"] is False


def test_spoilt_words_are_told_where_none_is_missing() -> None:
    counted = (("source", 1), ("identity", 1), ("edit", 4))
    rows = [row(0, condition, errors, 10, edit="trim_silence") for condition, errors in counted]
    found = {one["row"]: one for one in figure_rows(rows, 0)}
    assert found["trim_silence.words_lost"]["goal_met"] is True
    spoilt = found["trim_silence.added_wer"]
    assert (spoilt["value"], spoilt["gate_met"]) == (30, False)


def test_routes_go_to_the_better_one_and_ties_to_dsp() -> None:
    def rows(*cases: tuple[bool, bool]) -> list[dict[str, Any]]:
        return [
            row(number, condition, 0, 4, joint=joint)
            for number, case in enumerate(cases)
            for condition, joint in zip(("edit", "dsp"), case, strict=True)
        ]

    tie = routes_of(rows((True, True), (False, False)))
    assert tie["speed"] == {"llm": 0.5, "dsp": 0.5, "n": 2, "route": "dsp"}
    better = routes_of(rows((True, True), (True, False)))
    assert better["speed"] == {"llm": 1.0, "dsp": 0.5, "n": 2, "route": "llm"}
    alone = [one for one in rows((True, False)) if one["condition"] == "edit"]
    assert routes_of(alone)["speed"] == {"llm": 1.0, "dsp": None, "n": 1, "route": "llm"}


@pytest.mark.parametrize(
    ("errors", "failed", "route"),
    [
        ({"source": 1, "edit": 2, "dsp": 1}, 0, "llm"),
        ({"source": 1, "edit": 3, "dsp": 1}, 0, "dsp"),
        ({"source": 1, "edit": 1, "dsp": 1}, 1, "dsp"),
    ],
)
def test_a_route_that_loses_words_is_not_taken(
    errors: dict[str, int], failed: int, route: str
) -> None:
    rows = []
    for number in range(3):
        for condition, count in errors.items():
            text = {"unit": "word", "errors": count, "length": 10, "rate": count / 10}
            lost = condition == "edit" and number < failed
            own = {"status": "failed", "kept": {}} if lost else {"kept": {"text": text}}
            joint = None if condition == "source" else condition == "edit" and not lost
            rows.append(row(number, condition, 0, 4, joint=joint, **own))
    found = routes_of(rows)["speed"]
    assert found["route"] == route and found["llm"] > found["dsp"] == 0
    assert found["word_error"]["source"] == 0.1
    assert ("reason" in found) == (route == "dsp")


def test_rows_without_gates_say_nothing_on_routes() -> None:
    cases = [row(0, name, 0, 4, joint=True, edit="iteration") for name in ("edit", "dsp")]
    assert routes_of(cases) == {}


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


def test_figure_intervals() -> None:
    def pooled(count: int) -> Interval:
        numbers = [(float(n % 2), 1.0) for n in range(count)]
        rng = np.random.default_rng(0)
        return bootstrap_interval(numbers, rng, statistic=gates.pooled)

    few, many = pooled(10), pooled(200)
    assert few.low < few.mean == many.mean == 50 < few.high
    assert many.high - many.low < few.high - few.low


def test_journal_damage(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    journal = Journal(path)
    journal.add("a", 1)
    journal.add("b", {"x": 2})
    with path.open("ab") as file:
        file.write(b'{"key": "c", "va')
    again = Journal(path)
    assert again.entries == {"a": 1, "b": {"x": 2}}
    again.add("c", 3)
    assert Journal(path).entries["c"] == 3
    path.write_bytes(b"no json\n" + path.read_bytes())
    with pytest.raises(StepeditError, match="line 1 is damaged"):
        Journal(path)


def test_deletions_are_counted_apart() -> None:
    found = count_words("read the other page", "reed other page", "en")
    assert found == {"errors": 2, "deletions": 1, "length": 4}


def test_measurements_are_kept_across_runs(tmp_path: Path) -> None:
    speech = speech_like(1.0)
    calls: list[int] = []

    def make() -> float:
        calls.append(1)
        return 0.5

    assert StandardMeasures(folder=tmp_path)._once("x", speech, make) == 0.5
    assert StandardMeasures(folder=tmp_path)._once("x", speech, make) == 0.5
    assert len(calls) == 1


def test_an_unknown_row_is_refused_with_the_known_ones(data: Path, tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="no row 'sped' of the figures; there is identity"):
        Settings(data, tmp_path, ("sped",)).chosen()


@pytest.mark.slow
def test_command_with_real_engine(data: Path, tmp_path: Path) -> None:
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
def test_cost_in_own_process(tmp_path: Path) -> None:
    folder = write_engine(tmp_path / "engine") / MODEL
    speech = speech_like(1.5).write(tmp_path / "a.wav")
    took = cost.measure_cost(str(folder), [(speech, "some words")] * 2)
    assert took["n"] == 1
    assert 0 < took["rtf"] < 1000
    assert 0.05 < took["memory_gb"] < 5
    with pytest.raises(StepeditError, match="could not be measured"):
        cost.measure_cost(str(tmp_path / "nothing"), [(speech, "words")])
