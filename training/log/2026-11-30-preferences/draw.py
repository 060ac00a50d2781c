"""Draw sixteen answers to each request of clone and score how well they say its words.

python draw.py MANIFEST MODEL OUT.jsonl [--temperature T] [--seed S] [--most N] [--minutes M]
    [--held-out] [--heard]

Requests are a short recording of the manifest as the voice and a short text of another one.
Requests that OUT.jsonl holds already are passed over.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from stepedit_clone import Clone
from stepedit_train.rl.prompts import Prompt
from stepedit_train.rl.rollouts import Group, OwnGenerator, Rollouts, rollout_rules
from stepedit_train.seeds import rng_of, share_of

from stepedit_core.config import EngineConfig
from stepedit_core.models.engine import Engine
from stepedit_core.recording.hearing import load_recogniser
from stepedit_core.registry.corpora import find_reader
from stepedit_core.utterance import Utterance

ANSWERS = 16
SHORTEST, LONGEST, LONGER = 1.5, 3.8, 4.6
HELD_OUT = 0.1


def requests(manifest: Path, seed: int, *, held_out: bool) -> Iterator[Prompt]:
    """Yield requests in an order that the seed gives, without an end."""
    items = list(find_reader(manifest, None).items(manifest))
    short = [one for one in items if SHORTEST <= one.read().seconds <= LONGEST]
    voices = [one for one in short if (share_of("sft", one.speaker) < HELD_OUT) == held_out]
    # Nobody who is held out says a text that was learned from.
    said = [one for one in items if LONGEST < one.read().seconds <= LONGER] if held_out else short
    texts = sorted({one.transcript for one in said if one.transcript})
    for turn in range(1000):
        rng = rng_of(seed, "requests", turn)
        for at in rng.permutation(len(voices)).tolist():
            voice = voices[at]
            text = texts[int(rng.integers(len(texts)))]
            if text == voice.transcript:
                continue
            name = f"{voice.id}/{turn}"
            yield Prompt(name, Clone(text=text), voice.speaker or voice.id, seed, item=voice)


def main() -> None:
    """Draw, score and write until there are enough answers, or the time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--again", action="store_true", help="read answers encoded again, too")
    given = parser.parse_args()
    engine = Engine.from_config(EngineConfig(name_or_path=str(given.model), device="cpu"))
    rules = rollout_rules(engine, given.temperature, None)
    generator = OwnGenerator(engine, engine.parts.model, 64)
    rollouts = Rollouts(engine, generator, rules, 700, 64)
    tiny = load_recogniser("tiny.en")
    lines = given.out.read_text().splitlines() if given.out.is_file() else []
    known = {json.loads(line)["name"] for line in lines}
    begun = time.monotonic()
    count = 0
    with given.out.open("a") as file, torch.inference_mode():
        for prompt in requests(given.manifest, given.seed, held_out=given.held_out):
            if count >= given.most or time.monotonic() - begun > 60 * given.minutes:
                return
            count += 1
            if prompt.name in known:
                continue
            spent = time.process_time()
            for group in rollouts.draw([prompt], ANSWERS, given.seed, "draw", decoded=True)[0]:
                row = scored(engine, group)
                row["certain"] = [
                    certainty(tiny, prompt.edit.text, one.audio) for one in group.answers
                ]
                if given.again:
                    sounds = [one.audio for one in group.answers]
                    row["read_again"] = engine.parts.reader.scores(
                        engine.encode(sounds), prompt.edit.text
                    )
                row["seconds"] = time.process_time() - spent
                file.write(json.dumps(row) + "\n")
                file.flush()


def certainty(tiny: Any, text: str, sound: Utterance) -> float:
    """Return the mean log probability of the words by Whisper tiny.en, which is shown them."""
    likely = tiny.certainty(sound.replace(transcript=text))
    return sum(math.log(max(one, 1e-4)) for one in likely) / len(likely)


def scored(engine: Engine, group: Group) -> dict[str, object]:
    """Return answers with how well their codes read."""
    text = group.prompt.edit.text
    reader = engine.parts.reader
    codes = [one.codes for one in group.answers]
    return {
        "name": group.prompt.name,
        "text": text,
        "speaker": group.prompt.speaker,
        "source": group.answers[0].request.codes.token_string(),
        "start": group.answers[0].request.codes.start,
        "codes": [one.token_string() for one in codes],
        "groups": [one.groups for one in codes],
        "expected": group.answers[0].expected_groups,
        "read": reader.scores(codes, text),
    }


if __name__ == "__main__":
    main()
