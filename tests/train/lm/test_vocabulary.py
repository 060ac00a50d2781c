"""A pronouncing dictionary on its way from its source to the assembled model."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from stepedit_train.assembly.collect import TEXT_FILES
from stepedit_train.lm import vocabulary as spelling
from stepedit_train.lm.base import BaseSettings, make_base
from stepedit_train.lm.sft import SftSettings, train_sft
from stepedit_train.lm.store import read_cached
from stepedit_train.lm.training import KEPT_FILES
from stepedit_train.lm.vocabulary import DICTIONARY, POCKETSPHINX, read_dictionary

from stepedit_core.errors import MissingDependencyError, StepeditError
from stepedit_core.models.lm.step1 import load_step1
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.models.text.pronunciations import PHONES, Pronunciations
from stepedit_core.registry.registry import Registry
from tests.toy_edits import Hiss
from tests.train.making import make_pairs

CMU = """;;; a comment
AH1 AH0
Words  W ER1 D Z
WORDS(2)  W AO1 R D Z
don’t D OW1 N T # dialect
'bout B AW1 T
A&W EY1 AH0 N D AH0 B Y UW1
strange Q X
empty
"""
KEPT = "# a comment\ndon't D OW N T\nwords W ER D Z\n"
SMALL = {"hidden_size": 32, "layers": 1, "intermediate_size": 48, "max_seq_len": 2048}


@pytest.fixture(autouse=True)
def _toys(toys: Registry) -> Iterator[None]:
    yield


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.dict"
    path.write_text(CMU, encoding="utf-8")
    return path


def base(folder: Path, **changes: object) -> Path:
    settings = {"base": folder.parent, "out": folder.name, **SMALL, **changes}
    list(make_base(BaseSettings.model_validate(settings)))
    return folder


def rows(folder: Path) -> int:
    return int(load_step1(folder).config.vocab_size)


def refusal(folder: Path, **changes: object) -> str:
    """Return the one line by which a base is refused, after which nothing is left."""
    with pytest.raises(StepeditError) as caught:
        base(folder, **changes)
    assert not folder.exists()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_first_pronunciations(words: Path) -> None:
    content = read_dictionary(words)
    assert gzip.decompress(content).decode() == KEPT
    assert read_dictionary(words) == content  # no time stamp


def test_what_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match=r"words\.dict: no readable dictionary \(No such file"):
        read_dictionary(tmp_path / "words.dict")
    (tmp_path / "words.dict").write_bytes(b"\xff\x00 hello\nthese are words\n")
    with pytest.raises(StepeditError, match=r"words\.dict is no pronouncing dictionary"):
        read_dictionary(tmp_path / "words.dict")


def test_the_dictionary_of_pocketsphinx_is_found(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    content = read_dictionary(POCKETSPHINX)
    assert gzip.decompress(content).decode().startswith("# Copyright (c) 1999")
    (tmp_path / DICTIONARY).write_bytes(content)
    known = Pronunciations(tmp_path / DICTIONARY)
    assert known.phones("Hello") == ("HH", "AH", "L", "OW")
    assert known.phones("don’t") == ("D", "OW", "N", "T")
    assert known.phones("qqqq") is None


def test_without_pocketsphinx_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(spelling, "distribution", missing)
    with pytest.raises(MissingDependencyError, match=r"stepedit\[align\]"):
        read_dictionary(POCKETSPHINX)


def test_dictionary_of_a_base(words: Path) -> None:
    home = words.parent
    folder = base(home / "phones", pronunciations=words.name)  # a relative path, as in a TOML file
    tokenizer = load_tokenizer(folder)
    assert gzip.decompress((folder / DICTIONARY).read_bytes()).decode() == KEPT
    assert len(tokenizer.encode("Words, don't")) == 4 + 2 + 4
    assert rows(folder) >= tokenizer.vocab_size + 64
    plain = base(home / "plain")
    assert not (plain / DICTIONARY).exists()
    assert load_tokenizer(plain).vocab_size == tokenizer.vocab_size - len(PHONES)
    assert "no readable dictionary" in refusal(home / "none", pronunciations="nothing.dict")


def test_weights_of_another_model(words: Path) -> None:
    home = words.parent
    plain = base(home / "plain", seed=3, spare=128)
    spare = rows(plain) - load_tokenizer(plain).vocab_size - len(PHONES)
    folder = base(home / "phones", pronunciations=words, weights="plain", spare=spare)
    before, after = (load_step1(path).state_dict() for path in (plain, folder))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert load_tokenizer(folder).encode("words") != load_tokenizer(plain).encode("words")


def test_weights_of_another_kind(words: Path) -> None:
    home = words.parent
    base(home / "plain", spare=128)
    given = {"weights": "plain", "spare": 128}
    other = home / "other"
    assert "phrases differ" in refusal(other, **given, phrases=["[snort]"])
    base(home / "deep", spare=128, layers=2)
    shallower = refusal(other, weights="deep", spare=128, layers=1)
    assert "its num_hidden_layers is 2, the settings give 1" in shallower
    assert "its hidden_size is 32" in refusal(other, **given, hidden_size=64)
    # The shapes of the weights are the same with other heads.
    alone = {"heads": 4, "groups": 4, "alignment": []}
    assert "its num_attention_heads is 8" in refusal(other, **given, **alone)
    fewer = refusal(other, weights="plain", spare=0)
    assert "its vocab_size is" in fewer and "set spare" in fewer
    assert "config.json" in refusal(other, weights="nothing")
    (home / "plain" / "tokenizer_config.json").unlink()
    assert "tokenizer.model is missing" in refusal(other, **given)


def test_dictionary_is_kept(words: Path) -> None:
    home = words.parent
    folder = base(home / "base", pronunciations=words)
    make_pairs(home / "pairs", [Hiss(amount="much")] * 3)
    settings = SftSettings.model_validate(
        {
            "model": folder, "out": home / "run", "data": [{"path": home / "pairs"}], "steps": 1,
            "tokens": 1800, "learning_rate": 1e-3, "dev_share": 0.0, "device": "cpu",
            "gradient_checkpointing": False, "tensorboard": False,
        }
    )  # fmt: skip
    list(train_sft(settings))
    model = home / "run" / "model"
    assert (model / DICTIONARY).read_bytes() == (folder / DICTIONARY).read_bytes()
    before, after = (load_tokenizer(path).encode("words") for path in (folder, model))
    assert before == after and len(after) == 4
    assert DICTIONARY in KEPT_FILES and DICTIONARY in TEXT_FILES


def test_cache_depends_on_dictionary(words: Path) -> None:
    home = words.parent
    make_pairs(home / "pairs", [Hiss(amount="much")] * 2)

    def ids(content: str) -> list[int]:
        path = home / DICTIONARY
        path.write_bytes(gzip.compress(content.encode(), mtime=0))
        tokenizer = ByteTokenizer(pronunciations=Pronunciations(path))
        found, _ = read_cached(
            home / "pairs", tokenizer, "r1", max_tokens=4000, cache=home / "cache"
        )
        return found[0].ids

    first = ids("hiss HH IH S\n")
    assert ids("hiss HH IY S\n") != first
    assert ids("hiss HH IH S\n") == first
    assert len(list((home / "cache").iterdir())) == 2
