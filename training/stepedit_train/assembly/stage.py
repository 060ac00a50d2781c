"""The ``assemble`` and ``card`` stages: one engine folder from the newest parts, and its card."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stepedit_core.atomic import lasting_names
from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.layout import TOKENIZER_NAME
from stepedit_core.models.engine import Engine
from stepedit_core.models.tokenizer.audio_tokenizer import AudioTokenizer
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_train.assembly.card import CARD, write_card
from stepedit_train.assembly.collect import collect
from stepedit_train.assembly.settings import AssembleSettings
from stepedit_train.settings import resolve_path

__all__ = ["assemble", "code_agreement", "make_card"]

LISTED = 100_000
"""Bytes from which a file is worth a line."""
HEARD = 4
"""Packaged recordings that codes are compared on."""
_KEPT = (".py", ".typed")
"""What may lie in the engine folder besides the model: the code of the package around it."""


def _sizes(folder: Path) -> list[tuple[int, str]]:
    """Return bytes and name of every file of a model, the largest first."""
    found = [
        (path.stat().st_size, path.relative_to(folder).as_posix())
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in _KEPT and "__pycache__" not in path.parts
    ]
    return sorted(found, reverse=True)


def code_agreement(before: Path, after: Path) -> tuple[float, float]:
    """Return which part of linguistic and of semantic codes two tokenizer folders agree on.

    Both hear some of the recordings that ship with the package.
    """
    heard = [packaged_speech(name) for name in list(packaged())[:HEARD]]
    recordings = [(speech.samples, speech.sample_rate) for speech in heard]
    one, other = (
        AudioTokenizer.load(path, threads=1).encode(recordings) for path in (before, after)
    )
    shares = []
    for stream in ("linguistic", "semantic"):
        rows = [np.concatenate([getattr(c, stream) for c in codes]) for codes in (one, other)]
        shares.append(float((rows[0] == rows[1]).mean()))
    return shares[0], shares[1]


def _try(folder: Path) -> str:
    """Load the folder as users will, take one recording there and back, and say what it is.

    Raises:
        StepeditError: if it does not load, weights are not float32, or the audio is not finite.
    """
    engine = Engine.load(str(folder), device="cpu")
    parts = engine.parts
    networks = {
        "language model": parts.model,
        "flow": parts.decoder.flow,
        "vocoder": parts.decoder.vocoder,
        "linguistic encoder": getattr(parts.tokenizer.linguistic, "encoder", None),
        "speaker encoder": parts.reference.speaker,
    }
    counts = []
    for name, network in networks.items():
        if not isinstance(network, nn.Module):
            continue
        wrong = {p.dtype for p in network.parameters()} - {torch.float32}
        if wrong:
            raise StepeditError(f"{folder}: the {name} is loaded as {wrong.pop()}, not as float32")
        counts.append(f"{name} {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M")
    speech = packaged_speech(next(iter(packaged())))
    (again,) = engine.reconstruct(speech)
    if not np.isfinite(again.samples).all() or not len(again.samples):
        raise StepeditError(f"{folder}: decoding gives audio that is empty or not finite")
    return ", ".join(counts)


def _refuse_foreign(out: Path) -> None:
    """Refuse to replace a folder that no earlier call has made."""
    if not out.is_dir():
        return
    names = lasting_names(out) - {"__pycache__"}
    if any(Path(name).suffix not in _KEPT for name in names) and not (out / CARD).is_file():
        raise StepeditError(f"{out} holds other files than a model made here; choose another out")


def _replace(made: Path, out: Path) -> None:
    """Put a finished folder in the place of an older model; code beside it stays.

    The card is there all the time, so that a call that was cut can be given again.
    """
    out.mkdir(parents=True, exist_ok=True)
    os.replace(made / CARD, out / CARD)
    for path in out.iterdir():
        if path.suffix in _KEPT or path.name in ("__pycache__", CARD):
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in made.iterdir():
        shutil.move(str(path), str(out / path.name))


def assemble(settings: AssembleSettings) -> Iterator[str]:
    """Make the engine folder, try it, and put it in its place; an older one stays until then.

    Raises:
        StepeditError: if a part is missing, the folder is too large, or it does not load.
    """
    out = resolve_path(settings, settings.out)
    _refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as place:
        made = Path(place) / out.name
        made.mkdir()
        collect(settings, made)
        sizes = _sizes(made)
        total = sum(size for size, _ in sizes)
        yield from (f"{size / 1e6:7.2f} MB  {name}" for size, name in sizes if size > LISTED)
        if total > settings.max_bytes:
            raise StepeditError(
                f"{total / 1e6:.1f} MB are more than {settings.max_bytes / 1e6:.1f} MB; store more "
                "parts as float16 (half), or take smaller ones"
            )
        yield f"{total / 1e6:7.2f} MB  together"
        yield f"loads: {_try(made)}"
        before = resolve_path(settings, settings.tokenizer)
        linguistic, semantic = code_agreement(before, made / TOKENIZER_NAME)
        yield (
            f"codes as before storing: {linguistic:.2%} of the linguistic, {semantic:.2%} of the "
            "semantic ones"
        )
        yield from write_card(settings, made)
        _replace(made, out)
    yield f"made {out}"


def make_card(settings: AssembleSettings) -> Iterator[str]:
    """Write figures, routes and card anew into an assembled folder, and the README's table.

    Raises:
        StepeditError: if there is no assembled folder.
    """
    out = resolve_path(settings, settings.out)
    if not (out / CARD).is_file():
        raise StepeditError(f"{out} holds no model; run `stepedit train assemble` first")
    yield from write_card(settings, out)
    yield f"wrote {out / CARD}"
