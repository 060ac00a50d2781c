from __future__ import annotations

from collections.abc import Iterator

import pytest

from stepedit_core.registry import set_registry


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    """Leave no test's registry behind."""
    yield
    set_registry(None)
