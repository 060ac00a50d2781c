"""Hear what denoise by a model leaves of the words, and compare two decoders on the same codes.

python denoised.py MANIFEST MODEL OUT.jsonl REQUESTS
python denoised.py BEFORE.jsonl AFTER.jsonl

A request is a recording of the manifest with noise added at 5 dB: white, pink, babble, the street
and rain in turn; every fifth one stands in a room, too. Written for the clean recording, the noisy
one, signal processing and the model: the word error by Whisper base and PocketSphinx (above 1
counts as 1), the phone error by hama, the likeness to the clean recording's voice, and DNSMOS of
background and whole. The second form compares two runs by pairs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from stepedit_bench.measuring.standard import StandardMeasures
from stepedit_denoise import Denoise
from stepedit_denoise.scorer import DenoiseScorer

from stepedit_core import Chain, EngineConfig, Utterance
from stepedit_core.dsp.words import word_error
from stepedit_core.models.engine import Engine
from stepedit_core.registry.corpora import find_reader
from stepedit_core.scoring import Case

sys.path.append(str(Path(__file__).parents[1] / "2026-11-30-decoder"))
from spoken import mean, phone_error

NOISES = ("white", "pink", "babble", "street", "rain")
ROOMS = 5
EARS = ("Whisper base", "PocketSphinx", "phones", "likeness", "background", "overall")
VOICES = ["doctor", "romance", "books", "doubt"]


def prepare(place: int) -> dict[str, Any]:
    """Return what is done to the recording of a place in the list."""
    kind = NOISES[place % len(NOISES)]
    found: dict[str, Any] = {"noise": kind, "snr_db": 5, "seed": place}
    if kind == "babble":
        found["voices"] = VOICES
    if place % (ROOMS * len(NOISES)) >= (ROOMS - 1) * len(NOISES):
        found |= {"rt60": 0.4, "room": place}
    return found


def hear(measures: StandardMeasures, made: Utterance, text: str, voice: Utterance) -> list[float]:
    """Return what is heard, in the order of `EARS`."""
    said = made.replace(language="en", transcript=None)
    heard = (measures.transcribe(said), measures.second_text(said))
    errors = [min(1.0, word_error(text, one)) for one in heard]
    likeness = measures.speaker_similarity(voice, made)
    rated = measures.dnsmos(made)
    phones = min(1.0, phone_error(said, text))
    return [*errors, phones, likeness, float(rated["bak"]), float(rated["ovrl"])]


def main(manifest: str, model: str, out: str, most: int) -> None:
    """Add noise, denoise, hear and write; go on where an earlier run stopped."""
    engine = Engine.from_config(EngineConfig(name_or_path=model, device="cpu"))
    measures, scorer = StandardMeasures(), DenoiseScorer()
    items = list(find_reader(Path(manifest), None).items(Path(manifest)))
    order = np.random.default_rng(5).permutation(len(items)).tolist()[:most]
    done = {row["name"] for row in _read(out)} if Path(out).exists() else set()
    with Path(out).open("a", encoding="utf-8") as file:
        for place, at in enumerate(order):
            clean, name = items[at].read(), items[at].id
            if name in done:
                continue
            case = Case(id=name, edit=Denoise(), audio=name, prepare=prepare(place))
            prepared = scorer.prepare(case, clean, np.random.default_rng(place))
            text, noisy = clean.transcript or "", prepared.source
            chain = Chain([Denoise()])
            sounds = {
                "clean": prepared.reference or clean,
                "noisy": noisy,
                "dsp": chain(noisy, seed=1, route="dsp").utterance,
                "model": chain(noisy, engine=engine, seed=1, route="llm").utterance,
            }
            line: dict[str, Any] = {"name": name, "words": len(text.split())}
            line |= {kind: hear(measures, one, text, clean) for kind, one in sounds.items()}
            file.write(json.dumps(line) + "\n")
            file.flush()


def compare(before: str, after: str) -> None:
    """Print means of both runs, and 95 % of the differences over requests."""
    runs = [{row["name"]: row for row in _read(path)} for path in (before, after)]
    names = [name for name in runs[0] if name in runs[1]]
    words = np.array([runs[0][name]["words"] for name in names], float)
    drawn = np.random.default_rng(0).integers(len(names), size=(4000, len(names)))
    print(f"{len(names)} requests")
    for kind in ("clean", "noisy", "dsp", "model"):
        for at, ear in enumerate(EARS):
            weights = words if at < 2 else np.ones(len(names))
            was, now = (np.array([run[name][kind][at] for name in names]) for run in runs)
            change = [mean((now - was)[one], weights[one]) for one in drawn]
            low, high = np.quantile(change, (0.025, 0.975))
            means = f"{mean(was, weights):.3f} -> {mean(now, weights):.3f}"
            print(f"{kind:6} {ear:13} {means} ({low:+.3f} to {high:+.3f})")


def _read(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        compare(sys.argv[1], sys.argv[2])
    else:
        main(*sys.argv[1:4], int(sys.argv[4]))
