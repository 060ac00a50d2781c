"""Draw sounds of training speakers by the weights that ship, and let the plugin's ear score them.

python draw.py MANIFEST OUT.jsonl REQUESTS [--answers N] [--longest SECONDS] [--seed S]
    [--model FOLDER]

A request is a tag, ten in turn, between two words of a training piece of 1.2 s or more. No answers
writes the requests alone. Requests that OUT.jsonl holds already are passed over.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import TAGS, Asked, WithCodes
from stepedit_paralinguistic import Paralinguistic
from stepedit_train.seeds import rng_of

from stepedit_core.config import EngineConfig
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.llm_route.planning import request_for
from stepedit_core.models.engine import Engine
from stepedit_core.registry.corpora import find_reader

SHORTEST = 1.2


def requests(manifest: Path, count: int, longest: float, seed: int) -> Iterator[Asked]:
    """Yield requests in pieces of training speakers, each piece once, in the seed's order."""
    items = [
        one
        for one in find_reader(manifest, None).items(manifest)
        if one.split == "train" and one.transcript and "[" not in one.transcript
    ]
    made = 0
    for at in rng_of(seed, "pieces").permutation(len(items)).tolist():
        if made >= count:
            return
        source = items[at].read()
        words = (source.transcript or "").split()
        if not SHORTEST <= source.seconds <= longest or len(words) < 3:
            continue
        place = int(rng_of(seed, "place", items[at].id).integers(1, len(words)))
        tag = TAGS[made % len(TAGS)]
        edit = Paralinguistic(text=" ".join([*words[:place], f"[{tag}]", *words[place:]]))
        try:
            plan = edit.plan(source)
        except StepeditError:
            continue
        if edit.problem(source) or plan.problem or not plan.insertions:
            continue
        yield Asked(tag, edit, source, plan, items[at])
        made += 1


def main() -> None:
    """Draw, score and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("requests", type=int)
    parser.add_argument("--answers", type=int, default=16)
    parser.add_argument("--longest", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {"name_or_path": given.model} if given.model else {}
    engine = Engine.from_config(EngineConfig(**chosen, device="cpu")) if chosen else Engine.load()
    lines = given.out.read_text().splitlines() if given.out.is_file() else []
    known = {json.loads(line)["name"] for line in lines}
    with given.out.open("a") as file:
        for asked in requests(given.manifest, given.requests, given.longest, given.seed):
            name = f"{asked.item.id}/{asked.tag}"
            if name in known:
                continue
            spent = time.process_time()
            (source,) = engine.encode([asked.source])
            plan = asked.plan.but(fits=None)
            seeds = rng_of(given.seed, "answers", name).integers(2**31, size=given.answers)
            asking = [
                request_for(asked.edit, asked.source, source, int(own), plan=plan,
                            insertions_only=True)
                for own in seeds
            ]  # fmt: skip
            codes = engine.generate(asking) if asking else []
            count = len(codes)
            held: Any = WithCodes(engine, codes)
            outcomes = apply_by_llm(
                [asked.edit] * count, [asked.source] * count, held, seeds.tolist(),
                [source] * count, plans=[plan] * count,
            )  # fmt: skip
            assert asked.plan.fits is not None
            fits = [asked.plan.fits(one) for one in outcomes]
            row = {
                "name": name, "tag": asked.tag, "text": asked.edit.text, "item": asked.item.id,
                "speaker": asked.item.speaker or asked.item.id, "source": source.token_string(),
                "start": source.start, "codes": [one.token_string() for one in codes],
                "fits": np.round(fits, 4).tolist(), "seconds": time.process_time() - spent,
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
