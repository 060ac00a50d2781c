"""Numerals as words: what is read how, and that tokenizer and reader agree on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepedit_core.models.reader import phones_of
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.models.text.numerals import spell_numerals
from tests.models.clear_reader import write_dictionary

WORDS = "three TH R IY\nthird TH ER D\ncats K AE T S\n"


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("I have 3 cats.", "I have three cats."),
        ("the 21st of May, 1905", "the twenty first of May, nineteen oh five"),
        ("1,234 and 1234.5", "one thousand two hundred and thirty four and one thousand two "
         "hundred and thirty four point five"),
        ("pi is 3.14!", "pi is three point one four!"),
        ("up 5% or 5 %", "up five percent or five percent"),
        ("call 08001234567", "call zero eight zero zero one two three four five six seven"),
        ("agent 007", "agent zero zero seven"),
        ("R2D2, mp3, 4x4, 1.2.3", "R2D2, mp3, 4x4, 1.2.3"),
        ("no digits at all", "no digits at all"),
        ("9" * 400, " ".join(["nine"] * 400)),
        ("10 9 8", "ten nine eight"),
    ],
)  # fmt: skip
def test_numerals_are_read_in_english(text: str, spoken: str) -> None:
    assert spell_numerals(text) == spoken


def test_a_numeral_is_spelled_by_the_phones_of_its_words(tmp_path: Path) -> None:
    words = write_dictionary(tmp_path, WORDS)
    tokenizer = ByteTokenizer(pronunciations=words)
    assert tokenizer.encode("3 cats, 3rd") == tokenizer.encode("three cats, third")
    assert phones_of("3 cats", words) == phones_of("three cats", words) is not None
    plain = ByteTokenizer()  # without a dictionary, nothing is read
    assert plain.decode(plain.encode("3 cats")) == "3 cats"
