from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from stepedit_core import embedded
from stepedit_core.config import EngineConfig
from stepedit_core.demo import load_demo, picture, render_page, run_demo
from stepedit_core.demo.running import Demo
from stepedit_core.errors import PluginError
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing import FakeEngine, silence, speech_like, tone
from stepedit_core.utterance import Utterance
from tests.cli.calls import call, refused


@pytest.fixture
def builtin() -> Registry:
    registry = Registry(disabled=()).load()
    set_registry(registry)
    return registry


def test_the_demo_writes_every_step_and_a_page(
    builtin: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "FOLDER", tmp_path / "nothing")
    out = tmp_path / "demo"
    result = call("demo", "--out", out)
    assert result.exit_code == 0, result.output
    assert "dsp only: this installation ships no embedded model" in result.stdout
    steps = sorted(out.glob("[1-9]*.wav"))
    assert len(steps) >= 4
    assert all(Utterance.read(path).problem() is None for path in steps)
    page = (out / "index.html").read_text()
    assert page.count("<audio") == page.count("data:image/png") == len(steps) + 1
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "${" not in page
    assert "dsp only" in page
    report = json.loads((out / "report.json").read_text())
    assert [take["title"] for take in report["columns"][0]["takes"]]
    assert "index.html in a browser" in result.stdout
    for path in steps:
        assert path.name in result.stdout


def test_the_steps_are_of_different_families_by_dsp(builtin: Registry) -> None:
    demo = load_demo()
    (column,) = run_demo(demo, None)
    names = [take.planned.edit.name for take in column.takes.values()]
    assert len(set(names)) == len(names) >= 4
    assert {take.way for take in column.takes.values()} == {"dsp"}
    assert not column.problems


def short_demo(count: int) -> Demo:
    demo = load_demo()
    return Demo(demo.recording, demo.source, demo.added, demo.steps[:count], ("one: no plugin",))


def test_columns_of_an_engine(builtin: Registry) -> None:
    short = short_demo(2)
    columns = run_demo(short, FakeEngine())
    assert [column.way for column in columns] == ["dsp", "llm", "identity"]
    first, second = (planned.title for planned in short.steps)
    assert {column.takes[first].before for column in columns} == {short.source}
    assert {c.takes[second].before for c in columns} == {columns[0].takes[first].utterance}
    identity = columns[2].takes[first]
    assert identity.step is None and identity.engine == "fake"
    assert identity.utterance.seconds == pytest.approx(short.source.seconds, abs=0.12)
    page = render_page(short, columns, "0", notes=["Handle <with> care."])
    assert "repeat(3, " in page
    for way in ("llm", "dsp", "identity"):
        assert page.count(f'<span class="badge {way}">') == 2
    assert "engine fake" in page
    assert "one: no plugin" in page
    assert "Handle &lt;with&gt; care." in page


def test_a_failing_engine_is_said_and_the_rest_goes_on(builtin: Registry) -> None:
    demo = short_demo(3)
    dsp, llm, _ = run_demo(demo, FakeEngine(fail_after=1))
    assert len(dsp.takes) == 3
    assert len(llm.takes) == 1 and len(llm.problems) == 2
    assert any("as asked" in text for text in llm.problems.values())


def test_embedded_model_by_default(
    builtin: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    rows = [{"row": "identity.added_wer", "value": 50, "gate": 20, "higher_is_better": False}]
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    assert "have not been measured" in str(embedded.state())
    (tmp_path / "figures.json").write_text(json.dumps({"rows": rows}))
    asked = []

    def load(config: EngineConfig) -> FakeEngine:
        asked.append(config.name_or_path)
        return FakeEngine()

    monkeypatch.setattr("stepedit_core.registry.registry.load_engine", load)
    monkeypatch.setattr("stepedit_core.demo.load_demo", lambda: short_demo(1))
    result = call("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    assert asked == ["embedded"]
    assert "experimental: it misses 1 of 1 gates (identity.added_wer)" in result.stdout
    assert "experimental" in (tmp_path / "demo" / "index.html").read_text()
    names = sorted(path.name for path in (tmp_path / "demo").glob("1-*.wav"))
    assert names == ["1-denoise-dsp.wav", "1-denoise-identity.wav", "1-denoise-llm.wav"]
    assert call("demo", "--dsp", "--out", tmp_path / "plain").exit_code == 0
    assert asked == ["embedded"]
    assert "leave out --engine" in refused(call("demo", "--dsp", "--engine", "embedded"))


def test_without_plugins_the_demo_says_so(tmp_path: Path) -> None:
    set_registry(Registry(disabled=()))
    try:
        with pytest.raises(PluginError, match="no plugin is loaded"):
            load_demo()
        assert "no plugin is loaded" in refused(call("demo", "--out", tmp_path / "demo"))
        assert not (tmp_path / "demo").exists()
    finally:
        set_registry(None)


def pixels(png: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Decode a palette PNG whose rows are unfiltered; shape ``(height, width)``."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    start = png.index(b"IDAT") + 4
    length = int.from_bytes(png[start - 8 : start - 4], "big")
    rows = np.frombuffer(zlib.decompress(png[start : start + length]), np.uint8)
    return rows.reshape(height, width + 1)[:, 1:]


def test_a_spectrogram_shows_a_tone_at_its_frequency() -> None:
    image = pixels(picture.spectrogram_png(tone(1000.0), width=200, height=150))
    assert image.shape == (150, 200)
    brightest = np.median(image.argmax(axis=0))
    assert (149 - brightest) / 149 == pytest.approx(picture.frequency_place(1000.0), abs=0.02)
    assert not pixels(picture.spectrogram_png(silence(), width=50)).any()


def test_levels_compare_across_pictures() -> None:
    loud = tone(500.0)
    loud = loud.replace(samples=loud.samples * 0.05)
    quiet = loud.replace(samples=loud.samples * 0.1)
    one, two = (pixels(picture.spectrogram_png(u, width=40)).max() for u in (loud, quiet))
    assert int(one) - int(two) == pytest.approx(20 / picture.RANGE_DB * 255, abs=2)


def test_a_waveform_path_stays_inside_its_box() -> None:
    path = picture.waveform_path(speech_like(1.0), width=100, height=40)
    heights = [float(y) for _, y in re.findall(r"([\d.]+),([\d.]+)", path)]
    assert len(heights) == 200
    assert min(heights) >= 0
    assert max(heights) <= 40
