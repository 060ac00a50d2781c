"""ComfyUI's nodes, against a stand-in of its classes and a service that runs."""

from __future__ import annotations

import asyncio
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import stepedit_serve
import uvicorn
from stepedit_serve.app import create_app
from stepedit_serve.comfyui.client import ServiceError
from stepedit_serve.comfyui.sound import read_wav, wav_bytes

from stepedit_core import get_registry, packaged_speech
from stepedit_core.testing import FakeEngine
from tests.serve.comfy_stand_in import stand_in
from tests.serve.serve_kit import settings
from tests.serve.test_kills import free_port


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    app = create_app(settings(tmp_path_factory.mktemp("comfy")), FakeEngine())
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def extension(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load the nodes as ComfyUI does: from a folder of custom nodes, by path."""
    target = folder / "custom_nodes" / "stepedit"
    shutil.copytree(Path(stepedit_serve.__file__).parent / "comfyui", target)
    monkeypatch.setitem(sys.modules, "comfy_api", ModuleType("comfy_api"))
    monkeypatch.setitem(sys.modules, "comfy_api.latest", stand_in())
    spec = util.spec_from_file_location("custom_stepedit", target / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "custom_stepedit", module)
    spec.loader.exec_module(module)
    return asyncio.run(module.comfy_entrypoint())


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> dict[str, Any]:
    monkeypatch.setenv("STEPEDIT_URL", url)
    found = asyncio.run(extension(tmp_path, monkeypatch).get_node_list())
    return {one.define_schema().node_id: one for one in found}


def audio(count: int = 1) -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    speech = packaged_speech("garden")
    wave = np.stack([speech.samples[None]] * count)
    return {"waveform": torch.from_numpy(wave), "sample_rate": speech.sample_rate}


def defaults(node: Any, **changes: Any) -> dict[str, Any]:
    inputs = node.define_schema().inputs
    return {one.id: one.facts.get("default") for one in inputs if one.kind != "Audio"} | changes


def test_a_node_for_each_edit(nodes: dict[str, Any]) -> None:
    expected = {f"Stepedit_{name}" for name in get_registry().edits()}
    assert nodes.keys() == expected | {"Stepedit_say"}
    kinds = {one.id: one.kind for one in nodes["Stepedit_emotion"].define_schema().inputs}
    assert (kinds["audio"], kinds["to"], kinds["seed"]) == ("Audio", "Combo", "Int")
    assert "consent_attestation" in {
        one.id for one in nodes["Stepedit_clone"].define_schema().inputs
    }


def test_speed(nodes: dict[str, Any]) -> None:
    node, given = nodes["Stepedit_speed"], audio()
    made, words, report = node.execute(
        audio=given, **defaults(node, factor="0.5", route="dsp")
    ).result
    lengths = [one["waveform"].shape[-1] / one["sample_rate"] for one in (made, given)]
    assert lengths[0] == pytest.approx(2 * lengths[1], rel=0.05)
    assert made["waveform"].shape[:2] == (1, 1)
    assert words == ""
    assert '"route": "dsp"' in report


def test_a_batch_and_defaults(nodes: dict[str, Any]) -> None:
    node = nodes["Stepedit_volume"]
    given = audio(2)
    made = node.execute(audio=given, **defaults(node, db="-6", route="dsp")).result[0]
    ratio = made["waveform"].abs().max() / given["waveform"].abs().max()
    assert made["waveform"].shape[0] == 2
    assert float(ratio) == pytest.approx(0.501, abs=0.01)


def test_a_sentence(nodes: dict[str, Any]) -> None:
    node = nodes["Stepedit_say"]
    report = node.execute(audio=audio(), **defaults(node, sentence="a bit slower")).result[2]
    assert '"speed"' in report


def test_a_refusal_is_one_line(nodes: dict[str, Any]) -> None:
    node = nodes["Stepedit_speed"]
    with pytest.raises(RuntimeError, match="factor") as refused:
        node.execute(audio=audio(), **defaults(node, factor="99"))
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="no JSON"):
        node.execute(audio=audio(), **defaults(node, factor="fast"))


def test_without_a_service_there_are_no_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STEPEDIT_URL", f"http://127.0.0.1:{free_port()}")
    assert asyncio.run(extension(tmp_path, monkeypatch).get_node_list()) == []
    assert "is `stepedit serve` running?" in caplog.text
    assert issubclass(ServiceError, RuntimeError)


@pytest.mark.parametrize("channels", [1, 2])
def test_wav_there_and_back(channels: int) -> None:
    samples = np.random.default_rng(1).normal(size=(100, channels)).astype(np.float32)
    found, rate = read_wav(wav_bytes(samples, 22_050))
    np.testing.assert_array_equal(found, samples)
    assert rate == 22_050
