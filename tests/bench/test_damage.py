"""Folders of the bench that are damaged or hostile."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stepedit_bench.compare import compare_runs
from stepedit_bench.plots import confusion_svg, iterations_svg
from stepedit_bench.report import write_report
from stepedit_bench.runner import BenchConfig, run_bench
from stepedit_bench.store import read_results, read_run

from stepedit_core.errors import StepeditError
from tests.bench.bench_kit import LightMeasures, cases, install

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    install(cases(3))
    run_bench(BenchConfig(), tmp_path / "run", measures=LightMeasures())
    return tmp_path / "run"


def change(run: Path, how: Callable[[dict[str, Any]], None]) -> None:
    """Change the rows of a run's results."""
    rows = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    for row in rows:
        how(row)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run / "results.jsonl").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("way", ["relative", "absolute", "link"])
def test_recordings_from_elsewhere_are_not_embedded(run: Path, tmp_path: Path, way: str) -> None:
    inside = next(run.rglob("*.wav"))
    secret = tmp_path / "secret.wav"
    secret.write_bytes(inside.read_bytes())
    if way == "link":
        (run / "linked.wav").symlink_to(secret)
    name = {"relative": "../secret.wav", "absolute": str(secret), "link": "linked.wav"}[way]
    change(run, lambda row: row.update(audio=name))
    with pytest.raises(StepeditError, match="name a recording outside the folder"):
        write_report(run)
    assert not (run / "report.html").exists()
    assert "data:audio" not in write_report(run, players=False).read_text()


@pytest.mark.parametrize("label", [r"$\nope$", "$x", r"\$a$", "a\x1b[2J\0b", "long " * 2000])
def test_labels_are_text(run: Path, label: str) -> None:
    verdict = {"task": "gain", "label": label, "score": None, "refused": None}
    change(run, lambda row: row.update(verdicts=[verdict], **{"class": label}))
    page = write_report(run, players=False).read_text()
    assert page.count("<svg") == 4
    assert "<svg" in iterations_svg(label, [])
    if "nope" in label:
        assert r"$\nope$" in page


def test_figures_of_many_labels_stay_small() -> None:
    svg = confusion_svg("x", {(f"class {n}", f"label {n}"): 1 for n in range(3000)})
    assert "(others)" in svg and len(svg) < 3_000_000


def test_formulas_in_tables(run: Path) -> None:
    change(run, lambda row: row.update(case="=cmd()", problem="+1", unscored="-x"))
    write_report(run, players=False)
    with (run / "results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert row["case"] == "'=cmd()" and row["problem"] == "'+1"
            assert float(row["values.gain_db"]) < 20


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("run.json", b"{", r"run\.json: damaged"),
        ("run.json", b"[]", r"run\.json: damaged"),
        ("run.json", b'{"seed": "x"}', r"run\.json: damaged \(edits"),
        ("results.jsonl", b"\xff\n", r"results\.jsonl, line 1"),
        ("results.jsonl", b"{}\n", r"results\.jsonl, line 1: damaged \(edit: Field required\)"),
        ("results.jsonl", b"3\n", r"results\.jsonl, line 1: a row is"),
    ],
)
def test_damaged_files(run: Path, name: str, content: bytes, what: str) -> None:
    (run / name).write_bytes(content)
    for read in (write_report, lambda folder: compare_runs(folder, folder, 0)):
        with pytest.raises(StepeditError, match=what) as caught:
            read(run)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"kept": {"text": {"errors": 1, "length": 0, "unit": "word", "rate": 0}}},
        {"iteration": -1}, {"condition": "?"}, {"reached": "yes"}, {"values": []}, {"audio": 3},
        {"verdicts": [3]}, {"request": "x"}, {"checks": {"text": 2}},
    ],
)  # fmt: skip
def test_damaged_rows(run: Path, wrong: dict[str, Any]) -> None:
    read_run(run)
    change(run, lambda row: row.update(wrong))
    with pytest.raises(StepeditError, match=rf"line 1: damaged \({next(iter(wrong))}"):
        read_results(run)


def test_line_separators_in_results(run: Path) -> None:
    change(run, lambda row: row.update(problem="a\u2028b"))
    text = (run / "results.jsonl").read_text().replace("\\u2028", "\u2028")
    (run / "results.jsonl").write_text(text, encoding="utf-8")
    assert read_results(run)[0]["problem"] == "a\u2028b"
