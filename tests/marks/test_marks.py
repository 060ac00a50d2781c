from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from stepedit_core import (
    Chain,
    Finding,
    Mark,
    Span,
    StepeditError,
    Utterance,
    parse_edit,
    verify,
    write_marked,
)
from stepedit_core.cli.root import cli
from stepedit_core.hookspecs import hookimpl
from stepedit_core.marks.marking import edited_spans, load_marks
from stepedit_core.marks.sidecar import SUFFIX, file_hash
from stepedit_core.registry.registry import Registry, get_registry, set_registry
from stepedit_core.testing import speech_like
from tests.cli.calls import call, refused


class _Loud(Mark):
    """Doubles the samples that were edited."""

    name: ClassVar[str] = "loud"
    marks_sound: ClassVar[bool] = True

    def in_sound(self, edited: Utterance, spans: Sequence[Span]) -> Utterance:
        samples = edited.samples.copy()
        for span in spans:
            inside = slice(*(round(edge * edited.sample_rate) for edge in span))
            samples[inside] *= np.float32(0.5)
        return edited.replace(samples=samples)

    def find(self, path: Path) -> Finding:
        return Finding(self.name, "absent", "cannot be told")


class _Refusing(Mark):
    name: ClassVar[str] = "refusing"

    def in_file(self, partial: Path, target: Path, record: Mapping[str, Any]) -> None:
        raise StepeditError(f"{target}: no")

    def find(self, path: Path) -> Finding:
        raise StepeditError("unreadable")


class _Plugin:
    @hookimpl
    def stepedit_marks(self) -> Sequence[type[Mark]]:
        return [_Loud, _Refusing]


@pytest.fixture
def registry() -> Any:
    found = Registry(disabled=()).load()
    found.register(_Plugin(), "more-marks")
    set_registry(found)
    yield found
    set_registry(None)


@pytest.fixture
def edited() -> Any:
    speech = speech_like(2.0)
    return Chain([parse_edit("masked:inner=(volume:db=-6),spans=[[0.5,1.0]]")])(speech)


def test_sidecar_holds_until_the_file_changes(tmp_path: Path, edited: Any) -> None:
    target = write_marked(edited, tmp_path / "out.wav", ["sidecar"])
    data = json.loads((tmp_path / f"out.wav{SUFFIX}").read_text())
    assert data["output"]["sha256"] == file_hash(target)
    assert data["input"]["sha256_of_samples"] == edited.source.digest
    assert data["chain"][0]["edit"] == "masked" and data["by_model"] is False
    assert data["edited_spans"] == [[pytest.approx(0.5, abs=0.01), pytest.approx(1.0, abs=0.01)]]
    states = {one.mark: one.state for one in verify(target)}
    assert states["sidecar"] == "holds"
    target.write_bytes(target.read_bytes() + b"x")
    assert {one.mark: one.state for one in verify(target)}["sidecar"] == "broken"
    (tmp_path / f"out.wav{SUFFIX}").write_text("[]")
    assert {one.mark: one.state for one in verify(target)}["sidecar"] == "broken"
    bare = {"output": {"sha256": file_hash(target)}, "generator": "\x1b[2Jme"}
    (tmp_path / f"out.wav{SUFFIX}").write_text(json.dumps(bare))
    shown = CliRunner().invoke(cli, ["verify", str(target)])
    assert "sidecar: holds" in shown.output and "\x1b" not in shown.output


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.txt", "a.m4a"])
@pytest.mark.parametrize("content", [b"", b"a text\n" * 99, bytes(range(256)) * 9])
def test_what_is_no_audio_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    done = call("verify", tmp_path / name)
    assert f"{name}: " in refused(done) and done.stdout == ""


def test_a_file_without_marks(tmp_path: Path, edited: Any) -> None:
    target = edited.utterance.write(tmp_path / "out.wav")
    assert {one.mark: one.state for one in verify(target)}["sidecar"] == "absent"
    with pytest.raises(StepeditError, match="no such file"):
        verify(tmp_path / "nothing.wav")


def test_marks_in_sound_stay_inside_the_edited_spans(
    tmp_path: Path, edited: Any, registry: Registry
) -> None:
    target = write_marked(edited, tmp_path / "out.wav", ["loud"], registry=registry)
    written = Utterance.read(target)
    plain = Utterance.read(edited.utterance.write(tmp_path / "plain.wav"))
    differs = np.flatnonzero(written.samples != plain.samples) / plain.sample_rate
    assert differs.min() >= 0.5 and differs.max() <= 1.0 and len(differs) > 1000


def test_a_mark_that_fails_leaves_nothing(tmp_path: Path, edited: Any, registry: Registry) -> None:
    with pytest.raises(StepeditError, match=r"out\.wav: no"):
        write_marked(edited, tmp_path / "out.wav", ["refusing", "sidecar"], registry=registry)
    assert list(tmp_path.iterdir()) == []
    target = edited.utterance.write(tmp_path / "out.wav")
    states = {one.mark: one.state for one in verify(target, registry=registry)}
    assert states["refusing"] == "unknown"


@pytest.mark.parametrize(
    ("name", "target", "says"),
    [("sidecart", "a.wav", "sidecar"), ("sidecar", "-", "no file"), ("zzz", "a.wav", "there are")],
)
def test_marks_that_cannot_be_made(name: str, target: str, says: str) -> None:
    with pytest.raises(StepeditError, match=says):
        load_marks([name], Path(target))


def test_spans_of_equal_and_of_other_lengths() -> None:
    speech = speech_like(1.0, 16_000)
    samples = speech.samples.copy()
    samples[1600:3200] += np.float32(0.1)
    samples[8000:8100] += np.float32(0.1)
    changed = speech.replace(samples=samples)
    assert edited_spans(speech, changed) == [Span(0.1, 0.2), Span(0.5, 0.50625)]
    assert edited_spans(speech, speech) == []
    shorter = speech.replace(samples=np.delete(speech.samples, slice(4000, 8000)))
    (cut,) = edited_spans(speech, shorter) or [Span(0.25, 0.25)]
    assert cut.start == pytest.approx(0.25, abs=0.001) and cut.seconds < 0.01
    longer = np.insert(speech.samples, 4000, np.full(1600, 0.3, np.float32))
    (added,) = edited_spans(speech, speech.replace(samples=longer))
    assert added == Span(0.25, 0.35)
    assert edited_spans(speech, speech.resample(8_000)) == [Span(0.0, 1.0)]


def test_command_line(tmp_path: Path) -> None:
    speech_like(1.5).write(tmp_path / "in.wav")
    source, target = str(tmp_path / "in.wav"), str(tmp_path / "out.flac")
    run = CliRunner()
    words = ["edit", source, "-o", target, "-e", "volume:db=-3", "--mark", "sidecar"]
    done = run.invoke(cli, words, standalone_mode=False)
    assert done.exit_code == 0, done.output
    data = json.loads(Path(target + SUFFIX).read_text())
    assert data["input"]["sha256"] == file_hash(Path(source))
    found = run.invoke(cli, ["verify", target, "--json"], standalone_mode=False)
    rows = json.loads(found.output)["findings"]
    assert {row["mark"]: row["state"] for row in rows}["sidecar"] == "holds"
    Path(target).write_bytes(b"other")
    broken = run.invoke(cli, ["verify", target])
    assert broken.exit_code == 1 and "sidecar: broken" in broken.output


def test_marks_are_refused_before_anything_runs(tmp_path: Path) -> None:
    speech_like(1.0).write(tmp_path / "in.wav")
    words = ["edit", str(tmp_path / "in.wav"), "-o", str(tmp_path / "out.wav"), "-e", "denoise"]
    done = CliRunner().invoke(cli, [*words, "--mark", "nothing"])
    assert done.exit_code == 2 and not (tmp_path / "out.wav").exists()


def test_core_brings_the_sidecar() -> None:
    known = get_registry().named("stepedit_marks", lambda kind: str(kind.name))
    assert {"c2pa", "sidecar", "watermark"} <= known.keys()


def test_recordings_in_pieces_get_a_sidecar(tmp_path: Path) -> None:
    speech_like(1.5).write(tmp_path / "in.wav")
    (tmp_path / "in.srt").write_text("1\n00:00:00,000 --> 00:00:01,400\nHello there.\n")
    target = tmp_path / "out.wav"
    words = ["edit", str(tmp_path / "in.wav"), "-o", str(target), "-e", "volume:db=-3"]
    words += ["--subtitles", str(tmp_path / "in.srt"), "--mark", "sidecar"]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.exit_code == 0, done.output
    data = json.loads(Path(f"{target}{SUFFIX}").read_text())
    assert data["input"]["sha256"] == file_hash(tmp_path / "in.wav")
    assert data["output"]["sha256"] == file_hash(target)
    assert data["chain"] == [{"edit": "volume", "db": -3.0}]
