"""Hear single draws of clones before and after training, by judges that rewarded nothing.

python judge.py draw DEV MODEL OUT.jsonl REQUESTS DRAWS NAME=FOLDER...
python judge.py report OUT.jsonl START

The requests of ``../2026-11-30-sentences/hear.py`` (validation voices), by the rules that ship. The
same requests and seeds for every language model, of which FOLDER holds config and weights. Written
for each draw: the phones that hama hears (rewarded), how the codes read, word errors by Whisper
base and PocketSphinx (above 1 counts as 1), the voice's likeness to the recording's (Resemblyzer),
and the length against what is expected. Lines that OUT.jsonl has are not made again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stepedit_bench.measuring.standard import StandardMeasures
from stepedit_train.rl.heard_phones import HeardPhones
from stepedit_train.rl.measures import Tools, TrainingMeasures
from stepedit_train.rl.rollouts import OwnGenerator, Rollouts, rollout_rules

from stepedit_core.config import EngineConfig
from stepedit_core.dsp.words import word_error
from stepedit_core.models.engine import Engine
from stepedit_core.models.lm.step1 import load_step1
from stepedit_core.reward import RewardOptions

sys.path.append(str(Path(__file__).parents[1] / "2026-11-30-sentences"))
from hear import requests

FIGURES = {
    "heard_phones": "phones by hama (rewarded), %",
    "codes": "phones read in the codes, %",
    "whisper": "word error, Whisper base, %",
    "sphinx": "word error, PocketSphinx, %",
    "right": "no word wrong by Whisper base, %",
    "voice": "likeness of the voice, x 100",
    "length": "length, % of what is expected",
}


def draw(dev: str, model: str, out: str, most: str, draws: str, *named: str) -> None:
    """Draw, hear and write."""
    torch.set_num_threads(1)
    engine = Engine.from_config(EngineConfig(name_or_path=model, device="cpu"))
    reward = HeardPhones(Tools(engine, TrainingMeasures(engine)), RewardOptions())
    measures = StandardMeasures()
    place = Path(out)
    lines = place.read_text().splitlines() if place.exists() else []
    done = {(one["name"], one["by"]) for one in map(json.loads, lines)}
    asked = {}
    for one in named:
        name, _, folder = one.partition("=")
        network = load_step1(Path(folder), dtype=torch.float32)
        generator = OwnGenerator(engine, network.eval(), 64)
        asked[name] = Rollouts(engine, generator, rollout_rules(engine, None, None), 700, 64)
    with place.open("a", encoding="utf-8") as file, torch.inference_mode():
        for _, prompt in zip(range(int(most)), requests(Path(dev)), strict=False):
            for name, rollouts in asked.items():
                if (prompt.name, name) in done:
                    continue
                (group,) = rollouts.draw([prompt], int(draws), 0, "hear", decoded=True)[0]
                text = prompt.edit.text
                source = group.answers[0].request.utterance
                row: dict[str, Any] = {"name": prompt.name, "by": name, "text": text}
                row["heard_phones"] = reward.score(group.answers)
                read = engine.parts.reader.scores([one.codes for one in group.answers], text)
                row["codes"] = np.exp(read).tolist()
                sounds = [
                    one.audio.replace(language="en", transcript=None) for one in group.answers
                ]
                heard = [(measures.transcribe(one), measures.second_text(one)) for one in sounds]
                for at, judge in enumerate(("whisper", "sphinx")):
                    row[judge] = [min(1.0, word_error(text, one[at])) for one in heard]
                row["right"] = [float(one == 0) for one in row["whisper"]]
                row["voice"] = [measures.speaker_similarity(source, one) for one in sounds]
                row["length"] = [a.codes.groups / a.expected_groups for a in group.answers]
                file.write(json.dumps(row) + "\n")
                file.flush()


def report(out: str, start: str) -> None:
    """Print means, and differences from the start with 95 % intervals over requests."""
    rows = [json.loads(line) for line in Path(out).read_text().splitlines()]
    names = list(dict.fromkeys(row["by"] for row in rows))
    by = {name: {row["name"]: row for row in rows if row["by"] == name} for name in names}
    rng = np.random.default_rng(0)
    for name in names:
        both = [one for one in by[name] if one in by[start]]
        print(f"{name}: {len(both)} requests")
        for figure, title in FIGURES.items():
            after, before = (
                100 * np.array([np.mean(by[one][key][figure]) for key in both])
                for one in (name, start)
            )
            apart = after - before
            drawn = apart[rng.integers(len(apart), size=(5000, len(apart)))].mean(1)
            low, high = np.percentile(drawn, [2.5, 97.5])
            print(
                f"  {title}: {before.mean():.1f} -> {after.mean():.1f} ({low:+.1f} to {high:+.1f})"
            )


if __name__ == "__main__":
    {"draw": draw, "report": report}[sys.argv[1]](*sys.argv[2:])
