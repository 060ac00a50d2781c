"""How many engines a machine, or a container, is given by default."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stepedit_serve import machine
from stepedit_serve.machine import ENGINE_BYTES, cores, engines_for, free_memory


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a container's bounds; the machine has 16 cores and 64 GB free."""
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    monkeypatch.setattr(machine, "_CARDS", tmp_path / "gpus")
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {64 << 20} kB\n")
    return tmp_path


def test_cores_of_a_container(group: Path) -> None:
    assert cores() == 16
    (group / "cpu.max").write_text("max 100000\n")
    assert cores() == 16
    (group / "cpu.max").write_text("350000 100000\n")
    assert cores() == 3
    (group / "cpu.max").write_text("50000 100000\n")
    assert cores() == 1


def test_memory_of_a_container(group: Path) -> None:
    assert free_memory() == 64 << 30
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("0\n")
    assert free_memory() == 64 << 30
    (group / "memory.max").write_text(f"{4 << 30}\n")
    (group / "memory.current").write_text(f"{1 << 30}\n")
    assert free_memory() == 3 << 30


def test_one_engine_a_core_where_memory_allows(group: Path) -> None:
    assert engines_for("embedded", "auto") == 8
    (group / "cpu.max").write_text("200000 100000\n")
    assert engines_for("embedded", "cpu") == 2
    (group / "memory.max").write_text(f"{3 * ENGINE_BYTES}\n")
    (group / "memory.current").write_text("0\n")
    assert engines_for("embedded", "cpu") == 1


def test_one_engine_for_a_card_and_for_models_of_any_size(group: Path) -> None:
    assert engines_for("some/folder", "cpu") == 1
    assert engines_for(None, "cpu") == 1
    assert engines_for("embedded", "cuda") == 1
    (group / "gpus").mkdir()
    assert engines_for("embedded", "auto") == 1
    assert engines_for("embedded", "cpu") == 8
