"""Decode the codes of recorded sounds under other labels of the decoder, and rate the outcomes.

python labels.py MANIFEST OUT.jsonl REQUESTS TAG[,TAG] LABEL[,LABEL]
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import WithCodes, rated, requests

from stepedit_core.codes import splice_codes
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.llm_route.planning import inserted_groups
from stepedit_core.models.engine import Engine
from stepedit_core.plan import Insertion


def main(manifest: str, out: str, most: str, tags: str, names: str) -> None:
    """Write a line for each request, and how many of each tag and label are rated 3."""
    torch.set_num_threads(1)
    engine = Engine.load(device="cpu")
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    with Path(out).open("w") as file:
        for asked in requests(Path(manifest), int(most), tuple(tags.split(","))):
            rendered = asked.edit.render(asked.source, np.random.default_rng(3))
            (report,) = rendered.details["events"]
            own, codes = engine.encode([asked.source, rendered.utterance])
            grown = rendered.utterance.seconds - asked.source.seconds
            part = inserted_groups([Insertion(report["at"], grown)], own)[0]
            part = dataclasses.replace(part, length=min(part.length, codes.groups - part.start))
            full = splice_codes(own, dataclasses.replace(codes, start=0.0), (part,))
            plan = asked.plan.but(insertions=(Insertion(report["at"], 0.12 * (part.length - 1)),))
            labels = ["", *(f"paralinguistic:{one}" for one in (asked.tag, *names.split(",")))]
            given: Any = WithCodes(engine, [full] * len(labels))
            outcomes = apply_by_llm(
                [asked.edit] * len(labels),
                [asked.source] * len(labels),
                given,
                [0] * len(labels),
                plans=[plan.but(label=label) for label in labels],
            )
            heard = {"signal processing": rated(asked, rendered.utterance)}
            for label, outcome in zip(labels, outcomes, strict=True):
                heard[label or "no label"] = rated(asked, outcome.utterance)
            for label, one in heard.items():
                found[asked.tag, label].append(one["ok"])
            file.write(json.dumps({"tag": asked.tag, "item": asked.item.id, "by": heard}) + "\n")
    for (tag, label), own_found in found.items():
        print(f"{tag:12} {label:24} {sum(own_found)} of {len(own_found)}")


if __name__ == "__main__":
    main(*sys.argv[1:6])
