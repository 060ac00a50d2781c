from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from stepedit_core.demo import load_demo, picture, run_column
from stepedit_core.demo.running import Demo
from stepedit_core.errors import PluginError
from stepedit_core.registry import Registry, set_registry
from stepedit_core.testing import FakeEngine, silence, speech_like, tone
from stepedit_core.utterance import Utterance
from tests.cli.calls import call, refused


@pytest.fixture
def builtin() -> Registry:
    registry = Registry(disabled=()).load()
    set_registry(registry)
    return registry


def test_the_demo_writes_every_step_and_a_page(builtin: Registry, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    result = call("demo", "--out", out)
    assert result.exit_code == 0, result.output
    steps = sorted(out.glob("[1-9]*.wav"))
    assert len(steps) >= 4
    assert all(Utterance.read(path).problem() is None for path in steps)
    page = (out / "index.html").read_text()
    assert page.count("<audio") == page.count("data:image/png") == len(steps) + 1
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "${" not in page
    assert (out / "report.json").is_file()
    assert "index.html in a browser" in result.stdout
    for path in steps:
        assert path.name in result.stdout


def test_the_steps_are_of_different_families_by_dsp(builtin: Registry) -> None:
    demo = load_demo()
    column = run_column(demo, None)
    names = [step.edit.name for step in column.result.steps]
    assert len(set(names)) == len(names) >= 4
    assert {step.route for step in column.result.steps} == {"dsp"}
    assert not column.problems


def test_an_engine_gets_a_column_of_its_own(builtin: Registry) -> None:
    from stepedit_core.demo import render_page

    demo = load_demo()
    short = Demo(demo.recording, demo.source, demo.added, demo.steps[:2], ("one: no plugin",))
    columns = [run_column(short, None), run_column(short, FakeEngine())]
    page = render_page(short, columns, "0")
    assert "repeat(2, " in page
    assert '<span class="badge llm">' in page
    assert '<span class="badge dsp">' in page
    assert "engine fake" in page
    assert "one: no plugin" in page


def test_a_failing_engine_is_said_and_the_rest_goes_on(builtin: Registry) -> None:
    demo = load_demo()
    column = run_column(demo, FakeEngine(fail_after=1))
    assert len(column.plan) == len(column.result.steps) == 1
    assert len(column.problems) == len(demo.steps) - 1
    assert any("as asked" in text for text in column.problems.values())


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
