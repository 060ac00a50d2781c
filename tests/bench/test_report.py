from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import stepedit_emotion
from click.testing import CliRunner
from stepedit_bench.columns import pivot
from stepedit_bench.commands import bench
from stepedit_bench.judging import JudgeChoice, parse_judges
from stepedit_bench.players import choose, of_strata
from stepedit_bench.produce import Protocol
from stepedit_bench.report import confusion, write_report
from stepedit_bench.runner import BenchConfig, run_bench
from stepedit_bench.store import read_results

from stepedit_core.errors import StepeditError
from tests.bench.bench_kit import LightMeasures, cases, install

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    install(cases(6, ask=True))
    judges, options = {"emotion": "loudness"}, {"loudness": {"every": "4"}}
    config = BenchConfig(judges=judges, protocol=Protocol(iterations=2))
    run_bench(config, tmp_path, measures=LightMeasures(JudgeChoice(judges, options)))
    return tmp_path


def test_report_page(run: Path) -> None:
    page = write_report(run).read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]', page)
    assert not re.findall(r"<(?:link|script)\b", page)
    assert page.count("data:audio/mpeg;base64,") >= 4 * 3
    assert page.count("<svg") >= 2
    assert "I would rather not say" in page and "unscored" in page
    assert all(word in page for word in ("best", "worst", "random", "iteration 2"))
    links = re.findall(r'<a href="#(.*?)">', page)
    assert links == ["shares", "gain", "measured"]
    assert all(f'id="{link}"' in page for link in links)
    assert "<p>gain on suite" in page and "6 cases, seed 0" in page


def test_the_page_says_what_was_measured_not_what_was_begun(run: Path) -> None:
    settings = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**settings, "edits": ["speed"], "cases": 9}))
    assert "<p>gain on suite" in (page := write_report(run, players=False).read_text())
    assert "6 cases, seed 0" in page and "not finished" not in page
    lines = (run / "results.jsonl").read_text().splitlines()
    (run / "results.jsonl").unlink()
    part = write_report(run, players=False).read_text()
    assert lines and "6 of 9 cases, seed 0" in part and "not finished" in part


def test_columns_of_two_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    judges, options = {"emotion": "loudness"}, {"loudness": {"every": "4"}}
    config = BenchConfig(judges=judges, protocol=Protocol(iterations=1))
    run_bench(config, other, measures=LightMeasures(JudgeChoice(judges, options)))
    page = write_report(run, beside=[other]).read_text()
    head = re.findall(r'<table class="listen">\n<thead><tr>(.*?)</tr>', page)[0]
    names = re.findall("<th>(.*?)</th>", head)
    assert names == [
        "case",
        "source",
        f"{run.name}: iteration 1",
        f"{run.name}: iteration 2",
        "other: iteration 1",
    ]
    first = re.findall(r'<tr class="best".*?</tr>', page, re.DOTALL)[0]
    assert first.count("<audio") == 4
    assert "Shares without a name are of the first" in page


def test_shares_are_told_per_stratum_and_language() -> None:
    def row(kind: str, language: str, joint: bool) -> dict[str, object]:
        shared = {"condition": "edit", "iteration": 1, "kind": kind, "length": "4-10 s"}
        return {**shared, "language": language, "joint": joint}

    rows = [row("real", "en", True), row("real", "zh", False), row("synthetic", "en", True)]
    table = pivot(rows, "joint", 0)
    assert table is not None and [column.name for column in table.columns] == ["iteration 1"]
    found = {title: cells[0].mean for title, _, cells in table.lines if cells[0] is not None}
    assert found == {
        "all": pytest.approx(2 / 3),
        "real, 4-10 s": 0.5,
        "synthetic, 4-10 s": 1.0,
        "en": 1.0,
        "zh": 0.0,
    }
    assert pivot(rows, "preserved", 0) is None


def test_tables_beside_the_page_agree_with_the_rows(run: Path) -> None:
    write_report(run, players=False)
    rows = read_results(run)
    with (run / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows) == 18
    assert float(table[1]["values.gain_db"]) == rows[1]["values"]["gain_db"]
    groups = json.loads((run / "summary.json").read_text())["groups"]
    last = next(group for group in groups if group["iteration"] == 2)
    reached = [row["reached"] for row in rows if row["iteration"] == 2]
    known = [value for value in reached if value is not None]
    assert last["unscored"] == reached.count(None) > 0
    assert last["reached"]["mean"] == pytest.approx(sum(known) / len(known))


def test_confusion_counts_answers_and_refusals() -> None:
    def row(label: str | None, refused: str | None = None) -> dict[str, object]:
        verdict = {"task": "emotion", "label": label, "score": None, "refused": refused}
        shared = {"edit": "emotion", "condition": "edit", "iteration": 1, "class": "happy"}
        return {**shared, "verdicts": [verdict]}

    table = confusion([row("happy"), row("sad"), row("sad"), row(None, "no")], 1)
    assert table == {("happy", "happy"): 1, ("happy", "sad"): 2, ("happy", "(no answer)"): 1}


def test_listening_shows_the_best_the_worst_and_others() -> None:
    def row(case: int, joint: bool, rate: float) -> dict[str, object]:
        kept = {"text": {"rate": rate}, "speaker_similarity": 0.9}
        verdicts = {"joint": joint, "reached": joint, "preserved": True}
        return {"case": case, "status": "ok", "kept": kept, **verdicts}

    rows = [row(n, n < 5, n / 10) for n in range(8)] + [{"case": 9, "status": "failed"}]
    chosen = [(why, item["case"]) for why, item in choose(rows, 0)]
    assert chosen[:4] == [("best", 0), ("best", 1), ("worst", 7), ("worst", 6)]
    assert {case for why, case in chosen[4:]} < {2, 3, 4, 5}
    assert choose(rows, 0) == choose(rows, 0)


def test_listening_has_cases_of_every_stratum() -> None:
    def row(case: int, length: str, joint: bool) -> dict[str, object]:
        return {"case": case, "status": "ok", "joint": joint, "kind": "real", "length": length}

    lengths = ("1.8-3.7 s", "4-10 s", "10-30 s")
    rows = [row(10 * n + m, length, m < 2) for n, length in enumerate(lengths) for m in range(6)]
    chosen = of_strata(rows, 0)
    assert len(chosen) == len({item["case"] for _, item in chosen}) == 6
    assert [sum(item["length"] == length for _, item in chosen) for length in lengths] == [2, 2, 2]
    assert {why for why, _ in chosen} == {"best", "worst", "random"}
    assert all(item["joint"] == (why == "best") for why, item in chosen if why != "random")


def test_judges_are_chosen_by_name_or_by_task() -> None:
    install(cases(1)).register(stepedit_emotion, "emotion")
    assert parse_judges(["loudness"]) == {"*": "loudness"}
    assert parse_judges(["emotion=loudness"]) == {"emotion": "loudness"}
    with pytest.raises(StepeditError, match="did you mean 'loudness'"):
        parse_judges(["loudnes"])
    choice = JudgeChoice({"*": "loudness"})
    with pytest.raises(StepeditError, match="cannot judge 'style', only emotion"):
        choice.for_task("style")
    assert choice.describe()["emotion"]["name"] == "loudness"
    assert choice.describe()["*"]["name"] == "loudness", "for edits that name no judge"
    assert JudgeChoice().describe()["emotion"]["name"] == "acoustic"
    with pytest.raises(StepeditError, match="choose one with --judge accent=NAME"):
        JudgeChoice().for_task("accent")


def test_command_line_runs_reports_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stepedit_bench import runner

    install(cases(3))
    monkeypatch.setattr(runner, "_measures", lambda config: LightMeasures())
    for name in ("a", "b"):
        arguments = ["gain", "--out", str(tmp_path / name), "--no-report"]
        result = CliRunner().invoke(bench, arguments, catch_exceptions=False)
        assert result.exit_code == 0 and "preserved" in result.output
    result = CliRunner().invoke(bench, ["report", str(tmp_path / "a"), "--no-players"])
    assert result.exit_code == 0 and (tmp_path / "a/report.html").exists()
    result = CliRunner().invoke(
        bench, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]
    )
    assert all(item["mean"] == 0 for item in json.loads(result.output))


def test_options_that_need_an_engine_are_refused(tmp_path: Path) -> None:
    install(cases(1))
    result = CliRunner().invoke(bench, ["gain", "--out", str(tmp_path), "--prompt-fixed"])
    assert isinstance(result.exception, StepeditError) and "engine" in str(result.exception)


def test_costs_are_estimated_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from stepedit_bench.estimate import judge_estimates

    from tests.bench.bench_kit import LoudJudge

    install(cases(3, ask=True))
    config = BenchConfig(judges={"*": "loudness"}, protocol=Protocol(iterations=2))
    assert judge_estimates(config) == []

    def estimate(self: LoudJudge, calls: int, audio_seconds: float) -> str:
        return f"{calls} calls, {audio_seconds:.0f} s"

    monkeypatch.setattr(LoudJudge, "tasks", lambda self: ("gain",))
    monkeypatch.setattr(LoudJudge, "estimate", estimate, raising=False)
    (line,) = judge_estimates(config)
    assert line.startswith("judge loudness: 12 calls, ")
