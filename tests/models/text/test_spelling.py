"""Words as phones in the byte tokenizer, by a pronouncing dictionary beside its configuration."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.layout import CheckpointFolders
from stepedit_core.models.checkpoint.load import fingerprint
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.base import TextTokenizer
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.models.text.pronunciations import PHONES

NAME = "pronunciations.txt.gz"
WORDS = (
    "audio AO D IY OW\ndon't D OW N T\neot IY T\nhello HH AH L OW\nloud L AW D\nna N AA\ns EH S\n"
)
PHRASES = ["Make it ", "Make it loud", " [laugh]"]
FIRST = 324 + 5120 + len(PHRASES)
"""Id of the first phone."""


def write(folder: Path, content: bytes | None = None, named: object = NAME) -> Path:
    """Write a tokenizer's folder; None takes the words above."""
    config = {"tokenizer_class": "ByteTokenizer", "phrases": PHRASES, "pronunciations": named}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / NAME).write_bytes(gzip.compress(WORDS.encode()) if content is None else content)
    return folder


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    return load_tokenizer(write(tmp_path))


def phones(spelled: str) -> list[int]:
    return [FIRST + PHONES.index(phone) for phone in spelled.split()]


def letters(text: str) -> list[int]:
    return [68 + byte for byte in text.encode()]


def test_known_words_become_phones_and_all_else_stays_bytes(tokenizer: TextTokenizer) -> None:
    hello = phones("HH AH L OW")
    assert tokenizer.encode("hello") == hello
    assert tokenizer.encode("Well, HELLO hello.") == [
        *letters("Well, "), *hello, *letters(" "), *hello, *letters("."),
    ]  # fmt: skip
    assert tokenizer.encode("xyzzy 42 你") == letters("xyzzy forty two 你")
    assert tokenizer.encode("") == []
    assert tokenizer.encode("hello\nLoud\n") == [
        *hello, *letters("\n"), *phones("L AW D"), *letters("\n"),
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["don't", "DON'T", "don’t", "Don’T"])
def test_apostrophes_belong_to_words(tokenizer: TextTokenizer, word: str) -> None:
    assert tokenizer.encode(word) == phones("D OW N T")
    quoted = letters("'") + phones("D OW N T") + letters("'")
    assert tokenizer.encode(f"'{word}'") == quoted
    assert tokenizer.encode(f"{word}'s") == letters(f"{word}'s")  # another word, not known


@pytest.mark.parametrize("word", ["naïve", "ñhello", "hello2", "2s", "helloß", "hellohello"])
def test_parts_of_words_are_not_taken_for_words(tokenizer: TextTokenizer, word: str) -> None:
    assert tokenizer.encode(word) == letters(word)
    assert tokenizer.encode(f"{word} s") == letters(f"{word} ") + phones("EH S")


def test_phrases_win_over_words(tokenizer: TextTokenizer) -> None:
    first = FIRST - len(PHRASES)
    ids = tokenizer.encode("Make it loud, make it Make it hello [laugh]")
    assert ids == [
        first + 1, *letters(", make it "), first, *phones("HH AH L OW"), first + 2,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["<|EOT|>", "<s>hello</s>", "<audio_5>", "<|BOT|> <unk> /HH/"])
def test_users_cannot_spell_control_or_audio_ids(tokenizer: TextTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert all(68 <= i < 324 or FIRST <= i < tokenizer.vocab_size for i in ids)
    assert any(i >= FIRST for i in ids) is any(w in text for w in ("EOT", "s>", "audio"))


def test_marks_are_parsed_when_asked(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("<|BOT|>hello<audio_5><audio_9999><|EOT|>", parse_special=True)
    spelled = [*letters("<"), *phones("AO D IY OW"), *letters("_9999>")]
    assert ids == [4, *phones("HH AH L OW"), 324 + 5, *spelled, 3]


def test_phones_are_counted_and_lie_behind_the_phrases(tokenizer: TextTokenizer) -> None:
    assert tokenizer.vocab_size == FIRST + len(PHONES) == FIRST + 39
    assert ByteTokenizer(phrases=PHRASES).vocab_size == FIRST
    assert max(tokenizer.audio_ids([5119])) < FIRST
    assert tokenizer.encode("hello") != ByteTokenizer(phrases=PHRASES).encode("hello")


def test_decoding_shows_phones(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("Make it hello, you [laugh]<audio_7>", parse_special=True)
    assert tokenizer.decode(ids) == "Make it /HH//AH//L//OW/, you [laugh]<audio_7>"
    assert tokenizer.decode([FIRST, FIRST + 38]) == "/AA//ZH/"
    assert tokenizer.decode([tokenizer.vocab_size]) == "<unk>"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello HH AH L OW\n",
        gzip.compress(WORDS.encode(), mtime=0)[:30],
        gzip.compress(b"", mtime=0),
        gzip.compress(b"\xff\xfe hello", mtime=0),
        gzip.compress(b"hello HH AH0 L OW1\n", mtime=0),
        gzip.compress(b"hello HH AH L OW\nsilent \n", mtime=0),
        gzip.compress(b"hello HH AH L OW\nhello\tHH\n", mtime=0),
        gzip.compress(b"hello HH AH L OW\n" * 2_500_000, mtime=0),
    ],
    ids=["empty", "plain", "cut", "no-words", "no-text", "stress", "silent-word", "tab", "bomb"],
)
def test_a_damaged_dictionary_is_named(tmp_path: Path, content: bytes) -> None:
    tokenizer = load_tokenizer(write(tmp_path, content))
    assert tokenizer.encode("你, ") == letters("你, ")  # no word to look up
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"pronunciations\.txt\.gz: no pronouncing"):
            tokenizer.encode("hello")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    whole = gzip.compress(WORDS.encode())
    for place in (0, 10, 14, 40, len(whole) - 6):
        content = bytearray(whole)
        content[place] ^= 0xFF
        tokenizer = load_tokenizer(write(tmp_path, bytes(content)))
        with pytest.raises(CheckpointError, match=r"pronunciations\.txt\.gz"):
            tokenizer.encode("hello")


def test_a_missing_dictionary_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / NAME).unlink()
    with pytest.raises(CheckpointError, match=r"pronunciations\.txt\.gz is missing"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("named", ["../words.gz", "a/b.gz", "/etc/passwd", 3, [NAME], True])
def test_only_a_file_beside_the_configuration_is_read(tmp_path: Path, named: object) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: pronunciations must be"):
        load_tokenizer(write(tmp_path, named=named))


@pytest.mark.parametrize("named", ["", ".."])
def test_a_folder_is_no_dictionary(tmp_path: Path, named: str) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        load_tokenizer(write(tmp_path, named=named))


def test_another_spelling_is_another_model(tmp_path: Path) -> None:
    folders = CheckpointFolders(tmp_path, tmp_path, tmp_path)
    write(tmp_path)
    before = fingerprint(folders)
    write(tmp_path, gzip.compress(b"hello HH EH L OW\n"))
    assert fingerprint(folders) != before
