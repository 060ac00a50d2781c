"""The recipe of the embedded model: its files agree, and it makes an engine at a tiny size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stepedit_train.settings import RunSettings, load_phases
from stepedit_train.stages import settings_of

from stepedit_core import Chain
from stepedit_core.chain.notation import edit_from_data
from stepedit_core.models.engine import Engine
from stepedit_core.recordings import packaged, packaged_speech

TRAINING = Path(__file__).parents[2] / "training"
CONFIGS = TRAINING / "configs" / "embedded"
SCRIPT = TRAINING / "runs" / "embedded.sh"
STAGES = {
    "data-packaged": "data",
    "data-synthesised": "data",
    "pieces-synthesised": "pieces",
    "sentences": "synthesise",
    "spoken": "sft",
    "mel-clone": "mel",
    "mel-data-clone": "mel-data",
    "mel-export-clone": "mel-export",
}
PHASES = {"mel": 2, "vocoder": 2, "sft": 3}


@pytest.mark.parametrize(
    "path", sorted(set(CONFIGS.glob("*.toml")) - {CONFIGS / "mixture.toml"}), ids=lambda p: p.stem
)
def test_every_file_is_of_a_stage(path: Path) -> None:
    kind = settings_of(STAGES.get(path.stem, path.stem))
    phases = load_phases(kind, path, ["scale=0.001"] if issubclass(kind, RunSettings) else [])
    assert len(phases) == PHASES.get(path.stem, 1)


def test_the_script_names_every_file() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    asked = set(text.split())
    for path in set(CONFIGS.glob("*.toml")) - {CONFIGS / "mixture.toml"}:
        assert path.stem in asked or f"{path.name}" in text or f"FILE={path.stem}" in text, path


@pytest.mark.parametrize(
    ("given", "message"),
    [((), "--out is missing"), (("--size", "huge", "--out", "x"), "--size is tiny or embedded")],
)
def test_wrong_options_are_one_line(given: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPT, *given], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_tiny_model_is_made_from_packaged_recordings(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("stepedit"))
    command = [str(SCRIPT), "--size", "tiny", "--out", str(tmp_path)]
    asked = {"env": {**os.environ, "STEPEDIT": program}, "capture_output": True, "text": True}
    done = subprocess.run(command, check=False, **asked)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    again = subprocess.run(command, check=False, **asked)  # type: ignore[call-overload]
    lines = again.stdout.splitlines()
    assert again.returncode == 0 and lines and all(line.endswith(": complete") for line in lines)
    engine = Engine.load(str(tmp_path / "engine"), device="cpu")
    speech = packaged_speech(next(iter(packaged())))
    faster = Chain([edit_from_data({"edit": "speed", "rate": "faster"})])
    result = faster(speech, engine=engine, route="llm", seed=0)
    assert result.steps[0].route == "llm"  # after a dozen steps nobody expects its length
    edited = result.utterance
    assert np.isfinite(edited.samples).all() and np.abs(edited.samples).max() > 0.01
