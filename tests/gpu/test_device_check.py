"""The device script: on a CPU what it can show there, on a GPU all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stepedit_bench.speed.sizes import SMALL

from tests.gpu.device_check import agreement, check_answers, main


def test_agreement_ends_at_the_first_difference() -> None:
    assert agreement([[1, 2, 3, 4], [1, 2]], [[1, 9, 3, 4], [1, 2]]) == 0.5


def test_answers_of_the_device_are_those_of_the_cpu() -> None:
    exact, half = check_answers(SMALL, torch.device("cpu"))
    assert exact.passed and exact.value == "100.0%" and half.passed is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_all_checks_pass_on_a_gpu(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "device.md")]) == 0
