"""Compare two runs of clones by what a phone recogniser hears of them.

python phones.py BEFORE AFTER

BEFORE and AFTER are folders of ``stepedit bench figures --rows clone``. Phones by hama's CTC,
against the phones of the text as hama spells them; neither run was chosen by it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.phones import (
    log_likelihoods,
    phone_posteriors,
    phone_scores,
    phone_signs,
    spelled_phones,
)
from stepedit_core.dsp.words import split_words


def clones(folder: str) -> dict[str, tuple[dict[str, Any], Path]]:
    """Return the rows of edited clones by case, and where their sound is."""
    found = {}
    for journal in Path(folder).glob("engines/*/journal.jsonl"):
        for line in journal.read_text(encoding="utf-8").splitlines():
            for row in json.loads(line)["rows"]:
                if row["name"] == "clone" and row.get("condition") != "source":
                    found[row["case"]] = row, journal.parent / row["audio"]
    return found


def heard(sound: Path, wanted: Sequence[int]) -> tuple[int, float]:
    """Return how many phones are heard otherwise, and the log likelihood of each that is wanted."""
    signs, blank = phone_signs()
    utterance = Utterance.read(sound)
    best = phone_posteriors(utterance).argmax(1).tolist()
    kept = [a for a, b in zip(best, [blank, *best[:-1]], strict=True) if a not in (b, blank)]
    said = [signs[one] for one in kept if signs[one] not in (" ", "|")]
    found = jiwer.process_words(" ".join(signs[one] for one in wanted), " ".join(said))
    errors = found.substitutions + found.deletions + found.insertions
    scores, _ = phone_scores(utterance)
    return errors, float(log_likelihoods(scores, [list(wanted)])[0]) / len(wanted)


def interval(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> str:
    """Return 95 % of means over requests drawn again."""
    draws = np.random.default_rng(0).integers(len(values), size=(4000, len(values)))
    means = [np.average(values[at], weights=weights[at]) for at in draws]
    return "{:+.3f} to {:+.3f}".format(*np.quantile(means, (0.025, 0.975)))


def main(before: str, after: str) -> None:
    """Print a line for each length, and one for all."""
    old, new = clones(before), clones(after)
    rows = []
    for case in sorted(old.keys() & new.keys()):
        row, sound = new[case]
        wanted = [
            one for word in split_words(row["request"]["text"]) for one in spelled_phones(word.text)
        ]
        rows.append((row["length"], len(wanted), heard(old[case][1], wanted), heard(sound, wanted)))
    for length in (*dict.fromkeys(row[0] for row in rows), None):
        own = [row for row in rows if length in (None, row[0])]
        weights = np.array([row[1] for row in own], float)
        errors = np.array([[row[2][0], row[3][0]] for row in own]) / weights[:, None]
        nats = np.array([[row[2][1], row[3][1]] for row in own])
        was, now = np.average(errors, axis=0, weights=weights)
        change = interval(errors[:, 1] - errors[:, 0], weights)
        print(
            f"{length or 'all'}, n={len(own)}: phone error {was:.3f} -> {now:.3f} ({change})",
            end="",
        )
        change = interval(nats[:, 1] - nats[:, 0], np.ones(len(own)))
        print(f", nats a phone {nats[:, 0].mean():.3f} -> {nats[:, 1].mean():.3f} ({change})")


if __name__ == "__main__":
    main(*sys.argv[1:])
