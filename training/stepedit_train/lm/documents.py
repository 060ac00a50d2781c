"""Rows of pre-training: text, codes, and recordings with their words in plain continuation.

Every part ends with ``<|EOT|>``, as turns of the chat format do, and every row begins with
``<s>``; there are no roles. Audio ids stand by themselves, as they do in the chat format:

- ``text``: ``<s> words <|EOT|>``
- ``codes``: ``<s> codes <|EOT|>``
- ``read``: ``<s> words <|EOT|> codes <|EOT|>``
- ``write``: ``<s> codes <|EOT|> words <|EOT|>``

Words are encoded as plain text, so that marks such as ``<|EOT|>`` in them stay text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from stepedit_core.codes import GROUP_SIZE
from stepedit_core.errors import StepeditError
from stepedit_core.models.text.base import TextTokenizer
from stepedit_core.storage.encodings import not_utf8
from stepedit_core.storage.stored_json import parse_json
from stepedit_train.data.cache import Cache
from stepedit_train.data.codes import read_codes
from stepedit_train.seeds import share_of

__all__ = [
    "HELD",
    "Kind",
    "Row",
    "RowMaker",
    "document_files",
    "is_cache",
    "read_documents",
]

Kind = Literal["text", "codes", "read", "write"]

HELD = -1.0
"""The draw of rows that are never trained on."""

COLUMN = "text"
"""Field of JSON Lines, column of Parquet."""
_KINDS = ".txt, .md, .jsonl or .parquet"


@dataclass(frozen=True)
class Row:
    """One row of ids.

    Attributes:
        ids: all of them.
        speaker: identity of the speaker; empty for documents.
        draw: number in [0, 1) that the speaker or the document has drawn: rows whose draw is
            below ``dev_share`` validate; ``HELD`` always is.
        answer: slot of the first id of the second part, or 0.
    """

    ids: list[int]
    speaker: str
    draw: float
    answer: int = 0


def is_cache(path: Path) -> bool:
    """Return whether a path is a cache of the data stage rather than documents."""
    return (path / "blocks").is_dir()


class RowMaker:
    """Makes the rows of one source.

    Args:
        path: cache of the data stage, or for ``text`` also documents.
        kind: of the rows.
        tokenizer: the language model's.
        max_tokens: texts and codes are cut to rows of so many ids at most; read and write rows
            that are longer are left out.

    Attributes:
        skipped: what was left out so far, by reason.
    """

    def __init__(self, path: Path, kind: Kind, tokenizer: TextTokenizer, max_tokens: int) -> None:
        self.path, self.kind, self.max_tokens = path, kind, max_tokens
        self.tokenizer = tokenizer
        self.skipped: Counter[str] = Counter()

    def rows(self) -> Iterator[Row]:
        """Yield the rows in order.

        Raises:
            StepeditError: if the source is missing or damaged, or lacks what the kind needs.
        """
        if not self.path.exists():
            raise StepeditError(f"{self.path}: no such file or folder")
        if self.kind == "text":
            yield from self._texts()
        else:
            yield from self._recordings(self.kind)

    def _texts(self) -> Iterator[Row]:
        seen: set[int] = set()
        for text, speaker, draw in self._documents():
            words = self._words(text)
            if words is None:
                continue
            known = hash(tuple(words))
            if known in seen:
                self.skipped["repeated text"] += 1
                continue
            seen.add(known)
            for ids in self._cut(words, self.max_tokens - 2):
                yield Row(ids, speaker, draw)

    def _documents(self) -> Iterator[tuple[str, str, float]]:
        """Yield texts with their speakers and draws."""
        if is_cache(self.path):
            for item in Cache(self.path, splits=("train", "dev")).items:
                yield item.transcript or "", item.speaker, _draw(item.speaker, item.split)
            return
        for path in document_files(self.path):
            for text in read_documents(path):
                # Drawn by content: wherever a document is repeated, it is on the same side.
                yield text, "", share_of("pretrain", text)

    def _words(self, text: str) -> list[int] | None:
        """Return a text's ids, or None if there is nothing in it to learn from."""
        text = text.strip()
        if not text:
            self.skipped["no text"] += 1
            return None
        try:
            return self.tokenizer.encode(text)
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
            self.skipped["text that is not Unicode"] += 1
            return None

    def _cut(self, ids: list[int], size: int) -> Iterator[list[int]]:
        """Yield rows of a text or a code stream; only the last one ends."""
        for start in range(0, len(ids), size):
            end = [self.tokenizer.eot_id] if start + size >= len(ids) else []
            yield [self.tokenizer.bos_id, *ids[start : start + size], *end]

    def _recordings(self, kind: Literal["codes", "read", "write"]) -> Iterator[Row]:
        cache = Cache(self.path, ("audio", "codes"), ("train", "dev"))
        whole_groups = (self.max_tokens - 2) // GROUP_SIZE * GROUP_SIZE
        for index, item in enumerate(cache.items):
            codes = self._codes(cache, index)
            if codes is None:
                continue
            draw = _draw(item.speaker, item.split)
            if kind == "codes":
                for ids in self._cut(codes, whole_groups):
                    yield Row(ids, item.speaker, draw)
                continue
            words = self._words(item.transcript or "")
            if words is None:
                continue
            first, second = (words, codes) if kind == "read" else (codes, words)
            row = self._joined(first, second, item.speaker, draw)
            if row is not None:
                yield row

    def _codes(self, cache: Cache, index: int) -> list[int] | None:
        try:
            tokens = read_codes(cache, index).interleave().tolist()
        except ValueError as error:
            raise StepeditError(f"{self.path}: {cache.items[index].id}: {error}") from error
        if not tokens:
            self.skipped["no whole group of codes"] += 1
            return None
        return self.tokenizer.audio_ids(tokens)

    def _joined(self, first: list[int], second: list[int], speaker: str, draw: float) -> Row | None:
        """Return both parts as one row, unless it is too long."""
        end = self.tokenizer.eot_id
        ids = [self.tokenizer.bos_id, *first, end, *second, end]
        if len(ids) > self.max_tokens:
            self.skipped[f"longer than {self.max_tokens} tokens"] += 1
            return None
        return Row(ids, speaker, draw, len(first) + 2)


def _draw(speaker: str, split: str) -> float:
    """Return a speaker's draw: the one of the sft stage, which then keeps the same ones apart."""
    return HELD if split == "dev" else share_of("sft", speaker)


def document_files(path: Path) -> list[Path]:
    """Return a file of documents by itself, or those in a folder and below it, sorted.

    Raises:
        StepeditError: if there is none, or the file is of another kind.
    """
    if path.is_dir():
        found = [one for one in path.rglob("*") if one.suffix in _READERS and one.is_file()]
        if not found:
            raise StepeditError(f"{path}: no {_KINDS} file in it, and no cache of recordings")
        return sorted(found)
    if not path.exists():
        raise StepeditError(f"{path}: no such file or folder")
    if path.suffix not in _READERS:
        raise StepeditError(f"{path}: is no {_KINDS} file")
    return [path]


def read_documents(path: Path) -> Iterator[str]:
    """Yield the documents of one file: a text file is one, other files have one in each row.

    Raises:
        StepeditError: if the file cannot be read, or a row has no text.
    """
    try:
        yield from _READERS[path.suffix](path)
    except OSError as error:
        raise StepeditError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise StepeditError(f"{path}: {not_utf8(path.read_bytes()[:65_536])}") from error


def _text(path: Path) -> Iterator[str]:
    yield path.read_text(encoding="utf-8")


def _json_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                raise StepeditError(f"{path}, line {number}: is not JSON ({error})") from error
            text = row.get(COLUMN) if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise StepeditError(f"{path}, line {number}: has no {COLUMN!r}")
            yield text


def _parquet(path: Path) -> Iterator[str]:
    try:
        with pq.ParquetFile(path) as file:
            if COLUMN not in file.schema_arrow.names:
                raise StepeditError(f"{path}: has no column {COLUMN!r}")
            for batch in file.iter_batches(batch_size=256, columns=[COLUMN]):
                for text in batch.column(0).to_pylist():
                    if text is not None and not isinstance(text, str):
                        raise StepeditError(f"{path}: column {COLUMN!r} does not hold text")
                    yield text or ""
    except pa.ArrowException as error:
        first = str(error).partition("\n")[0]
        raise StepeditError(f"{path}: is no readable Parquet file ({first})") from error


_READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".txt": _text,
    ".md": _text,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
