"""Seeded damage to everything that a user hands over, sent through the real command line.

Whatever comes in, the exit code is 0, 1 or 2, an error is one line under 400 characters, nothing
partial is left, and neither time nor memory runs away.
"""

from __future__ import annotations

import io
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from stepedit_core.testing import speech_like
from tests.cli.calls import call

QUICK, SLOW = 500, 2_000
MOST_SECONDS, MOST_BYTES = 10.0, 1 << 30

SPEECH = speech_like(0.4, 8_000)
TOKENS = ["NaN", "true", "null", "-1", "1e999", "[", "]", "{", '"', "(", ")", ",", "=", ":", "\x00"]
TOKENS += ["\x1b[31m", "【laugh】", "[laugh]", "9" * 400, "\ud7ff", "a" * 3_000, "#", "\n", "../"]
NOTATIONS = [
    "speed:factor=1.25",
    "emotion:to=happy",
    "denoise:noise=varying,strength=0.5",
    "trim_silence:keep=0.03,min_silence=0.2",
    "masked:inner=(speed:factor=1.2),spans=[[0.05,0.2]]",
    'masked:inner={"edit": "style", "to": "whisper"},spans=[[0.05,0.2],[0.25,0.35]]',
    "paralinguistic:text=You came [laugh] back at last!",
    "clone:text=[Cantonese] Hello.",
]
CHAIN = {
    "schema_version": 1,
    "iterations": 2,
    "edits": [{"edit": "speed", "factor": 1.1}, {"iterations": 1, "edits": [{"edit": "denoise"}]}],
}
Rng = np.random.Generator


def _sounds() -> list[bytes]:
    found = []
    stereo = np.stack([SPEECH.samples, -SPEECH.samples], axis=1)
    kinds = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "GSM610"), ("FLAC", "PCM_16")]
    for kind, subtype in [*kinds, ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]:
        for samples in (SPEECH.samples, stereo) if subtype != "GSM610" else (SPEECH.samples,):
            buffer = io.BytesIO()
            sf.write(buffer, samples, 8_000, format=kind, subtype=subtype)
            found.append(buffer.getvalue())
    return found


SOUNDS = _sounds()


def damaged_bytes(raw: bytes, rng: Rng) -> bytes:
    """Flip, cut, double, overwrite; the header more often than the rest."""
    data = bytearray(raw)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        near = min(len(data), 64 if rng.random() < 0.6 else len(data))
        at = int(rng.integers(near))
        kind = int(rng.integers(6))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + 4] = bytes([int(rng.choice([0, 0x7F, 0x80, 0xFF]))] * 4)
        elif kind == 2:
            del data[at + int(rng.integers(len(data))) :]
        elif kind == 3:
            data[at:at] = rng.bytes(int(rng.integers(1, 64)))
        elif kind == 4:
            del data[at : at + int(rng.integers(1, 64))]
        else:
            data += data[at : at + 4096]
    return bytes(data)


def damaged_text(text: str, rng: Rng) -> str:
    """Cut, double, and put in what means something elsewhere."""
    for _ in range(int(rng.integers(1, 5))):
        at, end = sorted(int(rng.integers(len(text) + 1)) for _ in range(2))
        kind = int(rng.integers(4))
        if kind == 0:
            text = text[:at] + str(rng.choice(TOKENS)) + text[at:]
        elif kind == 1:
            text = text[:at] + str(rng.choice(TOKENS)) + text[end:]
        elif kind == 2:
            text = text[:at] + text[end:]
        else:
            text = text[:end] + text[at:]
    return text.replace("\x00", "\x01")


def _audio(folder: Path, rng: Rng) -> list[str]:
    name = f"in.{rng.choice(['wav', 'flac', 'm4a', 'ogg'])}"
    (folder / name).write_bytes(damaged_bytes(SOUNDS[int(rng.integers(len(SOUNDS)))], rng))
    return ["edit", name, "-o", "out.wav", "-e", "speed:factor=1.25"]


def _chain(folder: Path, rng: Rng) -> list[str]:
    text = damaged_text(json.dumps(CHAIN), rng)
    (folder / "chain.json").write_bytes(
        damaged_bytes(text.encode(), rng) if rng.random() < 0.2 else text.encode()
    )
    return ["edit", "good.wav", "-o", "out.wav", "--chain", "chain.json", "--report", "r.json"]


def _notation(folder: Path, rng: Rng) -> list[str]:
    text = damaged_text(str(rng.choice(NOTATIONS)), rng)
    words = damaged_text("You came back at last!", rng)
    return ["edit", "good.wav", "-o", "out.wav", "--route", "dsp", f"--text={words}", "-e", text]


def _codes(folder: Path, rng: Rng) -> list[str]:
    data = {"schema_version": 1, "linguistic": [1, 2], "semantic": [1, 2, 3], "start": 0.0}
    (folder / "codes.json").write_text(damaged_text(json.dumps(data), rng))
    given = ["decode", "codes.json", "--reference", "good.wav", "-o", "out.wav"]
    return [*given, "--engine", str(folder / "model")]


def _checkpoint(folder: Path, rng: Rng) -> list[str]:
    model = folder / "model"
    for name, raw in {
        "config.json": b'{"model_type": "step1", "num_hidden_layers": 2, "hidden_size": 8}',
        "tokenizer.model": b"\x0a\x08\x0a\x01a\x15\x00\x00\x00\x00" * 4,
        "model.safetensors": b"\x40\x00\x00\x00\x00\x00\x00\x00" + b"{}" + b" " * 62,
        "cosyvoice.yaml": b"flow: !new:cosyvoice.flow.flow.MaskedDiffWithXvec\n  num_blocks: 6\n",
    }.items():
        path = model / name if rng.random() < 0.8 else model / "CosyVoice-300M-25Hz" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damaged_bytes(raw, rng))
    given = ["edit", "good.wav", "-o", "out.wav", "--engine", str(model), "--route", "llm"]
    return [*given, "--text", "You came back.", "-e", "emotion:to=happy"]


KINDS: dict[str, tuple[float, Callable[[Path, Rng], list[str]]]] = {
    "audio": (0.3, _audio),
    "chain": (0.25, _chain),
    "notation": (0.3, _notation),
    "codes": (0.05, _codes),
    "checkpoint": (0.1, _checkpoint),
}


def _send(folder: Path, make: Callable[[Path, Rng], list[str]], rng: Rng) -> str | None:
    """Send one mutation; return what is wrong with how it ended, or None."""
    SPEECH.write(folder / "good.wav")
    args = make(folder, rng)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    begin, worked = time.monotonic(), time.process_time()
    result = call(*args)
    # A busy machine stretches the clock, so that the processor's time counts, and hangs apart.
    seconds = max(time.process_time() - worked, (time.monotonic() - begin) / 6)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    new = {path.name for path in folder.rglob("*") if path not in before}
    if result.exit_code not in (0, 1, 2):
        return f"exit code {result.exit_code}: {result.output[-300:]}"
    if result.exit_code and (len(lines) != 1 or len(lines[0]) >= 400):
        return f"{len(lines)} lines: {result.stderr[-600:]}"
    if "Traceback" in result.output or "--debug shows where" in result.output:
        return f"raw error: {result.stderr[-300:]}"
    if result.exit_code == 2 and new:
        return f"left behind: {new}"
    if any(".stepedit-" in name for name in new):
        return f"partial: {new}"
    if result.exit_code == 0 and "out.wav" in new and sf.info(folder / "out.wav").frames == 0:
        return "an empty output"
    if seconds > MOST_SECONDS:
        return f"took {seconds:.1f} s"
    return None


def _run(kind: str, count: int, tmp_path: Path, seed: int) -> None:
    make = KINDS[kind][1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    wrong = []
    here = Path.cwd()
    for number in range(count):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        os.chdir(folder)
        try:
            found = _send(folder, make, np.random.default_rng([seed, number]))
        finally:
            os.chdir(here)
        if found:
            wrong.append(f"{kind} {number}: {found}")
    assert not wrong, "\n".join(wrong[:20])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - peak < MOST_BYTES


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_one_line(kind: str, tmp_path: Path) -> None:
    _run(kind, round(KINDS[kind][0] * QUICK), tmp_path, seed=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_much_damage_ends_in_one_line(kind: str, tmp_path: Path) -> None:
    _run(kind, round(KINDS[kind][0] * SLOW), tmp_path, seed=2)
