"""Measure mixtures of networks on a suite, one row for each, once and for all.

python trial.py SUITE OUT [NAME,...]

SUITE has cases.jsonl of ``suite.py``. OUT gets ``sounds/ID.npz`` (the input, without clicks and
hum, and what each network leaves of it) and ``rows.jsonl``; what is there is not made again. NAME:
of ``mixes.MIXES``, or edits with parameters (``denoise:backend=rnnoise``), which are joined by
semicolons. Words by Whisper tiny.en, DNSMOS of one window; of mixtures phones, too, by hama.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mixes import MIXES
from stepedit_bench import preservation
from stepedit_bench.measuring import MeasureConfig, StandardMeasures
from stepedit_bench.rows import joint
from stepedit_denoise import dsp
from stepedit_denoise.scorer import DenoiseScorer

from stepedit_core import Case, Utterance
from stepedit_core.chain.notation import parse_edit
from stepedit_core.dsp import quality
from stepedit_core.dsp.enhancement import enhanced_by_net
from stepedit_core.dsp.phones import phone_likelihood
from stepedit_core.scoring import Prepared

Row = dict[str, Any]
NETS = ("rnnoise", "deepfilternet")


def no_measure(*_: object) -> None:
    """Stand for STOI and PESQ, which decide nothing here and take a second each."""


def sounds_of(source: Utterance, path: Path) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the recording without clicks and hum, and what networks leave; read where kept."""
    if not path.is_file():
        cleaned, _ = dsp._without_clicks_and_hum(source)
        made = {"source": source.samples, "cleaned": cleaned.samples}
        for net in NETS:
            made[net] = enhanced_by_net(cleaned, net).astype(np.float32)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".part.npz"), **made)
        path.with_suffix(".part.npz").rename(path)
    with np.load(path) as kept:
        return {name: kept[name].astype(np.float64) for name in kept.files}


def finished(source: Utterance, cleaned: Utterance, mixed: Any) -> Utterance:
    """Give the mixture its level back, as the edit does."""
    made = cleaned.replace(samples=mixed.astype(np.float32))
    gain = np.float32(dsp._lost_level(cleaned, made))
    before = source.samples.astype(np.float64)
    return source.replace(samples=dsp._limited(made.samples * gain, before))


def measured(
    output: Utterance, prepared: Prepared, case: Case, measures: StandardMeasures, yard: Row
) -> Row:
    """Return what scorer and benchmark say of an output."""
    source, ideal = prepared.source, prepared.reference
    score = DenoiseScorer().score(case, prepared, output, measures)
    kept = preservation.measure(output, source, case.transcript, measures, ideal)
    checks = preservation.check(
        kept, yard["source"], None, reference=yard.get("ideal"), same_duration=True
    )
    preserved = preservation.verdict(checks)
    return {
        "joint": joint(score.reached, preserved),
        "reached": score.reached,
        "preserved": preserved,
        "checks": checks,
        "values": dict(score.values),
        "kept": kept.to_data(),
    }


def main(suite: str, out: str, *names: str) -> None:
    """Append a row for each mixture of each case."""
    quality.stoi = quality.pesq = no_measure  # type: ignore[assignment]
    by = ";" if names and ":" in names[0] else ","
    wanted = names[0].split(by) if names else list(MIXES)
    place = Path(out)
    place.mkdir(parents=True, exist_ok=True)
    journal = place / "rows.jsonl"
    lines = journal.read_text("utf-8").splitlines() if journal.is_file() else []
    done = {(row["id"], row["mix"]) for row in map(json.loads, lines)}
    measures = StandardMeasures(MeasureConfig(asr="tiny.en", dnsmos="one"), folder=place / "cache")
    for line in (Path(suite) / "cases.jsonl").read_text("utf-8").splitlines():
        case = Case.model_validate_json(line)
        if all((case.id, name) in done for name in ("source", *wanted)):
            continue
        clean = Utterance.read(case.audio, case.transcript, case.language)
        prepared = DenoiseScorer().prepare(case, clean, np.random.default_rng([0, 0]))
        source, ideal = prepared.source, prepared.reference
        yard: Row = {
            "source": preservation.measure(source, source, case.transcript, measures, ideal)
        }
        if ideal is not None:
            yard["ideal"] = preservation.measure(ideal, ideal, case.transcript, measures)
        facts = {"id": case.id, "class": case.meta["class"], "speaker": case.meta["speaker"]}
        for name in ("source", *wanted):
            if (case.id, name) in done:
                continue
            if name == "source":
                row: Row = {who: said.to_data() for who, said in yard.items()}
                if wanted[0] in MIXES:
                    row["phones"] = phone_likelihood(source, case.transcript or "")
            else:
                if name in MIXES:
                    sounds = sounds_of(source, place / "sounds" / f"{case.id}.npz")
                    cleaned = source.replace(samples=sounds["cleaned"].astype(np.float32))
                    mixed = MIXES[name](sounds, source.sample_rate)
                    output, made = finished(source, cleaned, mixed), {}
                else:
                    rendered = parse_edit(name).render(source, np.random.default_rng(0))
                    output, made = rendered.utterance, dict(rendered.details)
                row = {"details": made} | measured(output, prepared, case, measures, yard)
                if name in MIXES:
                    row["phones"] = phone_likelihood(output, case.transcript or "")
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**facts, "mix": name, **row}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
