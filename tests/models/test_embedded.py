"""The embedded model: where it lies, what its table decides, and what is said without it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stepedit_core import Chain, Edit, Engine, Prompt, Rendered, Utterance, embedded
from stepedit_core.chain.validation import choose_route
from stepedit_core.errors import EngineError
from stepedit_core.recordings import packaged_speech
from tests.models.tiny_checkpoint import write_single


class Brighter(Edit):
    """Ask for brighter speech, by either route."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit("Brighter.\n")

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance)


class Darker(Brighter):
    """Ask for darker speech, by either route."""


class Unheard(Brighter):
    """Ask for what the model was not taught."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = write_single(tmp_path_factory.mktemp("engine"))
    rows = {
        "brighter": {"llm": 0.4, "dsp": 0.9, "n": 40},
        "darker": {"llm": 0.9, "dsp": 0.4, "n": 40},
    }
    (found / "routes.json").write_text(json.dumps({"edits": rows}))
    return found


@pytest.fixture
def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(embedded, "FOLDER", folder)
    return Engine.load()


def test_loading_without_a_name_takes_the_embedded_model(
    shipped: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "embedded").mkdir()
    monkeypatch.chdir(tmp_path)  # a folder of that name does not matter
    assert Engine.load("embedded").describe() == shipped.describe()
    assert shipped.name == "embedded"
    assert 0 < embedded.shipped_bytes() < embedded.MAX_BYTES


def test_without_the_model_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    assert embedded.shipped_bytes() == 0
    with pytest.raises(EngineError, match="ships no embedded model"):
        Engine.load()


def test_auto_takes_the_route_that_was_measured_as_better(shipped: Engine) -> None:
    assert choose_route(Brighter(), shipped) == "dsp"
    assert choose_route(Brighter(), shipped, "llm") == "llm"
    assert choose_route(Darker(), shipped) == "llm"
    assert choose_route(Unheard(), shipped) == "dsp"
    assert choose_route(Unheard(), shipped, "llm") == "llm"
    speech = packaged_speech("office")
    chain = Chain([Brighter(), Darker(), Unheard()])
    assert chain.validate(speech, shipped) == ["dsp", "llm", "dsp"]


def test_the_identity_edit_is_encoding_and_decoding(shipped: Engine) -> None:
    voices = [packaged_speech(name) for name in ("office", "surpassed")]
    for new, old in zip(shipped.reconstruct(voices, seed=3), voices, strict=True):
        assert new.sample_rate == 24_000 and new.transcript == old.transcript
        assert new.seconds == pytest.approx(old.seconds, abs=1e-3)
    (alone,) = shipped.reconstruct(voices[1], seed=4)
    together = shipped.reconstruct(voices, seed=3)[1]
    np.testing.assert_allclose(alone.samples, together.samples, atol=1e-3)
