"""Pre-tokenised rows on disk: pairs in one compressed file, pre-training mapped into memory."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.atomic import replace_file
from stepedit_core.codes import GROUP_SIZE
from stepedit_core.errors import StepeditError
from stepedit_core.models.lm.chat import MAX_TOKENS, PromptEncoding
from stepedit_core.models.lm.step1 import Alignment, alignment_tensor
from stepedit_core.models.text.base import TextTokenizer
from stepedit_core.models.tokenizer.identity import tokenizer_hash
from stepedit_core.storage.pair_rows import finished_shards
from stepedit_train.lm.documents import Kind, Row, RowMaker, document_files, is_cache
from stepedit_train.lm.rows import Example, read_examples

__all__ = [
    "RowStore",
    "expected_paces",
    "load_examples",
    "read_cached",
    "save_examples",
    "stored_rows",
    "vocabulary_bytes",
]

_PAIRS_FORMAT = 3

_ROWS_FORMAT = 1
_FRAME = 2  # ids of a row's first part that are none of its content: <s> and <|EOT|>
Numbers = npt.NDArray[Any]


def save_examples(path: Path, examples: Sequence[Example], skipped: Counter[str]) -> None:
    """Write examples, as integers of 16 bits where the ids fit them.

    Args:
        path: the file, ``.npz``.
        examples: at least one.
        skipped: rows left out, by reason.
    """
    flat = np.concatenate([np.asarray(one.ids, np.int32) for one in examples])
    records = alignment_tensor([one.alignment for one in examples]).numpy()
    arrays = {
        "ids": flat.astype(np.uint16) if flat.max() < 2**16 else flat,
        "lengths": np.array([len(one.ids) for one in examples], np.int32),
        "prompts": np.array([one.prompt for one in examples], np.int32),
        "judged": np.array([one.judged or (0, 0) for one in examples], np.int32),
        "records": records,
        "aligned": np.array([one.alignment is not None for one in examples]),
        "names": np.array([one.name for one in examples]),
        "edits": np.array([one.edit for one in examples]),
        "speakers": np.array([one.speaker for one in examples]),
        "reasons": np.array(list(skipped), dtype=np.str_),
        "counts": np.array(list(skipped.values()), np.int64),
    }

    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # a name without .npz would get one
            np.savez_compressed(file, allow_pickle=False, **arrays)

    replace_file(path, write)


def load_examples(path: Path) -> tuple[list[Example], Counter[str]]:
    """Read what ``save_examples`` wrote.

    Raises:
        StepeditError: if the file is missing, damaged or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
        ends = np.cumsum(data["lengths"])
        ids = np.split(data["ids"].astype(np.int64), ends[:-1])
        examples = [
            Example(
                str(data["names"][at]),
                str(data["edits"][at]),
                str(data["speakers"][at]),
                row.tolist(),
                int(data["prompts"][at]),
                Alignment.of_record(data["records"][at].tolist()) if data["aligned"][at] else None,
                judged=_judged(data, at),
            )
            for at, row in enumerate(ids)
        ]
        counts = dict(zip(data["reasons"].tolist(), data["counts"].tolist(), strict=True))
        return examples, Counter(counts)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise StepeditError(f"{path}: no readable file of examples ({error})") from error


def _judged(data: Mapping[str, np.ndarray], at: int) -> tuple[int, int] | None:
    """Return where the loss is taken; files of before that was stored take it everywhere."""
    if "judged" not in data or not data["judged"][at].any():
        return None
    first, stop = data["judged"][at].tolist()
    return first, stop


def _pairs_key(folder: Path, tokenizer: TextTokenizer, encoding: str) -> str:
    digest = hashlib.sha256(f"{_PAIRS_FORMAT} {encoding} {folder}".encode())
    for path in finished_shards(folder):
        state = path.stat()
        digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
    digest.update(vocabulary_bytes(tokenizer))
    return digest.hexdigest()[:16]


def vocabulary_bytes(tokenizer: TextTokenizer) -> bytes:
    """Return the bytes that rows in a vocabulary depend on: size, audio ids, phrases, spelling."""
    sizes = f"{tokenizer.vocab_size} {tokenizer.audio_base_id}".encode()
    phrases = "\n".join(getattr(tokenizer, "phrases", ())).encode()
    dictionary = getattr(tokenizer, "pronunciations", None)
    return sizes + phrases + (b"" if dictionary is None else dictionary.path.read_bytes())


def read_cached(
    folder: Path,
    tokenizer: TextTokenizer,
    encoding: PromptEncoding,
    *,
    max_tokens: int,
    cache: Path | None,
    insertions_only: bool = False,
    codes_by: Path | None = None,
) -> tuple[list[Example], Counter[str]]:
    """Return ``read_examples`` of a pair folder, from the cache where it still holds.

    The key holds shards, vocabulary, spelling and encoding, but not the plugins' words: clear the
    cache folder after changing a prompt.

    Args:
        folder: of a run of `stepedit pairs`.
        tokenizer: the language model's.
        encoding: prompt encoding of the model.
        max_tokens: longer examples are left out.
        cache: folder of the cache; None reads the shards.
        insertions_only: see ``example_of``.
        codes_by: see ``read_examples``.
    """
    chosen: dict[str, Any] = {"insertions_only": insertions_only, "codes_by": codes_by}
    if cache is None:
        return read_examples(folder, tokenizer, encoding, max_tokens=max_tokens, **chosen)
    kind = "put-in-" if insertions_only else ""
    if codes_by is not None:
        kind += f"{tokenizer_hash(codes_by, weights_alone=True)[:8]}-"
    path = cache / f"{folder.name}-{kind}{_pairs_key(folder, tokenizer, encoding)}.npz"
    if path.is_file():
        examples, skipped = load_examples(path)
    else:
        examples, skipped = read_examples(
            folder, tokenizer, encoding, max_tokens=MAX_TOKENS, **chosen
        )
        if examples:
            save_examples(path, examples, skipped)
    short = [one for one in examples if len(one.ids) <= max_tokens]
    if len(short) < len(examples):
        skipped[f"longer than {max_tokens} tokens"] += len(examples) - len(short)
    return short, skipped


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
    key = _rows_key(path, kind, tokenizer, max_tokens)
    base = folder / f"{kind}-{path.stem}-{key}"
    facts, ids = base.with_name(f"{base.name}.npz"), base.with_name(f"{base.name}.ids")
    if not facts.is_file():
        _write_rows(RowMaker(path, kind, tokenizer, max_tokens), facts, ids, tokenizer.vocab_size)
    try:
        return _load_rows(kind, facts, ids)
    except (OSError, ValueError, KeyError) as error:
        raise StepeditError(
            f"{facts}: is damaged ({error}); remove it to read the source again"
        ) from error


def _rows_key(path: Path, kind: Kind, tokenizer: TextTokenizer, max_tokens: int) -> str:
    digest = hashlib.sha256(f"{_ROWS_FORMAT} {kind} {max_tokens} {path}\n".encode())
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


def _write_rows(maker: RowMaker, facts: Path, ids: Path, vocabulary: int) -> None:
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


def _load_rows(kind: Kind, facts: Path, ids: Path) -> RowStore:
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
