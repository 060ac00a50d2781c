"""SIGKILL at aimed moments of a shard's write: the call after it gives the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from stepedit_core.pair_rows import read_rows
from stepedit_core.registry.registry import Registry
from tests.pairs.making import TOY, content, make_corpus, registry, run_toy

__all__ = ["registry"]

KILLS = Path(__file__).with_name("kill_plugin.py")
MOMENTS = ("written-half", "before-rename", "after-rename", "before-report")


def run_killed(manifest: Path, out: Path, moment: str) -> int:
    """Run the toy pairs in a process of their own, and return how it ended."""
    code = "import runpy, sys; runpy.run_path(sys.argv.pop(1)); "
    code += "from stepedit_core.cli import main; main()"
    given = ["-p", str(TOY), "pairs", "quieter", "--corpus", str(manifest), "--out", str(out)]
    given += ["--block-size", "4", "--min-margin", "1"]
    env = {**os.environ, "STEPEDIT_KILL": moment}
    done = subprocess.run(
        [sys.executable, "-c", code, str(KILLS), *given], env=env, capture_output=True, check=False
    )
    return done.returncode


def test_aimed_kills(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 14, broken=2)
    whole, out = tmp_path / "whole", tmp_path / "out"
    run_toy(whole, manifest, min_margin=1.0)
    for moment in MOMENTS:
        assert run_killed(manifest, out, f"{moment}:0") == -signal.SIGKILL, moment
    assert run_killed(manifest, out, "never:0") == 0
    assert content(out) == content(whole)
    ids = [row["id"] for row in read_rows(out, ["id"])]
    assert len(ids) == len(set(ids)) == 24
    assert not list(out.glob("*/.*")) and not (out / ".lock").exists()
