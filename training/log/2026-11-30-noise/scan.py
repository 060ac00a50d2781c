"""Phones that mixtures keep, and how near they are to the clean speech, on a suite.

python scan.py SUITE OUT [LONGEST [NAME,...]]

Cheap beside ``trial.py``, whose ``sounds`` it reads and makes: hama's log-likelihood of the words
for each phone, and SI-SDR; one line for each case in OUT/scan.jsonl. LONGEST: seconds (7).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mixes import MIXES
from stepedit_denoise import dsp
from stepedit_denoise.scorer import DenoiseScorer
from trial import finished, sounds_of

from stepedit_core import Case, Utterance
from stepedit_core.dsp import quality
from stepedit_core.dsp.phones import phone_likelihood


def main(suite: str, out: str, longest: str = "7", *names: str) -> None:
    """Append a line for each case."""
    wanted = names[0].split(",") if names else list(MIXES)
    place = Path(out)
    journal = place / "scan.jsonl"
    lines = journal.read_text("utf-8").splitlines() if journal.is_file() else []
    done = {json.loads(line)["id"] for line in lines}
    for line in (Path(suite) / "cases.jsonl").read_text("utf-8").splitlines():
        case = Case.model_validate_json(line)
        if case.id in done:
            continue
        clean = Utterance.read(case.audio, case.transcript, case.language)
        if clean.seconds > float(longest):
            continue
        prepared = DenoiseScorer().prepare(case, clean, np.random.default_rng([0, 0]))
        source, ideal = prepared.source, prepared.reference or prepared.source
        sounds = sounds_of(source, place / "sounds" / f"{case.id}.npz")
        cleaned = source.replace(samples=sounds["cleaned"].astype(np.float32))
        text = case.transcript or ""
        row: dict[str, Any] = {"id": case.id, "class": case.meta["class"]}
        row["speaker"] = case.meta["speaker"]
        row["phones"] = {name: phone_likelihood(one, text) for name, one in (("source", source),)}
        row["sdr"], row["removed"] = {}, {}
        for name in wanted:
            output = finished(source, cleaned, MIXES[name](sounds, source.sample_rate))
            row["phones"][name] = phone_likelihood(output, text)
            row["sdr"][name] = quality.si_sdr(*quality.aligned(ideal, output))
            row["removed"][name] = dsp._removed_db(sounds["cleaned"], output.samples)
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
