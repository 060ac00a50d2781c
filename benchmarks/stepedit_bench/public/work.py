"""The units of a public test set: its items, by the name of the suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from stepedit_bench.public.items import Item, PublicUnit
from stepedit_bench.suites import Unit, case_seed, select_places
from stepedit_core.errors import StepeditError, suggest

__all__ = ["PUBLIC", "public_units"]

PUBLIC: Mapping[str, str] = {
    "dotebench": "dote_bench",
    "ming-freeform": "ming_freeform",
    "mmae": "mmae",
    "realedit": "real_edit",
    "speecheditbench": "speech_edit_bench",
}
"""Name for ``--suite`` to the module that reads the folder."""


def public_units(
    suite: str, folder: Path, rows: Sequence[str], limit: int | None, seed: int
) -> list[Unit]:
    """Return the work of a public test set, row by row.

    Args:
        suite: one of ``PUBLIC``.
        folder: the user's copy.
        rows: rows to take, or what their names begin with; empty for all.
        limit: at most this many items of each row, drawn by the seed.
        seed: of the run.

    Raises:
        StepeditError: if the folder is no such set, an id is there twice, or there is no such row.
    """
    reader = import_module(f"stepedit_bench.public.{PUBLIC[suite]}")
    read: Callable[[Path], Iterator[Item]] = reader.read_items
    found: dict[str, list[Item]] = {}
    for item in read(folder):
        found.setdefault(item.row, []).append(item)
    for row in rows:
        if not any(name.startswith(row) for name in found):
            hint = suggest(row, found) or f"; there is {', '.join(found)}"
            raise StepeditError(f"suite {suite!r} has no row {row!r}{hint}")
    units: list[Unit] = []
    for name, items in found.items():
        if rows and not any(name.startswith(row) for row in rows):
            continue
        ids = Counter(item.id for item in items)
        twice = [one for one, times in ids.items() if times > 1]
        if twice:
            raise StepeditError(f"{folder}: ids occur twice: {', '.join(sorted(twice)[:5])}")
        for place in select_places(len(items), limit, seed):
            item = items[place]
            units.append(PublicUnit(name, None, case_seed(seed, name, item.id), item=item))
    if not units:
        raise StepeditError(f"{folder}: suite {suite!r} holds no item")
    return units
