"""Teach the mel decoder of an engine further edits: from their pairs, and its own output before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.hyperyaml import read_hyperyaml
from stepedit_core.models.checkpoint.layout import DECODER_FOLDER, TOKENIZER_NAME
from stepedit_train.exporting import configuration, export_weights, newest_run
from stepedit_train.language_model import find_part, link_to
from stepedit_train.mel.data import MelDataSettings, make_mel_data
from stepedit_train.mel.export import MelExportSettings
from stepedit_train.mel.origins import read_origins
from stepedit_train.mel.settings import MelSettings
from stepedit_train.mel.stage import CRITIC, train_mel
from stepedit_train.mel.start import entry_in
from stepedit_train.settings import apply_changes, check_settings, resolve_path
from stepedit_train.sft.adding import base_folder, pair_folders

__all__ = ["add_to_decoder"]

_DEFAULTS: dict[str, Any] = {
    "steps": 1800,
    "budget": 50.0,
    "learning_rate": 4e-4,
    "final_learning_rate": 1e-5,
    "warmup": 40,
    "echo": 0.25,
    "mislead": 0.5,
    "checkpoint_minutes": 3.0,
    "validate_every": 300,
    "keep": True,
}
"""For the embedded model on a CPU."""
_NOT_OF_THESE_WEIGHTS = {"figures.json", "routes.json", "MODEL_CARD.md", "README.md"}


def _part(base: Path, name: str) -> Path:
    """Return a folder of an engine, or refuse."""
    found = find_part(base, name)
    if found is None:
        raise StepeditError(f"{base}: has no {name} inside or beside it")
    return found.resolve()


def _settings(
    data: MelDataSettings, decoder: Path, out: Path, given: Iterable[str], replay: float
) -> MelSettings:
    """Return the settings of the run: sizes of the decoder, and labels that the pairs bring."""
    sizes = entry_in(decoder)
    sizes.pop("bounds", None)
    known = list(sizes.get("labels", ()))
    brought = {told.label for told in read_origins(data.out).values()} - {""}
    families = [path.name for path in data.pairs]
    settings = {
        **_DEFAULTS,
        "data": data.out,
        "out": out,
        "weights": decoder,
        "one_way": families,
        "self_share": replay / 2,
        "other_share": replay / 2,
        "sizes": {**sizes, "labels": known + sorted(brought - set(known))},
    }
    apply_changes(settings, given)
    return check_settings(MelSettings, settings, "mel --edits")


def _write_engine(settings: MelSettings, base: Path, decoder: Path, folder: Path) -> str:
    """Write the engine folder: the new decoder, and links to everything else."""
    inside = folder / DECODER_FOLDER
    inside.mkdir(parents=True, exist_ok=True)
    for path in sorted(base.iterdir()):
        is_named = path.name in _NOT_OF_THESE_WEIGHTS or path.name == DECODER_FOLDER
        if not is_named and not path.name.startswith("_"):
            link_to(path, folder / path.name)
    link_to(_part(base, TOKENIZER_NAME), folder / TOKENIZER_NAME)
    for path in sorted(decoder.iterdir()):
        if path.name not in ("cosyvoice.yaml", "flow.safetensors", "flow.pt"):
            link_to(path, inside / path.name)
    export = MelExportSettings(run=resolve_path(settings, settings.out), out=inside)
    found, content = newest_run(export, "mel")
    line = export_weights(export, found, content, settings.sizes.build(), "flow", CRITIC)
    entries = read_hyperyaml(decoder / "cosyvoice.yaml")
    flow = entries["flow"]
    arguments = {**flow.arguments, "labels": list(settings.sizes.labels)}
    entries["flow"] = replace(flow, arguments=arguments)
    write_atomically(inside / "cosyvoice.yaml", configuration(entries).encode())
    return line


def add_to_decoder(
    edits: Sequence[str],
    base: str,
    pairs: Path,
    out: Path,
    given: Iterable[str] = (),
    replay: float = 1.0,
) -> Iterator[str]:
    """Teach it, or go on, and write ``out/model``, an engine folder; yield lines of what was done.

    The decoder gets a label for each new edit (`Plan.label`), and from then on it is told the
    places of an edit of even pace, too. What it does of all other edits is held to its own
    output before (`stepedit_train.mel.keeping`).

    Args:
        edits: registered names; the pairs of each are in a folder of that name.
        base: engine folder with a decoder of the mel stage, or ``embedded``.
        pairs: folder around the folders of `stepedit pairs`; rows without codes are encoded.
        out: folder of the run.
        given: changes to the defaults, ``name=value``.
        replay: recordings that are no edits, for each pair.

    Raises:
        StepeditError: if an edit is unknown, pairs are missing, or the decoder is of another kind.
    """
    folder, out = base_folder(base), out.resolve()
    decoder = _part(folder, DECODER_FOLDER)
    entry_in(decoder)
    data = MelDataSettings(
        tokenizer=_part(folder, TOKENIZER_NAME),
        out=out / "data",
        pairs=tuple(pair_folders(edits, pairs)),
        speaker=decoder,
    )
    yield from make_mel_data(data)
    settings = _settings(data, decoder, out, given, replay)
    yield from train_mel(settings)
    yield _write_engine(settings, folder, decoder, out / "model")
    yield f"engine in {out / 'model'}"
