"""Pre-tokenised rows on disk: ids in one file that is mapped into memory, facts beside it."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.atomic import replace_file
from stepedit_core.codes import GROUP_SIZE
from stepedit_core.errors import StepeditError
from stepedit_core.models.lm.step1 import Alignment
from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.pretrain.documents import document_files
from stepedit_train.pretrain.rows import Kind, Row, RowMaker, is_cache
from stepedit_train.sft.packing import vocabulary_bytes
from stepedit_train.sft.rows import Example

__all__ = ["RowStore", "expected_paces", "stored_rows"]

_FORMAT = 1
_FRAME = 2  # ids of a row's first part that are none of its content: <s> and <|EOT|>

Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class RowStore:
    """The rows of one source.

    Attributes:
        kind: of all rows.
        ids: uint16 or int32, all rows one after the other.
        lengths: int64 ``(rows,)``.
        answers: int64 ``(rows,)``, slot of the second part's first id, or 0.
        paces: float32 ``(rows,)``, see ``expected_paces``.
        draws: float64 ``(rows,)``, see ``Row``.
        speakers: ``(rows,)``, strings.
        skipped: what was left out, by reason.
    """

    kind: Kind
    ids: Numbers
    lengths: Numbers
    answers: Numbers
    paces: Numbers
    draws: Numbers
    speakers: Numbers
    skipped: Counter[str]

    @cached_property
    def starts(self) -> Numbers:
        """Where rows begin in ``ids``, int64 ``(rows,)``."""
        starts: Numbers = np.cumsum(self.lengths) - self.lengths
        return starts

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    def example(self, row: int) -> Example:
        """Return a row as an example whose loss is taken on all ids but the first."""
        start, length = int(self.starts[row]), int(self.lengths[row])
        ids: list[int] = self.ids[start : start + length].tolist()
        answer, place = int(self.answers[row]), None
        if answer:
            # The first part without its marks is passed through evenly, words or codes.
            pace = ((0.0, float(self.paces[row])),)
            place = Alignment(1, answer - 1, answer, "text", pace)
        return Example(str(row), self.kind, str(self.speakers[row]), ids, 1, place)


def expected_paces(
    kind: Kind, lengths: Numbers, answers: Numbers, speakers: Numbers
) -> npt.NDArray[np.float32]:
    """Return how many ids of the first part go with five of the second, as one would expect it.

    What is expected is the mean of the speaker's other rows, or of all other speakers' where
    there are none: a row's own pace would tell where it ends, which nobody knows beforehand.

    Args:
        kind: of the rows.
        lengths: int64 ``(rows,)``.
        answers: int64 ``(rows,)``, slot of the second part's first id.
        speakers: ``(rows,)``, strings.

    Returns:
        float32 ``(rows,)``: for ``read`` the ids of words in a group of codes (120 ms), for
        ``write`` the codes in five ids of words; 0 for rows of one part.
    """
    if kind not in ("read", "write") or not len(lengths):
        return np.zeros(len(lengths), np.float32)
    parts = np.stack([answers - _FRAME, lengths - answers - 1])
    number = np.unique(speakers, return_inverse=True)[1]
    of_speaker = np.stack([np.bincount(number, part) for part in parts])[:, number]
    others = of_speaker - parts
    alone = others[0] == 0
    others[:, alone] = (parts.sum(1, keepdims=True) - parts)[:, alone]
    only = others[0] == 0
    others[:, only] = parts[:, only]
    paces: npt.NDArray[np.float32] = (GROUP_SIZE * others[0] / others[1]).astype(np.float32)
    return paces


def stored_rows(
    path: Path, kind: Kind, tokenizer: TextTokenizer, max_tokens: int, folder: Path
) -> RowStore:
    """Return the rows of a source, from ``folder`` where they are there already.

    The key holds kind, files with their sizes and times, vocabulary and spelling.

    Args:
        path: of the source.
        kind: of its rows.
        tokenizer: the language model's.
        max_tokens: ids in a row at most.
        folder: where pre-tokenised rows are kept.

    Raises:
        StepeditError: if the source cannot be read, or the folder cannot be written.
    """
    key = _key(path, kind, tokenizer, max_tokens)
    base = folder / f"{kind}-{path.stem}-{key}"
    facts, ids = base.with_name(f"{base.name}.npz"), base.with_name(f"{base.name}.ids")
    if not facts.is_file():
        _write(RowMaker(path, kind, tokenizer, max_tokens), facts, ids, tokenizer.vocab_size)
    try:
        return _load(kind, facts, ids)
    except (OSError, ValueError, KeyError) as error:
        raise StepeditError(
            f"{facts}: is damaged ({error}); remove it to read the source again"
        ) from error


def _key(path: Path, kind: Kind, tokenizer: TextTokenizer, max_tokens: int) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {kind} {max_tokens} {path}\n".encode())
    if kind == "text" and not is_cache(path):
        files = document_files(path)
    else:
        layers = ("audio",) if kind == "text" else ("audio", "codes")
        blocks = path / "blocks"
        files = [one for name in layers for one in sorted(blocks.glob(f"*.{name}.safetensors"))]
    for file in files:
        state = file.stat()
        digest.update(f"{file} {state.st_size} {state.st_mtime_ns}\n".encode())
    digest.update(vocabulary_bytes(tokenizer))
    return digest.hexdigest()[:16]


def _dtype(vocabulary: int) -> type[np.uint16] | type[np.int32]:
    return np.uint16 if vocabulary <= 2**16 else np.int32


def _write(maker: RowMaker, facts: Path, ids: Path, vocabulary: int) -> None:
    """Tokenise a source; the file of facts appears last."""
    lengths, answers, draws = array("q"), array("q"), array("d")
    speakers: list[str] = []

    def note(row: Row) -> None:
        lengths.append(len(row.ids))
        answers.append(row.answer)
        draws.append(row.draw)
        speakers.append(row.speaker)

    def write_ids(partial: Path) -> None:
        with partial.open("wb") as file:
            for row in maker.rows():
                file.write(np.asarray(row.ids, _dtype(vocabulary)).tobytes())
                note(row)

    replace_file(ids, write_ids)
    columns: dict[str, Any] = {
        "lengths": np.array(lengths, np.int64),
        "answers": np.array(answers, np.int64),
        "draws": np.array(draws, np.float64),
        "speakers": np.array(speakers, dtype=np.str_),
        "dtype": np.array(np.dtype(_dtype(vocabulary)).str),
        "reasons": np.array(list(maker.skipped), dtype=np.str_),
        "counts": np.array(list(maker.skipped.values()), np.int64),
    }

    def write_facts(partial: Path) -> None:
        with partial.open("wb") as file:  # a name without .npz would get one
            np.savez_compressed(file, allow_pickle=False, **columns)

    replace_file(facts, write_facts)


def _load(kind: Kind, facts: Path, ids: Path) -> RowStore:
    """Read the facts and map the ids.

    Raises:
        ValueError: if the two files do not belong together.
    """
    with np.load(facts, allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    dtype, total = np.dtype(str(data["dtype"])), int(data["lengths"].sum())
    if ids.stat().st_size != total * dtype.itemsize:
        raise ValueError(f"{ids.name} has another length")
    flat: Numbers = np.memmap(ids, dtype, "r") if total else np.zeros(0, dtype)
    counts = dict(zip(data["reasons"].tolist(), data["counts"].tolist(), strict=True))
    lengths, answers, speakers = (data[name] for name in ("lengths", "answers", "speakers"))
    paces = expected_paces(kind, lengths, answers, speakers)
    return RowStore(kind, flat, lengths, answers, paces, data["draws"], speakers, Counter(counts))
