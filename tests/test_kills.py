"""SIGKILL at 50 random moments and 20 aimed ones: the calls after it give the same results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARES = {"edit": (13, 5), "pairs": (13, 5), "bench": (12, 4), "train": (8, 3), "sft": (4, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("command", SHARES)
def test_kills_change_no_result(command: str, tmp_path: Path) -> None:
    moments, aimed = SHARES[command]
    given = [command, str(tmp_path), "--random", str(moments), "--aimed", str(aimed), "--seed", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.killed_runs", *given],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == [] and found["whole"] >= 3
    assert found["done"] == {"random": moments, "aimed": aimed}
