"""The reader stage: phones of codes, learned from texts and codes alone."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from stepedit_train.reading.stage import ReaderSettings, Said, fit_emissions, train_reader

from stepedit_core.codes import DualCodes
from stepedit_core.errors import StepeditError
from stepedit_core.models.pronunciations import PHONES, Pronunciations
from stepedit_core.models.reading import SILENCE, PhoneReader, phone_states
from tests.toy_edits import Gain
from tests.train.making import make_pairs

WORDS = {"alpha": "AE L F AH", "bravo": "B R AA V OW", "kilo": "K IY L OW", "zulu": "Z UW L UW"}


def write_words(folder: Path) -> Pronunciations:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"tokenizer_class": "ByteTokenizer", "pronunciations": "pronunciations.txt.gz"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    text = "".join(f"{word} {phones}\n" for word, phones in WORDS.items())
    path = folder / "pronunciations.txt.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return Pronunciations(path)


def utterance(rng: np.random.Generator, words: Pronunciations) -> tuple[Said, list[int]]:
    """Return an utterance whose phones have 20 codes each and last 1 to 5 codes."""
    text = " ".join(rng.choice(list(WORDS), 4))
    states = phone_states(text, words)
    assert states is not None
    codes, truth = [], []
    for place, state in enumerate(states):
        at_end = place in (0, len(states) - 1)
        if state == SILENCE and not at_end and rng.random() < 0.6:
            continue
        for _ in range(int(rng.integers(1, 6))):
            codes.append(20 * int(state) + int(rng.integers(20)))
            truth.append(int(state))
    return Said(states, np.array(codes)), truth


def test_phones_are_found_without_being_told_where(tmp_path: Path) -> None:
    words = write_words(tmp_path)
    rng = np.random.default_rng(0)
    said = [utterance(rng, words)[0] for _ in range(150)]
    rounds = list(fit_emissions(said, 6, 0.05))
    logs = [told for _, told in rounds]
    assert logs[-1] > logs[0] + 0.5 and all(b > a - 1e-6 for a, b in itertools.pairwise(logs))
    emissions = rounds[-1][0]
    used = sorted({PHONES.index(p) for phones in WORDS.values() for p in phones.split()})
    for phone in used:
        own = np.exp(emissions[phone, 20 * phone : 20 * phone + 20]).sum()
        assert own > 0.8, PHONES[phone]
    # What it has learned tells a right text from a wrong one.
    reader = PhoneReader(emissions, words)
    codes, _ = utterance(np.random.default_rng(9), words)
    text = " ".join(np.random.default_rng(9).choice(list(WORDS), 4))
    dual = DualCodes(codes.codes, np.zeros(0, np.int64))
    right = reader.score(dual, text)
    others = [reader.score(dual, " ".join(rng.permutation(list(WORDS)))) for _ in range(5)]
    assert right is not None
    assert all(right >= other for other in others if other is not None)


def test_the_stage_writes_what_an_engine_reads(tmp_path: Path) -> None:
    words = write_words(tmp_path / "model")
    make_pairs(tmp_path / "pairs", [Gain(db=n) for n in range(4)], with_codes=True)
    chosen = ReaderSettings(model=tmp_path / "model", pairs=(tmp_path / "pairs",), rounds=2)
    with pytest.raises(StepeditError, match="no pair has codes and a transcript of known words"):
        list(train_reader(chosen))
    assert not (tmp_path / "model" / "reader.npz").exists()
    say(tmp_path / "pairs", "kilo")
    lines = list(train_reader(chosen))
    assert "utterances" in lines[0] and lines[1].startswith("round 1:") and "kB" in lines[-1]
    assert PhoneReader.load(tmp_path / "model", words) is not None


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
    with pytest.raises(StepeditError, match="no pronouncing dictionary"):
        list(train_reader(ReaderSettings(model=tmp_path, pairs=(tmp_path,))))
