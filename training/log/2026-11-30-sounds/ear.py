"""Teach the plugin's ear, or keep the pairs whose sound it still hears after the decoder.

python ear.py teach SPEECH.jsonl FOLDER EAR.safetensors     # FOLDER of sounds.py
python ear.py keep FOLDER OUT.npz                           # by the ear that the plugin has
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file
from stepedit_paralinguistic.ear import KINDS, kind_of, log_mels, log_probabilities
from stepedit_train.lm.store import load_examples, save_examples
from torch import Tensor, nn

from stepedit_core.dsp.loudness import active_level
from stepedit_core.registry.corpora import find_reader
from stepedit_core.utterance import Span

Mels = npt.NDArray[np.float32]
SPEECH, EPOCHS, ROWS, WIDTH = 233, 25, 64, 48


class Ear(nn.Module):
    """What `stepedit_paralinguistic.ear` computes, to be taught."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(40, WIDTH, 5, padding=2)
        self.b = nn.Conv1d(WIDTH, WIDTH, 5, padding=2)
        self.c = nn.Conv1d(WIDTH, WIDTH, 5, padding=4, dilation=2)
        self.out = nn.Linear(2 * WIDTH, len(KINDS))
        self.drop = nn.Dropout(0.3)

    def forward(self, mels: Tensor, mask: Tensor) -> Tensor:
        """Return scores of the kinds; mask is 1 where there are frames."""
        there = mask[:, None]
        for layer in (self.a, self.b, self.c):
            mels = torch.relu(layer(mels)) * there
        mean = mels.sum(-1) / there.sum(-1).clamp(min=1)
        scores: Tensor = self.out(self.drop(torch.cat([mean, mels.amax(-1)], 1)))
        return scores


def rows_of(folder: Path) -> Iterator[tuple[Path, dict[str, Any], Any, int]]:
    """Yield the shards' rows with their mels and places."""
    for path in sorted(folder.glob("*.jsonl")):
        mels = np.load(path.with_suffix(".mels.npz"))
        for place, line in enumerate(path.read_text().splitlines()):
            yield path, json.loads(line), mels, place


def speech(manifest: Path) -> list[Mels]:
    """Return stretches of speech, three of each of some recordings."""
    items = list(find_reader(manifest, None).items(manifest))
    rng = np.random.default_rng(0)
    found = []
    for at in rng.permutation(len(items))[:SPEECH]:
        recording = items[at].read()
        level = active_level(recording)
        for _ in range(0 if level is None else 3):
            length = float(rng.uniform(0.3, 1.4))
            start = float(rng.uniform(0, max(0.01, recording.seconds - length)))
            linear = 10 ** ((level or 0.0) / 20)
            found.append(log_mels(recording, Span(start, start + length), linear))
    return found


def _changed(mels: Mels, rng: np.random.Generator) -> Mels:
    """Return mels of another level and colour, half of the time a part of them."""
    if len(mels) > 14 and rng.random() < 0.5:
        length = int(rng.integers(max(12, len(mels) * 2 // 3), len(mels) + 1))
        start = int(rng.integers(0, len(mels) - length + 1))
        mels = mels[start : start + length]
    tilt = np.linspace(-1, 1, 40) * rng.normal(0, 2)
    noise = rng.normal(0, 1.5, mels.shape)
    return np.asarray(mels + rng.normal(0, 2) + noise + tilt, np.float32)


def _batch(rows: Sequence[Mels]) -> tuple[Tensor, Tensor]:
    frames = max(8, *map(len, rows))
    mels = torch.full((len(rows), 40, frames), -55 / 20 + 1.0)
    mask = torch.zeros(len(rows), frames)
    for at, row in enumerate(rows):
        scaled = np.clip(row, -55, 15) / 20 + 1.0
        mels[at, :, : len(row)] = torch.from_numpy(np.asarray(scaled, np.float32)).T
        mask[at, : len(row)] = 1
    return mels, mask


def teach(manifest: Path, folder: Path, out: Path) -> None:
    """Teach with sounds as they are before the decoder."""
    rows = [(mels[f"t{at}"].astype(np.float32), kind_of(row["tag"]))
            for _, row, mels, at in rows_of(folder)]  # fmt: skip
    rows += [(mels, "speech") for mels in speech(manifest)]
    kinds = np.array([KINDS.index(kind) for _, kind in rows])
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    ear = Ear()
    weight = torch.tensor(1 / np.maximum(1, np.bincount(kinds, minlength=len(KINDS))))
    weight = (weight / weight.sum() * len(KINDS)).float()
    optimizer = torch.optim.AdamW(ear.parameters(), 2e-3, weight_decay=0.05)
    steps = EPOCHS * (len(rows) // ROWS + 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        order = rng.permutation(len(rows))
        for begin in range(0, len(order), ROWS):
            chosen = order[begin : begin + ROWS]
            scores = ear(*_batch([_changed(rows[at][0], rng) for at in chosen]))
            wanted = torch.from_numpy(kinds[chosen])
            loss = nn.functional.cross_entropy(scores, wanted, weight, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    save_file({name: one.numpy().astype(np.float16) for name, one in ear.state_dict().items()}, out)


def keep(folder: Path, out: Path) -> None:
    """Write the examples whose decoded sound is heard as its kind."""
    shards: dict[Path, Any] = {}
    kept, why = [], Counter[str]()
    for path, row, mels, at in rows_of(folder):
        if path not in shards:
            shards[path], _ = load_examples(path.with_suffix(".npz"))
        heard = log_probabilities(mels[f"a{at}"].astype(np.float32))
        if KINDS[int(heard.argmax())] == kind_of(row["tag"]):
            kept.append(shards[path][at])
        else:
            why["not heard after decoding"] += 1
    save_examples(out, kept, why)
    print(len(kept), dict(why))


if __name__ == "__main__":
    paths = [Path(one) for one in sys.argv[2:]]
    {"teach": teach, "keep": keep}[sys.argv[1]](*paths)
