"""Add edits to a trained engine: to its language model, and to its decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.hyperyaml import read_hyperyaml
from stepedit_core.models.checkpoint.layout import DECODER_FOLDER, TOKENIZER_NAME
from stepedit_core.models.checkpoint.naming import ENGINE_FILE, languages_of, name_folder, named
from stepedit_core.storage.locking import sole_run
from stepedit_core.storage.pair_rows import count_rows, finished_shards
from stepedit_train.adding_input import base_folder, pair_folders
from stepedit_train.decoder.data import MelDataSettings, make_mel_data
from stepedit_train.decoder.export import MelExportSettings
from stepedit_train.decoder.mel.settings import MelSettings
from stepedit_train.decoder.mel.stage import CRITIC, READER, train_mel
from stepedit_train.decoder.pretrained import entry_in, read_decoder_of
from stepedit_train.decoder.store import read_target_maps
from stepedit_train.export import configuration, export_weights, newest_run, save_tensors
from stepedit_train.lm.replay import REPLAY
from stepedit_train.lm.sft import SftSettings
from stepedit_train.lm.store import load_examples
from stepedit_train.lm.training import copy_part, find_part
from stepedit_train.settings import apply_changes, check_settings, resolve_path

__all__ = ["add_to_decoder", "adding_settings"]

_DECODER_DEFAULTS: dict[str, Any] = {
    "steps": 1800,
    "budget": 50.0,
    "learning_rate": 4e-4,
    "final_learning_rate": 1e-5,
    "warmup": 40,
    "self_generated_reference": 0.25,
    "scramble_codes": 0.5,
    "checkpoint_minutes": 3.0,
    "validate_every": 300,
}
"""For the embedded model on a CPU."""
_NOT_OF_THESE_WEIGHTS = {"figures.json", "MODEL_CARD.md", "README.md", ENGINE_FILE}


def _part(base: Path, name: str) -> Path:
    """Return a folder of an engine, or refuse."""
    found = find_part(base, name)
    if found is None:
        raise StepeditError(f"{base}: has no {name} inside or beside it")
    return found.resolve()


def _decoder_settings(
    data: MelDataSettings, decoder: Path, out: Path, given: Iterable[str], replay: float
) -> MelSettings:
    """Return the settings of the run: sizes of the decoder, and labels that the pairs bring."""
    sizes = entry_in(decoder)
    for use in ("bounds", "label_weights"):
        sizes.pop(use, None)
    known = list(sizes.get("labels", ()))
    brought = {known.label for known in read_target_maps(data.out).values()} - {""}
    families = [path.name for path in data.pairs]
    settings = {
        **_DECODER_DEFAULTS,
        "data": data.out,
        "out": out,
        "weights": decoder,
        "distil_from": decoder,
        "no_reverse": families,
        "self_share": replay / 2,
        "other_share": replay / 2,
        "sizes": {**sizes, "labels": known + sorted(brought - set(known))},
    }
    apply_changes(settings, given)
    return check_settings(MelSettings, settings, "mel --edits")


def _write_engine(settings: MelSettings, base: Path, decoder: Path, folder: Path) -> str:
    """Write the engine folder: the new decoder, and copies of everything else."""
    inside = folder / DECODER_FOLDER
    inside.mkdir(parents=True, exist_ok=True)
    for path in sorted(base.iterdir()):
        is_named = path.name in _NOT_OF_THESE_WEIGHTS or path.name == DECODER_FOLDER
        if not is_named and not path.name.startswith("_"):
            copy_part(path, folder / path.name)
    copy_part(_part(base, TOKENIZER_NAME), folder / TOKENIZER_NAME)
    export = MelExportSettings(run=resolve_path(settings, settings.out), out=inside)
    own = _label_weights(decoder, inside, half=export.half)
    for path in sorted(decoder.iterdir()):
        if path.name not in ("cosyvoice.yaml", "flow.safetensors", "flow.pt", *own):
            copy_part(path, inside / path.name)
    found, content = newest_run(export, "mel")
    beside = (CRITIC, READER)
    line = export_weights(export, found, content, settings.sizes.build(), "flow", beside)
    entries = read_hyperyaml(decoder / "cosyvoice.yaml")
    flow = entries["flow"]
    arguments = {**flow.arguments, "labels": list(settings.sizes.labels)}
    entries["flow"] = replace(flow, arguments=arguments)
    write_atomically(inside / "cosyvoice.yaml", configuration(entries))
    name_folder(folder, folder.parent.name, named(base), languages_of(base))
    return line


def _label_weights(decoder: Path, inside: Path, *, half: bool) -> set[str]:
    """Write the weights of single labels whole, as what they shared changes; return their files.

    Vectors of labels are left out: there are more of them now, and these weights use none.
    """
    known = read_decoder_of(decoder)
    for label, name in known.label_weights.items():
        state = known.own[label].state_dict()
        kept = {part: one for part, one in state.items() if not part.startswith("labels.")}
        save_tensors(kept, inside / name, half=half)
    return set(known.label_weights.values())


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
    output before (`stepedit_train.decoder.mel.self_generated`).

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
    with sole_run(out):
        yield from make_mel_data(data)
        settings = _decoder_settings(data, decoder, out, given, replay)
        yield from train_mel(settings)
        yield _write_engine(settings, folder, decoder, out / "model")
    yield f"engine in {out / 'model'}"


_MODEL_DEFAULTS: dict[str, Any] = {
    "epochs": 6.0,
    "tokens": 3000,
    "max_tokens": 1200,
    "learning_rate": 4e-4,
    "final_learning_rate": 2e-5,
    "warmup": 20,
    "beta2": 0.98,
    "gradient_checkpointing": False,
    "dev_share": 0.04,
    "save_every": 250,
    "save_minutes": 5,
    "noise": {"replaced": 0.03, "masked": 0.03, "jittered": 0.05, "history": 0.05},
    "generation_eval": {"rows": 16, "every": 250},
}
"""For the embedded model on a CPU."""


def adding_settings(
    edits: Sequence[str],
    base: str,
    pairs: Path,
    out: Path,
    given: Iterable[str] = (),
    replay: float = 1.0,
) -> SftSettings:
    """Return the settings of a run that adds edits to a model.

    Rows without codes are encoded by the model's own audio tokenizer, and some rows of each new
    edit are held out for validation.

    Args:
        edits: registered names; the pairs of each are in a folder of that name.
        base: folder of the model, or ``embedded``.
        pairs: folder around the folders of `stepedit pairs`.
        out: folder of the run.
        given: changes to the defaults, ``name=value``.
        replay: rows of other edits for each row of the new ones.

    Raises:
        StepeditError: if an edit is unknown, pairs are missing, or the model brings no replay.
    """
    folder = base_folder(base)
    data: list[dict[str, Any]] = []
    rows = 0
    codes_by = find_part(folder, TOKENIZER_NAME)
    for path in pair_folders(edits, pairs):
        data.append({"path": path, "codes_by": codes_by, "validated": True})
        rows += count_rows(finished_shards(path))
    if replay > 0:
        path = folder / REPLAY
        if not path.is_file():
            raise StepeditError(
                f"{path} is missing: without rows of its own training the model would forget; "
                "write it with `stepedit train replay`, or say --replay 0"
            )
        known = len(load_examples(path)[0])
        data.append({"path": path, "share": replay * rows / known})
    settings = {**_MODEL_DEFAULTS, "model": folder, "out": out.resolve(), "data": data}
    apply_changes(settings, given)
    return check_settings(SftSettings, settings, "sft --edits")
