"""The reader stage: phones of codes, learned from texts and codes alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from stepedit_train.reader.stage import ReaderSettings, ReaderSizes, ReaderTask, train_reader
from stepedit_train.reader.utterances import CodedUtterance, read_utterances

from stepedit_core.codes import DualCodes
from stepedit_core.errors import StepeditError
from stepedit_core.models.reader import READER, PhoneReader, phones_of
from stepedit_core.models.text.pronunciations import PHONES, Pronunciations
from tests.models.clear_reader import write_dictionary
from tests.toy_edits import Gain
from tests.train.making import make_pairs

WORDS = {"alpha": "AE L F AH", "bravo": "B R AA V OW", "kilo": "K IY L OW", "zulu": "Z UW L UW"}
SMALL: dict[str, Any] = {
    "budget": 40.0, "learning_rate": 5e-3, "warmup": 5, "tensorboard": False,
    "sizes": {"width": 32, "blocks": 1, "kernel": 3}, "replaced": 0.05, "validate_every": 40,
}  # fmt: skip


def write_words(folder: Path) -> Pronunciations:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"tokenizer_class": "ByteTokenizer", "pronunciations": "pronunciations.txt.gz"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    text = "".join(f"{word} {phones}\n" for word, phones in WORDS.items())
    return write_dictionary(folder, text)


def utterance(rng: np.random.Generator, words: Pronunciations) -> tuple[CodedUtterance, str]:
    """Return an utterance whose phones have four codes each and last 1 to 3 codes."""
    text = " ".join(rng.choice(list(WORDS), 3))
    phones = phones_of(text, words)
    assert phones is not None
    codes = [
        4 * phone + int(rng.integers(4)) for phone in phones for _ in range(rng.integers(1, 4))
    ]
    codes += [900] * (len(codes) % 2)
    semantic = np.zeros(3 * len(codes) // 2, np.int64)
    return CodedUtterance(np.array(phones), np.array(codes), semantic), text


def test_phones_are_heard_without_being_told_where(tmp_path: Path) -> None:
    words = write_words(tmp_path)
    rng = np.random.default_rng(0)
    train = [utterance(rng, words)[0] for _ in range(60)]
    dev = [utterance(rng, words)[0] for _ in range(10)]
    settings = ReaderSettings(model=tmp_path, pairs=(), out=tmp_path, steps=1, **SMALL)
    task = ReaderTask(settings, train, dev)
    optimizer = torch.optim.AdamW(task.model.parameters(), 1e-2)
    for step in range(250):
        loss = task.loss(task.batch(rng.choice(60, 12).tolist(), step)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    task.model.eval()
    with torch.inference_mode():
        assert task.validate()["phone_error_rate"] < 0.15
    # What it has learned tells a right text from wrong ones.
    reader = PhoneReader(task.model, words)
    said, text = utterance(np.random.default_rng(9), words)
    dual = DualCodes(said.linguistic, said.semantic)
    right = reader.score(dual, text)
    others = [reader.score(dual, " ".join(rng.permutation(list(WORDS))[:3])) for _ in range(5)]
    assert right is not None
    assert all(right > other for other in others if other is not None)


def test_batches_pad_and_spoil_but_keep_the_phones(tmp_path: Path) -> None:
    words = write_words(tmp_path)
    rng = np.random.default_rng(1)
    train = [utterance(rng, words)[0] for _ in range(8)]
    settings = ReaderSettings(
        model=tmp_path, pairs=(), out=tmp_path, steps=1, **SMALL | {"replaced": 0.5}
    )
    task = ReaderTask(settings, train, [])
    batch, again = task.batch([3, 5], 7), task.batch([3, 5], 7)
    assert batch.linguistic.equal(again.linguistic)
    assert not batch.linguistic.equal(task.batch([3, 5], 8).linguistic)
    assert batch.groups.tolist() == [train[3].groups, train[5].groups]
    assert batch.phones.tolist() == [*train[3].phones, *train[5].phones]
    own = batch.linguistic[0, : 2 * train[3].groups].numpy()
    assert 0.1 < (own != train[3].linguistic).mean() < 0.9
    assert task.validate() == {}


def test_the_stage_writes_what_an_engine_reads(tmp_path: Path) -> None:
    words = write_words(tmp_path / "model")
    make_pairs(tmp_path / "pairs", [Gain(db=n) for n in range(4)], with_codes=True)
    settings = ReaderSettings(
        model=tmp_path / "model", pairs=(tmp_path / "pairs",), out=tmp_path / "run", steps=2,
        **SMALL,
    )  # fmt: skip
    with pytest.raises(StepeditError, match="no pair has codes and a transcript of known words"):
        list(train_reader(settings))
    say(tmp_path / "pairs", "kilo")
    found = read_utterances([tmp_path / "pairs"], words)
    assert [PHONES[n] for n in found["train"][0].phones] == ["K", "IY", "L", "OW"]
    # Both sides count, and the same utterance once.
    assert 1 < len(found["train"]) <= 8
    assert len(read_utterances([tmp_path / "pairs"] * 2, words)["train"]) == len(found["train"])
    first = list(train_reader(settings))
    assert "utterances" in first[0] and "2 of 2 steps" in first[1] and "MB" in first[-1]
    reader = PhoneReader.load(tmp_path / "run", words)
    assert reader is not None and reader.network.linguistic.weight.shape == (1024, 32)
    # Words for which there is no room are left out.
    say(tmp_path / "pairs", "kilo " * 400)
    assert read_utterances([tmp_path / "pairs"], words)["train"] == []
    assert (tmp_path / "run" / READER).is_file()


def say(folder: Path, text: str) -> None:
    """Give all pairs other transcripts."""
    (shard,) = (folder / "shards").iterdir()
    table = pq.read_table(shard)
    for name in ("source_text", "target_text"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, [[text] * table.num_rows])
    pq.write_table(table, shard)


def test_a_model_without_a_dictionary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByteTokenizer"}')
    settings = ReaderSettings(
        model=tmp_path, pairs=(tmp_path,), out=tmp_path / "run", steps=1, **SMALL
    )
    with pytest.raises(StepeditError, match="no pronouncing dictionary"):
        list(train_reader(settings))


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="must be odd"):
        ReaderSizes(kernel=4)
