from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepedit_core.codes import DualCodes
from stepedit_core.testing import FakeEngine, silence
from stepedit_core.utterance import Utterance
from tests.cli.calls import call, refused

pytestmark = pytest.mark.usefixtures("toys")


def test_codes_come_out_as_json_and_go_back_in(wav: Path, tmp_path: Path) -> None:
    result = call("encode", wav, "--engine", "fake", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    codes = DualCodes(data["linguistic"], data["semantic"])
    assert codes == FakeEngine().encode([Utterance.read(wav)])[0]
    assert len(data["ids"]) == 5 * codes.groups
    file, out = tmp_path / "codes.json", tmp_path / "out.wav"
    file.write_text(result.stdout)
    decoded = call("decode", file, "--reference", wav, "--engine", "fake", "-o", out)
    assert decoded.exit_code == 0, decoded.output
    assert FakeEngine().encode([Utterance.read(out)])[0] == codes


def test_codes_can_be_written_to_a_file(wav: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes.json"
    result = call("encode", wav, "--engine", "fake", "-o", out)
    assert "groups of 120 ms" in result.stdout
    assert set(json.loads(out.read_text())) >= {"linguistic", "semantic", "ids"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file"),
        ("no json", "not a readable codes file"),
        ("[]", "expected a JSON object"),
        ('{"linguistic": [1, 2]}', "'semantic' must be a list of whole numbers"),
        ('{"linguistic": [1, 2.5], "semantic": [1, 2, 3]}', "'linguistic' must be a list"),
        ('{"linguistic": [1, 9999], "semantic": [1, 2, 3]}', "linguistic code 9999 is outside"),
        ('{"linguistic": [1], "semantic": [1, 2, 3]}', "not one whole group"),
        ('{"linguistic": [1, 1' + "0" * 30 + '], "semantic": [1, 2, 3]}', "too large"),
        (json.dumps({"linguistic": [1] * 90, "semantic": [1, 2, 3]}), "has 45 groups, the sem"),
        ("[" * 9000, "not a readable codes file"),
    ],
)
def test_bad_code_files(wav: Path, tmp_path: Path, content: str | None, message: str) -> None:
    file, out = tmp_path / "codes.json", tmp_path / "out.wav"
    if content is not None:
        file.write_text(content)
    line = refused(call("decode", file, "--reference", wav, "--engine", "fake", "-o", out))
    assert message in line
    assert str(file) in line
    assert not out.exists()


def test_nothing_is_heard_in_silence(wav: Path, tmp_path: Path) -> None:
    codes, silent = tmp_path / "codes.json", tmp_path / "silent.wav"
    codes.write_text('{"linguistic": [1, 2], "semantic": [1, 2, 3]}')
    silence(1.0).write(silent)
    engine = ("--engine", "no-such-engine")
    line = refused(call("decode", codes, "--reference", silent, "-o", tmp_path / "o.wav", *engine))
    assert "silent.wav: the recording is digital silence" in line
    assert "digital silence" in refused(call("encode", silent, *engine))


def test_unwritable_target(wav: Path, tmp_path: Path) -> None:
    codes = tmp_path / "codes.json"
    codes.write_text('{"linguistic": [1, 2], "semantic": [1, 2, 3]}')
    base = ("decode", codes, "--reference", wav, "--engine", "no-such-engine", "-o")
    assert "unknown audio format '.xyz'" in refused(call(*base, tmp_path / "out.xyz"))
    assert "is a file, not a folder" in refused(call(*base, codes / "out.wav"))
    line = refused(call("encode", wav, "--engine", "no-such-engine", "-o", codes / "c.json"))
    assert "is a file, not a folder" in line


def test_codes_through_pipes(wav: Path, tmp_path: Path) -> None:
    encoded = call("encode", wav, "--engine", "fake", "-o", "-", "--json")
    assert set(json.loads(encoded.stdout)) >= {"linguistic", "semantic"}
    assert "groups of 120 ms" in encoded.stderr
    decode = ("decode", "-", "--reference", wav, "--engine", "fake", "-o", "-")
    decoded = call(*decode, input=encoded.stdout)
    assert decoded.exit_code == 0, decoded.output
    speech = Utterance.from_bytes(decoded.stdout_bytes)
    assert FakeEngine().encode([speech])[0] == FakeEngine().encode([Utterance.read(wav)])[0]
    both = call("decode", "-", "--reference", "-", "--engine", "fake", "-o", tmp_path / "o.wav")
    assert "cannot both come through a pipe" in refused(both)


def test_a_key_twice(wav: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "codes.json", tmp_path / "out.wav"
    file.write_text('{"linguistic": [1, 2], "semantic": [1, 2, 3], "semantic": [4, 5, 6]}')
    line = refused(call("decode", file, "--reference", wav, "--engine", "fake", "-o", out))
    assert "'semantic'" in line
