from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepedit_core.registry.registry import set_registry
from tests.bench.heldout_kit import write_data


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    """Leave no test's registry behind."""
    yield
    set_registry(None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of held-out speech for the figures."""
    return write_data(tmp_path / "data")
