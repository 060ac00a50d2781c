from __future__ import annotations

import re
from pathlib import Path

import yaml
from click.testing import CliRunner
from stepedit_pairs.report import reject_counts, write_card, write_rejects, write_report
from stepedit_pairs.row_commands import pairs_export, pairs_import

from stepedit_core.registry.registry import Registry
from tests.pairs.making import make_corpus, registry, run_toy

__all__ = ["registry"]


def _front(card: Path) -> dict[str, object]:
    front: dict[str, object] = yaml.safe_load(card.read_text().split("---\n")[1])
    return front


def test_the_card_is_one_that_the_hub_reads(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 10, broken=2)
    totals = run_toy(tmp_path / "out", manifest)
    card = write_card(tmp_path / "out")
    front, text = _front(card), card.read_text()
    assert front["license"] == "cc0-1.0" and front["size_categories"] == ["n<1K"]
    assert front["configs"] == [{"config_name": "default", "data_files": "shards/part-*.parquet"}]
    assert f"**Pairs**: {totals.kept} " in text and "bad file: 2" in text
    assert "QuieterPairs version 1" in text and "| `margin` | float |" in text
    assert "**Seed**: 0" in text and "**Speakers**: 3" in text


def test_unlike_licences_are_all_named(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 4)
    text = manifest.read_text().replace("CC0-1.0", "my own: ask", 1)
    manifest.write_text(text)
    run_toy(tmp_path / "out", manifest, min_margin=1.0)
    front = _front(write_card(tmp_path / "out"))
    assert front["license"] == ["cc0-1.0", "other"]
    assert front["license_name"] == "CC0-1.0; my own: ask"


def test_the_page_needs_nothing_else(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 12, broken=1)
    manifest.write_text(manifest.read_text().replace("words 3", "<script>alert(1)</script>"))
    totals = run_toy(tmp_path / "out", manifest)
    page = write_report(tmp_path / "out", seed=4).read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "<script" not in page
    assert page.count("<audio") == 2 * min(8, totals.kept)
    assert page.count("<svg") == 3 and "bad file" in page and f"<b>{totals.kept}</b>pairs" in page
    assert page == write_report(tmp_path / "out", seed=4).read_text()
    assert page != write_report(tmp_path / "out", seed=5).read_text()
    counts = reject_counts(tmp_path / "out")
    assert counts["bad file"] == 1 and sum(counts.values()) == totals.rejected
    assert len(write_rejects(tmp_path / "out").read_text().splitlines()) == totals.rejected + 1


def test_a_run_without_pairs_still_reports(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 1, broken=1)
    run_toy(tmp_path / "out", manifest)
    assert "<p>none</p>" in write_report(tmp_path / "out").read_text()
    assert "**Pairs**: 0 " in write_card(tmp_path / "out").read_text()


def test_export_and_import_commands(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 2)
    run_toy(tmp_path / "run", manifest, min_margin=1.0)
    file = str(tmp_path / "t.jsonl")
    runner = CliRunner()
    done = runner.invoke(pairs_export, [str(tmp_path / "run"), file])
    assert done.exit_code == 0 and "4 rows" in done.output
    done = runner.invoke(pairs_import, [file, str(tmp_path / "back")])
    assert done.exit_code == 0 and (tmp_path / "back" / "report.html").is_file()
