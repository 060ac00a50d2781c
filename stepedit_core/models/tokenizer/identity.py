"""Which audio tokenizer codes are of: a hash of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from stepedit_core.errors import StepeditError

__all__ = ["tokenizer_hash"]

_WEIGHTS = frozenset({".npy", ".onnx", ".pt", ".safetensors", ".mvn"})
_SETTINGS = frozenset({".yaml"})


def tokenizer_hash(folder: Path | str, *, weights_alone: bool = False) -> str:
    """Return a hash of a tokenizer: 16 hexadecimal digits.

    Text, such as figures measured afterwards, does not count.

    Args:
        folder: the tokenizer's.
        weights_alone: leave out settings and the files' names, as caches of training do: they
            keep their codes where a folder is laid out anew. Shards of pairs count all.

    Raises:
        StepeditError: if there is no such folder, or no tokenizer in it.
    """
    root = Path(folder)
    kinds = _WEIGHTS if weights_alone else _WEIGHTS | _SETTINGS
    files = sorted(path for path in root.rglob("*") if path.suffix in kinds)
    if not files:
        raise StepeditError(f"{root}: no Step-Audio-Tokenizer folder; set tokenizer")
    total = hashlib.sha256()
    for path in files:
        if not weights_alone:
            total.update(path.relative_to(root).as_posix().encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]
