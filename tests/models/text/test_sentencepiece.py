from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepedit_core.errors import CheckpointError
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.base import TextTokenizer
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.models.text.sentencepiece import SentencePieceTokenizer
from tests.models.tiny_step1 import sentencepiece_proto
from tests.shared_data import need_shared

WORDS = [
    ("▁", -2.1429531574249268), ("▁hello", -4.0), ("▁lead", -4.5), ("hello", -6.0),
    ("re", -4.733087539672852), ("ce", -5.112938404083252), ("rec", -6.468323230743408),
    *((letter, -3.377645254135132) for letter in "abcdefghijklmnopqrstuvwxyz_<>|/"),
    *((str(digit), -3.5) for digit in range(10)),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    (path / "tokenizer.model").write_bytes(sentencepiece_proto(WORDS))
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> TextTokenizer:
    return load_tokenizer(folder)


def pieces(tokenizer: TextTokenizer, ids: list[int]) -> list[str]:
    assert isinstance(tokenizer, SentencePieceTokenizer)
    return [tokenizer._pieces[i].text for i in ids]


def test_control_ids_come_from_the_file(tokenizer: TextTokenizer) -> None:
    assert (tokenizer.bos_id, tokenizer.eot_id, tokenizer.bot_id) == (1, 3, 4)
    assert tokenizer.audio_base_id == 5 + 256 + len(WORDS) + 1
    assert tokenizer.audio_count == 5120
    assert tokenizer.vocab_size == tokenizer.audio_base_id + 5120


def test_the_first_word_gets_a_mark_unless_told_or_blank(tokenizer: TextTokenizer) -> None:
    assert pieces(tokenizer, tokenizer.encode("hello")) == ["▁hello"]
    assert pieces(tokenizer, tokenizer.encode("hello", first=False)) == ["hello"]
    assert pieces(tokenizer, tokenizer.encode(" lead")) == ["▁lead"]
    assert pieces(tokenizer, tokenizer.encode("\nhello")) == ["▁", "<0x0A>", "hello"]
    assert tokenizer.encode("") == []


def test_marks_are_parsed_only_when_asked(tokenizer: TextTokenizer) -> None:
    text = "a<|EOT|><s>hello<audio_5>b<audio_5120>"
    ids = tokenizer.encode(text, parse_special=True)
    assert pieces(tokenizer, ids[:4]) == ["▁", "a", "<|EOT|>", "<s>"]
    assert ids[4:6] == [*tokenizer.encode("hello", first=False), tokenizer.audio_base_id + 5]
    after = pieces(tokenizer, ids[6:])
    assert "".join(after) == "b<audio_5120>"  # no such mark: ordinary text, not split off
    spelled = tokenizer.encode(text)
    assert all(i >= 5 for i in spelled)
    assert all(i < tokenizer.audio_base_id - 1 for i in spelled)
    assert tokenizer.decode(spelled) == text


def test_no_mark_before_a_leading_audio_token(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("<audio_5>b", parse_special=True)
    assert ids == [tokenizer.audio_base_id + 5, *tokenizer.encode("b", first=False)]


@pytest.mark.parametrize("text", ["<0x0A>", "<unk>", "</s>", "<pad_0>", "<audio_0>", "<|BOT|>"])
def test_users_cannot_spell_special_pieces(tokenizer: TextTokenizer, text: str) -> None:
    assert isinstance(tokenizer, SentencePieceTokenizer)
    ids = tokenizer.encode(text)
    kinds = {tokenizer._pieces[i].type.name for i in ids}
    assert kinds <= {"NORMAL", "BYTE"}
    assert len(ids) > 2
    assert tokenizer.decode(ids) == text


def test_unknown_characters_become_bytes(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("你🙂", first=False)
    assert ids == [5 + byte for byte in "你🙂".encode()]
    assert tokenizer.decode(ids) == "你🙂"


def test_near_ties_are_decided_in_double_precision(tokenizer: TextTokenizer) -> None:
    # "rec" + "e" beats "re" + "ce" by 6e-5, less than float32 keeps after a long text.
    text = "hello " * 400 + "rece"
    assert pieces(tokenizer, tokenizer.encode(text))[-2:] == ["rec", "e"]


def test_audio_ids_refuse_what_the_vocabulary_lacks(tokenizer: TextTokenizer) -> None:
    assert tokenizer.audio_ids([0, 5119]) == [
        tokenizer.audio_base_id,
        tokenizer.audio_base_id + 5119,
    ]
    for bad in (-1, 5120):
        with pytest.raises(ValueError, match="outside"):
            tokenizer.audio_ids([bad])


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a zip archive", b"\x0a\xff", b"\xff" * (1 << 20)]
)
def test_damaged_models_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        load_tokenizer(tmp_path)


def test_missing_files_and_pieces_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is missing"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_proto(WORDS, audio=0))
    with pytest.raises(CheckpointError, match="no piece '<audio_0>'"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load_tokenizer(tmp_path)


def test_byte_tokenizer_is_chosen_by_the_config(tmp_path: Path) -> None:
    config = {"tokenizer_class": "ByteTokenizer", "audio_base_id": 400, "audio_count": 5120}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    assert isinstance(tokenizer, ByteTokenizer)
    assert tokenizer.vocab_size == 5520
    text = "né<|EOT|><audio_7><audio_9999>"
    assert tokenizer.encode(text) == [68 + byte for byte in text.encode()]
    parsed = tokenizer.encode(text, parse_special=True)
    assert parsed[:5] == [68 + byte for byte in "né".encode()] + [3, 407]
    assert tokenizer.decode(parsed) == text
    config["audio_base_id"] = 100
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="audio_base_id"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("which", ["tiny_a", "tiny_b"])
def test_ids_equal_the_public_ones(which: str) -> None:
    folder = need_shared("checkpoints", which)
    golden = json.loads((folder / "goldens" / "10_prompts.json").read_text())
    tokenizer = load_tokenizer(folder / "Step-Audio-EditX")
    for text, ids in golden["encode_no_specials"].items():
        assert tokenizer.encode(text, parse_special=True) == ids, text
    for text, ids in golden["encode_with_bos"].items():
        assert [1, *tokenizer.encode(text, parse_special=True)] == ids, text


def test_ids_of_the_true_vocabulary() -> None:
    tokenizer = load_tokenizer(need_shared("real"))
    assert tokenizer.encode("system\n") == [2323, 78]
    assert tokenizer.encode("\nHello there.") == [324, 78, 20574, 1352, 326]
    assert tokenizer.encode(" lead", parse_special=True) == [5976]
    assert tokenizer.encode("<audio_5>x", parse_special=True) == [65541, 489]
    marks = "<s><|BOT|> assistant\n<audio_1><|EOT|>"
    assert tokenizer.encode(marks, parse_special=True) == [1, 4, 15886, 78, 65537, 3]


def test_phrases_are_single_ids_and_the_longest_wins() -> None:
    tokenizer = ByteTokenizer(phrases=["Make it ", "Make it loud", " [laugh]", "é"])
    first = 324 + 5120
    text = "Make it Make it loud é [laugh]x"
    ids = tokenizer.encode(text)
    assert ids == [first, first + 1, 68 + ord(" "), first + 3, first + 2, 68 + ord("x")]
    assert tokenizer.decode(ids) == text
    assert tokenizer.vocab_size == first + 4
    assert tokenizer.encode("Make if") == ByteTokenizer().encode("Make if")
    marked = tokenizer.encode("Make it <audio_7>", parse_special=True)
    assert marked == [first, 324 + 7]
    assert tokenizer.decode(marked) == "Make it <audio_7>"
    assert max(tokenizer.audio_ids([5119])) < first


@pytest.mark.parametrize("phrases", ["abc", [1], ["a", "a"], [""]])
def test_phrases_that_are_no_list_of_texts_are_refused(tmp_path: Path, phrases: object) -> None:
    config = {"tokenizer_class": "ByteTokenizer", "phrases": phrases}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="phrase"):
        load_tokenizer(tmp_path)
