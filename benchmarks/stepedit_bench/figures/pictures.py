"""Spectrograms of source, target and output side by side, with the recordings beside them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stepedit_bench.figures.families import Item
from stepedit_bench.figures.heldout import KINDS
from stepedit_bench.figures.running import Run
from stepedit_bench.measuring.extras import need
from stepedit_core.atomic import write_atomically
from stepedit_core.utterance import Utterance

__all__ = ["draw_rows"]

RATE, WINDOW, HOP = 16_000, 512, 160
_RANGE_DB = 70.0
_COLUMNS = ("source", "target", "identity", "llm")


def draw_rows(run: Run) -> list[Path]:
    """Write a picture and WAV files for each row, of one real and one synthetic utterance."""
    written = []
    for row in dict.fromkeys(item.row for item in run.items):
        examples = []
        for kind in KINDS:
            own = [item for item in run.items if item.row == row and item.held.kind == kind]
            fine = [item for item in own if _is_fine(run, item)]
            if fine:
                examples.append((fine[0], _recordings(run, fine[0])))
        if examples:
            folder = run.folder / "pictures"
            for item, recordings in examples:
                _write_wavs(folder, item, recordings)
            write_atomically(folder / f"{row}.png", _picture(examples))
            written.append(folder / f"{row}.png")
    return written


def _is_fine(run: Run, item: Item) -> bool:
    """Say whether an item's source and the engine's output are there."""
    lines = run.lines[item.id]
    wanted = "llm" if item.edits else "identity"
    there = [lines.get(name) for name in ("original", wanted)]
    return all(line is not None and not line.get("problem") for line in there)


def _recordings(run: Run, item: Item) -> dict[str, Utterance]:
    """Return the recordings of an item by column, where there are any.

    The target is the recording that the output should be like: the clean one under noise, the
    same voice saying the words asked for, and otherwise what signal processing makes.
    """
    maker, lines = run.maker, run.lines[item.id]
    found = {"source": maker.prepared(item).source}
    prepared = maker.prepared(item)
    target = item.target or prepared.reference
    if target is None and _there(lines, "dsp"):
        target = maker.make("dsp", [item])[0].steps[-1]
    if target is not None:
        found["target"] = target
    for name in ("identity", "llm"):
        if _there(lines, name):
            found[name] = maker.make(name, [item])[0].steps[-1]
    return found


def _there(lines: Mapping[str, Mapping[str, object]], condition: str) -> bool:
    return condition in lines and not lines[condition].get("problem")


def _write_wavs(folder: Path, item: Item, recordings: Mapping[str, Utterance]) -> None:
    for column, speech in recordings.items():
        speech.write(folder / f"{item.row}-{item.held.kind}-{column}.wav", subtype="PCM_16")


def spectrogram(speech: Utterance) -> npt.NDArray[np.float64]:
    """Return the power spectrogram in dB below its peak, shape ``(257, frames)``, 0..8 kHz."""
    from scipy.signal import stft

    samples = speech.resample(RATE).samples
    _, _, bins = stft(samples, RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)
    power = 20 * np.log10(np.maximum(np.abs(bins), 1e-8))
    return np.asarray(power - power.max(), dtype=np.float64)


def _picture(examples: Sequence[tuple[Item, Mapping[str, Utterance]]]) -> bytes:
    """Return a PNG: one line of panels for each example, one time scale for all."""
    module = need("matplotlib.figure", "matplotlib", "the pictures of the figures")
    figure = module.Figure(figsize=(3.2 * len(_COLUMNS), 2.4 * len(examples)), layout="constrained")
    axes = figure.subplots(len(examples), len(_COLUMNS), squeeze=False, sharey=True)
    longest = max(speech.seconds for _, all_of in examples for speech in all_of.values())
    for line, (item, recordings) in zip(axes, examples, strict=True):
        for panel, column in zip(line, _COLUMNS, strict=True):
            panel.set_xlim(0, longest)
            panel.set_title(f"{column} ({item.held.kind})", fontsize=8)
            panel.tick_params(labelsize=7)
            if column in recordings:
                speech = recordings[column]
                panel.imshow(
                    spectrogram(speech),
                    origin="lower",
                    aspect="auto",
                    extent=(0, speech.seconds, 0, RATE / 2000),
                    vmin=-_RANGE_DB,
                    vmax=0,
                    cmap="magma",
                )
            else:
                panel.text(0.5, 0.5, "none", transform=panel.transAxes, ha="center", fontsize=8)
        asked = ", ".join(map(str, item.edits)) or "tokenize, decode"
        line[0].set_ylabel("kHz", fontsize=8)
        line[0].set_xlabel(f"{asked[:90]}", fontsize=7, loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
