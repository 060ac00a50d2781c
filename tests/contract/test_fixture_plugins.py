"""The third parties' plugins of tests/fixtures keep the contract, as `stepedit check` would say."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing.contract import run_contract

FIXTURES = Path(__file__).parents[1] / "fixtures"
MOST_LINES = 120


@pytest.fixture(params=["accent", "dialect"])
def registry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry with one such plugin beside the installed ones, as its default."""
    name = f"stepedit_{request.param}"
    monkeypatch.syspath_prepend(str(FIXTURES / name))
    found = Registry().load()
    found.register(importlib.import_module(name), request.param)
    set_registry(found)
    yield found
    set_registry(None)
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def test_contract(registry: Registry, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["registry"]
    results = list(run_contract(registry.edit_class(name), registry))
    assert [f"{row.check}: {row.text}" for row in results if row.status == "failed"] == []
    assert len(results) > 20


@pytest.mark.parametrize("name", ["accent", "dialect"])
def test_size(name: str) -> None:
    folder = FIXTURES / f"stepedit_{name}" / f"stepedit_{name}"
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    assert len([line for line in text.splitlines() if line.strip()]) <= MOST_LINES
