"""Settings of the engine on the command line reach it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stepedit_core import EngineConfig, Utterance, hookimpl
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import FakeEngine
from tests.cli.calls import call, refused


@pytest.fixture
def wav(tmp_path: Path, speech: Utterance) -> Path:
    return speech.write(tmp_path / "in.wav")


def test_an_engine_without_a_name_is_refused(wav: Path, tmp_path: Path) -> None:
    for empty in ("", " "):
        line = refused(
            call("edit", wav, "-e", "speed:factor=1.1", "--engine", empty, "-o", "o.wav")
        )
        assert "'--engine': it is empty; name one, or leave the option out" in line


def test_settings_reach_the_engine(toys: Registry, wav: Path, tmp_path: Path) -> None:
    seen: list[EngineConfig] = []

    class Loader:
        @hookimpl
        def stepedit_load_engine(self, config: EngineConfig) -> Any:
            seen.append(config)
            return FakeEngine()

    toys.register(Loader(), "loader")
    options = ["--engine", "mine", "--dtype", "bfloat16", "--quantize", "int8", "--best-of", "4"]
    done = call(
        "edit", wav, "-o", tmp_path / "out.wav", "-e", "recite:words=a", "--text", "b", *options
    )
    assert done.exit_code == 0, done.output
    (config,) = seen
    assert (config.dtype, config.quantize) == ("bfloat16", "int8")
    assert config.generation.best_of == 4


def test_settings_without_an_engine_are_refused(toys: Registry, wav: Path, tmp_path: Path) -> None:
    done = call("edit", wav, "-o", tmp_path / "out.wav", "-e", "gain:db=1", "--quantize", "int8")
    assert "give --engine too" in refused(done)
