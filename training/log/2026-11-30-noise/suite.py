"""Draw a suite of noisy and clean speech for trials of what denoise mixes.

python suite.py MANIFEST TEXTS OUT SPEAKER,... [--high FOLDER] [--noisy 6] [--narrow 2] [--seed 0]

Of each speaker (3 to 6.1 s): the recording as it is, and preparations drawn so that all come about
as often: noises at 0, 5, 10 and 15 dB or a room at 16 kHz (``--noisy`` of them), and at 8 kHz
(``--narrow``). ``--high``: a folder of recordings at 22.05 kHz or more with their words beside
them, eight preparations of each at 24 and 48 kHz.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Prepare = dict[str, Any]
VOICES = ["garden", "office", "wind", "hardware"]
LEVELS = (0, 5, 10, 15)
ROOM = {"rt60": 0.6, "room": 22}


def noise(kind: str, level: int) -> Prepare:
    """Return what the scorer is asked for."""
    own = {"voices": VOICES} if kind == "babble" else {}
    return {"noise": kind, "snr_db": level, "seed": level, **own}


def noisy() -> Iterator[tuple[str, Prepare]]:
    """Yield the preparations at the recording's rate."""
    for kind in ("white", "hum", "street", "clicks", "babble"):
        for level in LEVELS:
            yield f"{kind} {level} dB", noise(kind, level)
    for kind in ("pink", "rain"):
        yield f"{kind} 5 dB", noise(kind, 5)
    yield "room", ROOM


def at(rate: int, ways: list[tuple[str, Prepare]]) -> list[tuple[str, Prepare]]:
    """Return preparations at a rate."""
    return [(f"{name} {rate // 1000} kHz", {**way, "sample_rate": rate}) for name, way in ways]


def narrow() -> list[tuple[str, Prepare]]:
    """Return the preparations at 8 kHz, clean speech among them."""
    picked = (("white", 5), ("street", 0), ("babble", 10), ("hum", 5), ("clicks", 10))
    ways = [(f"{kind} {level} dB", noise(kind, level)) for kind, level in picked]
    return at(8000, [*ways, ("room", ROOM), ("clean", {})])


def high() -> list[tuple[str, Prepare]]:
    """Return the preparations at 24 and 48 kHz."""
    picked = (("white", 5), ("street", 10), ("babble", 5), ("hum", 10), ("clicks", 5))
    ways = [(f"{kind} {level} dB", noise(kind, level)) for kind, level in picked]
    wide = [("white 0 dB", noise("white", 0)), ("babble 15 dB", noise("babble", 15))]
    return at(24_000, [*ways, ("room", ROOM), ("clean", {})]) + at(48_000, wide)


def crossed(given: list[str], ways: list[tuple[str, Prepare]], out: Path) -> list[dict[str, Any]]:
    """Return the cases that ``bench cross`` writes."""
    said = [f"--prepare={name}={json.dumps(way)}" for name, way in ways]
    command = ["stepedit", "bench", "cross", *given, "--edit", "denoise", "--out", str(out), *said]
    subprocess.run(command, check=True)
    lines = (out / "cases.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def thinned(
    cases: list[dict[str, Any]], each: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return so many cases of each recording; preparations that were taken least come first."""
    taken: dict[str, int] = {}
    kept = []
    for audio in dict.fromkeys(case["audio"] for case in cases):
        own = [case for case in cases if case["audio"] == audio]
        order = rng.permutation(len(own))
        order = sorted(order, key=lambda n: taken.get(own[n]["meta"]["class"], 0))
        for n in order[:each]:
            name = own[n]["meta"]["class"]
            taken[name] = taken.get(name, 0) + 1
            kept.append(own[n])
    return kept


def main() -> None:
    """Write OUT/cases.jsonl."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest")
    parser.add_argument("texts")
    parser.add_argument("out", type=Path)
    parser.add_argument("speakers")
    parser.add_argument("--high")
    parser.add_argument("--noisy", type=int, default=6)
    parser.add_argument("--narrow", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    count = len(asked.speakers.split(","))
    given = [asked.manifest, "--texts", asked.texts, "--where", f"speaker={asked.speakers}"]
    given += ["--n", str(count), "--shortest", "3", "--longest", "6.1"]
    cases = crossed(given, [("clean", {})], asked.out)
    cases += thinned(crossed(given, list(noisy()), asked.out), asked.noisy, rng)
    cases += thinned(crossed(given, narrow(), asked.out), asked.narrow, rng)
    if asked.high:
        folder = [asked.high, "--longest", "16"]
        cases += crossed(folder, high(), asked.out)
    rng.shuffle(cases)
    lines = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases)
    (asked.out / "cases.jsonl").write_text(lines, "utf-8")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
