"""Pre-tokenised examples in one compressed file: the cache of a run, and replay data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stepedit_core.atomic import replace_file
from stepedit_core.errors import StepeditError
from stepedit_core.models.lm.chat import MAX_TOKENS, PromptEncoding
from stepedit_core.models.lm.step1 import Alignment, alignment_tensor
from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.sft.rows import Example, read_examples, shard_paths

__all__ = ["load_examples", "read_cached", "save_examples", "vocabulary_bytes"]

_FORMAT = 3


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


def _key(folder: Path, tokenizer: TextTokenizer, encoding: str) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {encoding} {folder}".encode())
    for path in shard_paths(folder):
        state = path.stat()
        digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
    digest.update(vocabulary_bytes(tokenizer))
    return digest.hexdigest()[:16]


def vocabulary_bytes(tokenizer: TextTokenizer) -> bytes:
    """Return what rows in a vocabulary depend on: its size, audio ids, phrases and spelling."""
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
    confined: bool = False,
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
        confined: see ``example_of``.
    """
    if cache is None:
        return read_examples(folder, tokenizer, encoding, max_tokens=max_tokens, confined=confined)
    kind = "put-in-" if confined else ""
    path = cache / f"{folder.name}-{kind}{_key(folder, tokenizer, encoding)}.npz"
    if path.is_file():
        examples, skipped = load_examples(path)
    else:
        examples, skipped = read_examples(
            folder, tokenizer, encoding, max_tokens=MAX_TOKENS, confined=confined
        )
        if examples:
            save_examples(path, examples, skipped)
    short = [one for one in examples if len(one.ids) <= max_tokens]
    if len(short) < len(examples):
        skipped[f"longer than {max_tokens} tokens"] += len(examples) - len(short)
    return short, skipped
