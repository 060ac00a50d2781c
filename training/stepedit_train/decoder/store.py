"""The mel store: token rows and mels of utterances, in blocks.

It also records where the targets of pairs lie in their sources, as the engine knows it of an edit:
the position of each code, where the edit goes through its source at a uniform tempo or puts
something into it, and the edit's label. Pairs say as much: the starts of both sides' codes, both
durations, and what the builder noted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.codes import GROUP_SECONDS
from stepedit_core.errors import StepeditError, UnknownEditError
from stepedit_core.llm_route.source_map import Pairs, positions_at
from stepedit_core.storage.pair_rows import read_rows, row_details, row_edit
from stepedit_core.utterance import Utterance

__all__ = [
    "MelStore",
    "Spoken",
    "TargetMap",
    "read_target_maps",
    "store_path",
    "target_maps_path",
    "write_store",
    "write_target_maps",
]

Array = npt.NDArray[Any]
SPEAKERS = "speakers.safetensors"

_COLUMNS = [
    "id",
    "edit_json",
    "details",
    "source_start",
    "target_start",
    "source_seconds",
    "target_seconds",
]


@dataclass(frozen=True)
class Spoken:
    """One utterance of the store.

    Attributes:
        id: unique in its block.
        speaker: identity of the speaker.
        split: ``train`` or ``dev``.
        family: edit that the utterance belongs to, or empty for a plain recording.
        role: ``plain``, ``source`` or ``target``.
        rows: token rows (40 ms each).
        start: second at which the codes begin; None in stores that do not say it.
    """

    id: str
    speaker: str
    split: str
    family: str
    role: str
    rows: int
    start: float | None = None


def store_path(folder: Path, name: str) -> Path:
    """Return the file of a block."""
    return folder / "blocks" / f"{name}.safetensors"


def write_store(path: Path, items: Sequence[Spoken], tensors: Mapping[str, Array]) -> None:
    """Write a block; its name appears when the file is complete."""
    facts = json.dumps([asdict(item) for item in items], ensure_ascii=False)
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    replace_file(path, lambda partial: save_file(arrays, partial, {"items": facts}))


class MelStore:
    """Read a store; arrays stay on disk until they are asked for.

    Args:
        folder: of the store.

    Raises:
        StepeditError: if it has no block.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items: list[Spoken] = []
        self._places: list[tuple[Any, int]] = []
        for path in sorted((folder / "blocks").glob("*.safetensors")):
            file: Any = safe_open(path, framework="numpy")
            for row, item in enumerate(_items(file)):
                self.items.append(item)
                self._places.append((file, row))
        if not self.items or not (folder / SPEAKERS).is_file():
            raise StepeditError(f"{folder}: is not complete; run `stepedit train mel-data` first")
        self._target_maps = read_target_maps(folder)
        self._speakers: Any = safe_open(folder / SPEAKERS, framework="numpy")

    @property
    def names(self) -> list[str]:
        """Names that tell this store from others."""
        return [f"{item.family}/{item.role}/{item.id}" for item in self.items]

    def _read(self, index: int, name: str) -> Array:
        file, row = self._places[index]
        array: Array = file.get_tensor(f"{row}.{name}")
        return array

    def rows(self, index: int) -> npt.NDArray[np.int64]:
        """Return token rows, int64, shape ``(n, 2)``."""
        return self._read(index, "rows").astype(np.int64)

    def mel(self, index: int) -> npt.NDArray[np.float32]:
        """Return the log-mel spectrogram on the rows' grid, float32, shape ``(2 * n, bins)``."""
        return self._read(index, "mel").astype(np.float32)

    def target_map(self, index: int) -> TargetMap | None:
        """Return the places of a target in its source; None for other utterances."""
        item = self.items[index]
        return self._target_maps.get((item.family, item.id)) if item.role == "target" else None

    def speakers(self, speaker: str) -> npt.NDArray[np.float32]:
        """Return the vectors of a speaker's recordings, float32, shape ``(k, size)``."""
        vectors: npt.NDArray[np.float32] = self._speakers.get_tensor(speaker).astype(np.float32)
        return vectors


class TargetMap(NamedTuple):
    """Places of a target in its source; see `positions_at`.

    Attributes:
        label: as `Plan.label` names it.
        rate_changes: changes of tempo; empty: positions are not known.
        inserted: what is put in.
        offset: source groups by which the target's codes begin late.
    """

    label: str
    rate_changes: Pairs = ()
    inserted: Pairs = ()
    offset: float = 0.0

    def places(self, rows: int) -> npt.NDArray[np.float32] | None:
        """Return the source rows of a target's ``rows``, or None where they are not known."""
        if not self.rate_changes:
            return None
        return positions_at(rows, self.rate_changes, self.inserted, self.offset)

    def labelled(self, rows: int) -> npt.NDArray[np.bool_]:
        """Return to which rows the label belongs: to what is put in, or to all."""
        places = self.places(rows) if self.inserted else None
        return np.ones(rows, dtype=bool) if places is None else np.isnan(places)


def _stand_in(seconds: float | None) -> Utterance:
    """Return silence for a source whose sound is not at hand: label and tempo do without."""
    return Utterance(np.zeros(max(1, round(8_000 * (seconds or 1.0))), np.float32), 8_000)


def _target_map(row: Mapping[str, Any], source_start: float | None) -> TargetMap:
    try:
        edit = row_edit(row)
    except UnknownEditError:  # its plugin is not at hand: nothing is known of it
        return TargetMap("")
    plan = edit.plan(_stand_in(row["source_seconds"]))
    label, target_start = plan.label, row["target_start"]
    source, target = row["source_seconds"], row["target_seconds"]
    if source_start is None or target_start is None or not source or not target:
        return TargetMap(label)
    if plan.uniform_tempo:
        pace = source / target
        late = (pace * target_start - source_start) / GROUP_SECONDS
        return TargetMap(label, ((0.0, pace),), (), late)
    at = row_details(row).get("at")
    added = (target - source) / GROUP_SECONDS
    if at is None or added <= 0:
        return TargetMap(label)
    begin = (at - target_start) / GROUP_SECONDS
    changes = ((0.0, 1.0), (begin, -1.0), (begin + added, 1.0))
    return TargetMap(
        label, changes, ((begin, added),), (target_start - source_start) / GROUP_SECONDS
    )


def target_maps_path(folder: Path, family: str) -> Path:
    """Return the file of a store that holds what is known of a family's targets."""
    return folder / "origins" / f"{family}.json"


def write_target_maps(folder: Path, pairs: Path) -> int:
    """Write what is known of the targets of a run of `stepedit pairs`; return how many.

    Sources of the store whose codes begin at another second than those of the pairs are taken as
    they are stored.
    """
    maps: dict[str, TargetMap] = {}
    stored = _stored_starts(folder, pairs.name)
    for row in read_rows(pairs, _COLUMNS):
        maps[row["id"]] = _target_map(row, stored.get(row["id"], row["source_start"]))
    content = json.dumps({key: list(value) for key, value in maps.items()})
    write_atomically(target_maps_path(folder, pairs.name), content)
    return len(maps)


def _stored_starts(folder: Path, family: str) -> dict[str, float]:
    """Return where the codes of a family's stored sources begin, by id, as far as it is said."""
    found: dict[str, float] = {}
    for path in sorted((folder / "blocks").glob("*.safetensors")):
        for one in _items(safe_open(path, framework="numpy")):
            if (one.family, one.role) == (family, "source") and one.start is not None:
                found[one.id] = one.start
    return found


def _items(file: Any) -> Iterator[Spoken]:
    """Yield what a block says of its utterances."""
    for facts in json.loads(file.metadata()["items"]):
        yield Spoken(**facts)


def read_target_maps(folder: Path) -> dict[tuple[str, str], TargetMap]:
    """Return a store's target maps, by family and id."""
    found = {}
    for path in sorted((folder / "origins").glob("*.json")):
        for key, (label, changes, inserted, offset) in json.loads(path.read_text("utf-8")).items():
            paces, put_in = (tuple((a, b) for a, b in columns) for columns in (changes, inserted))
            found[path.stem, key] = TargetMap(label, paces, put_in, offset)
    return found
