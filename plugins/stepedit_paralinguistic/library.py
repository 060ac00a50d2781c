"""Make the library of recorded sounds again: ``python -m stepedit_paralinguistic.library``.

``sounds/chosen.jsonl`` names stretches of recordings that people may use for anything with
credit; this cuts them out, takes offset and rumble away, fades the edges and writes FLAC beside a
manifest. The same recordings give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf

from stepedit_core import StepeditError, Utterance
from stepedit_core.dsp.offset import without_offset
from stepedit_paralinguistic.voice import RATE

__all__ = ["build", "median_f0"]

_PEAK = 0.5
_FADE_IN, _FADE_OUT = 0.008, 0.04
_RUMBLE_HZ = 60.0
_LEAST_VOICED = 0.12
_LINES = 5
"""Recordings of a speaker that their speaking pitch is taken from, at most."""
_CREDITS: Mapping[str, str] = {
    "emogator": "EmoGator, Fred W. Buhl, arXiv 2301.00508",
    "sdap": "Super Dialogue Audio Pack V1, Dillon Becker; 22.05 kHz by n8bot",
    "vctk_parallel": "VCTK, CSTR, University of Edinburgh",
    "librispeech": "LibriSpeech, Vassil Panayotov 2014, from LibriVox",
}
Row = Mapping[str, str]
FloatArray = npt.NDArray[np.float64]


def build(speech: Path, folder: Path) -> list[dict[str, Any]]:
    """Cut the chosen sounds out of a folder of recordings, and write them with their manifest.

    Args:
        speech: folder with ``manifest.csv`` (path, set, speaker, gender, kind, licence, source).
        folder: with ``chosen.jsonl``; FLAC files and ``manifest.jsonl`` are written there.

    Returns:
        The rows of the manifest.

    Raises:
        StepeditError: if a recording is not in the manifest, or not of the tier ``free/``.
    """
    with (speech / "manifest.csv").open(encoding="utf-8", newline="") as file:
        known = {row["path"]: row for row in csv.DictReader(file)}
    lines = (folder / "chosen.jsonl").read_text(encoding="utf-8").splitlines()
    pitches: dict[str, float | None] = {}
    rows = [_cut(json.loads(line), known, speech, folder, pitches) for line in lines]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "manifest.jsonl").write_text(text, encoding="utf-8")
    return rows


def _cut(
    chosen: Mapping[str, Any],
    known: Mapping[str, Row],
    speech: Path,
    folder: Path,
    pitches: dict[str, float | None],
) -> dict[str, Any]:
    """Write one sound and return its row; ``pitches`` keeps the speakers' own."""
    row = known.get(chosen["path"])
    if row is None or not chosen["path"].startswith("free/"):
        raise StepeditError(f"{chosen['name']}: {chosen['path']} is not in the manifest's free/")
    whole = without_offset(Utterance.read(speech / chosen["path"])).resample(RATE)
    part = whole.slice((chosen["start"], min(chosen["end"], whole.seconds)))
    samples = _cleaned(part.samples.astype(np.float64))
    file = f"{chosen['name']}.flac"
    sf.write(folder / file, samples, RATE, subtype="PCM_16")
    f0, corpus = median_f0(samples), next(name for name in _CREDITS if name in row["set"])
    if row["speaker"] not in pitches:
        pitches[row["speaker"]] = _speaking_f0(row, known.values(), speech)
    return {
        "tag": chosen["tag"],
        "file": file,
        "seconds": round(len(samples) / RATE, 3),
        "f0": f0 and round(f0, 1),
        "speech_f0": pitches[row["speaker"]],
        "speaker": row["speaker"],
        "gender": row["gender"] or None,
        "licence": row["licence"],
        "credit": _CREDITS[corpus],
        "source": f"{chosen['path'].removeprefix('free/')}, "
        f"{chosen['start']:g} to {chosen['end']:g} s",
        "changes": "cut, 24 kHz, below 60 Hz removed, faded, level",
    }


def _cleaned(samples: FloatArray) -> FloatArray:
    """Return a sound without rumble, with faded edges and a fixed peak."""
    from scipy.signal import butter, sosfiltfilt

    sections = butter(2, _RUMBLE_HZ, "high", fs=RATE, output="sos")
    out = np.asarray(sosfiltfilt(sections, samples), dtype=np.float64)
    for edge, seconds in ((slice(None), _FADE_IN), (slice(None, None, -1), _FADE_OUT)):
        count = min(len(out) // 4, round(seconds * RATE))
        out[edge][:count] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(count) / count)
    return np.asarray(out * (_PEAK / np.abs(out).max()))


def median_f0(samples: FloatArray) -> float | None:
    """Return the median pitch in Hz, or None where less than an eighth is voiced.

    Args:
        samples: at 24 kHz.
    """
    import pyworld

    padded = np.pad(samples, 2400)
    f0, times = pyworld.dio(padded, RATE, f0_floor=70.0, f0_ceil=800.0)
    f0 = pyworld.stonemask(padded, f0, times, RATE)
    voiced = f0[f0 > 0]
    share = len(voiced) * 0.005 * RATE / len(samples)
    return float(np.median(voiced)) if share >= _LEAST_VOICED else None


def _speaking_f0(row: Row, rows: Iterable[Row], speech: Path) -> float | None:
    """Return the median pitch of a speaker's lines of speech in Hz, or None without any."""
    own = [
        other["path"]
        for other in rows
        if other["speaker"] == row["speaker"] and other["kind"] in ("read", "style")
    ]
    found = []
    for path in sorted(own)[:_LINES]:
        heard = without_offset(Utterance.read(speech / path)).resample(RATE)
        found.append(median_f0(heard.samples.astype(np.float64)))
    pitches = [pitch for pitch in found if pitch]
    return round(float(np.median(pitches)), 1) if pitches else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as a program; an error of ours is one line."""
    parser = argparse.ArgumentParser(description="Make the library of recorded sounds again.")
    parser.add_argument("speech", type=Path, help="folder of recordings with manifest.csv")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sounds")
    given = parser.parse_args(arguments)
    try:
        rows = build(given.speech, given.out)
    except StepeditError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{len(rows)} sounds of {len({row['speaker'] for row in rows})} speakers")


if __name__ == "__main__":
    main()
