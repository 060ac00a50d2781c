"""Commands are tested without the embedded model, whether or not this checkout ships it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepedit_core import embedded


@pytest.fixture(autouse=True)
def no_embedded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "FOLDER", tmp_path / "no-embedded-model")
