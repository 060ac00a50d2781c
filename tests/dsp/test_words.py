from __future__ import annotations

import pytest

from stepedit_core.dsp.words import (
    edit_distance,
    heard_form,
    language_of_letters,
    nominal_seconds,
    normalised,
    plain_text,
    read_seconds,
    split_words,
    without_tags,
    word_error,
)
from stepedit_core.recordings import packaged, packaged_speech


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, now!", ["Don't", "stop", "now"]),
        ("今天真累 OK。", ["今", "天", "真", "累", "OK"]),
        ("我想guo4过guo1儿", ["我", "想", "guo4", "过", "guo1", "儿"]),
        ("Well [clears throat] then", ["Well", "then"]),
        ("안녕 하세요", ["안", "녕", "하", "세", "요"]),
        ("Привет, мир", ["Привет", "мир"]),
        ("in 1945", ["in", "1945"]),
        ("... [laugh] !", []),
    ],
)
def test_words_are_split_without_punctuation_and_tags(text: str, words: list[str]) -> None:
    found = split_words(text)
    assert [word.text for word in found] == words
    assert all(text[word.start : word.end] == word.text for word in found)


@pytest.mark.parametrize(
    ("word", "syllables"),
    [("cat", 1), ("typography", 4), ("device", 2), ("needed", 2), ("walked", 1), ("table", 2)],
)
def test_english_syllables(word: str, syllables: int) -> None:
    assert nominal_seconds(word) == pytest.approx(syllables / 6.19)


def test_scripts_have_rates_of_their_own() -> None:
    assert nominal_seconds("今天") == pytest.approx(2 / 5.18)
    assert nominal_seconds("きょう") == pytest.approx(2 / 7.84)
    assert nominal_seconds("guo4") == pytest.approx(1 / 5.18)
    assert nominal_seconds("नमस्ते") > 0.2


def test_nominal_durations_are_near_real_ones() -> None:
    for name in packaged():
        speech = packaged_speech(name)
        ratio = speech.seconds / nominal_seconds(speech.transcript or "")
        assert 0.8 < ratio < 2.6, name


def test_reading_takes_time_for_letters_and_pauses() -> None:
    assert read_seconds("strengths") > read_seconds("oh") + 0.2
    told = "Again, you see what [sigh] I mean."
    assert read_seconds(told) == pytest.approx(
        read_seconds("again you see what i mean") + 0.18, abs=1e-9
    )
    assert read_seconds("今天") - read_seconds("天") == pytest.approx(1 / 5.18)
    assert read_seconds("... [laugh]") == 0.0
    for name in packaged():
        speech = packaged_speech(name)
        ratio = speech.seconds / read_seconds(speech.transcript or "")
        assert 0.7 < ratio < 1.7, (name, ratio)


def test_tags_are_taken_out_with_their_blanks() -> None:
    assert without_tags("Again [sigh], you see. [laugh]") == "Again, you see."
    assert without_tags("今天累 [sigh]，休息") == "今天累，休息"
    assert without_tags("Hello [[laugh]] there") == "Hello there"


def test_spellings_are_brought_together() -> None:
    assert normalised("Don’t") == normalised("don't")
    assert normalised("ＯＫ") == "ok"


@pytest.mark.parametrize(
    ("a", "b", "distance"), [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
)
def test_edit_distance(a: str, b: str, distance: int) -> None:
    assert edit_distance(a, b) == distance
    assert edit_distance(list(b), list(a)) == distance


@pytest.mark.parametrize(
    ("expected", "heard", "error"),
    [
        ("One two, three.", "one two three", 0.0),
        ("one two three", "one too three four", 2 / 3),
        ("你好吗", "你好", 1 / 3),
        ("", "one", 1.0),
    ],
)
def test_word_error(expected: str, heard: str, error: float) -> None:
    assert word_error(expected, heard) == pytest.approx(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Cafe\u0301 re\u0301sume\u0301", ["café", "résumé"]),
        ("ga\u00adrden wall", ["garden", "wall"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("می\u200cخواهم بروم", ["می\u200cخواهم", "بروم"]),
        ("か\u3099こ", ["が", "こ"]),
        ("Go\u200bhome\ufeff now", ["go", "home", "now"]),
    ],
)
def test_accents_and_invisible_marks_split_no_word(text: str, words: list[str]) -> None:
    assert [normalised(word.text) for word in split_words(text)] == words


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Go\u00a0 home\u200b.\r\nNow\u00ad", "Go home. Now"),
        ("Go\u200bhome\x00\x1b[31m", "Go home [31m"),
        ("Cafe\u0301\u202e", "Café"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_hidden_characters_are_left_out(text: str, plain: str) -> None:
    assert plain_text(text) == plain


def test_numbers_that_are_one_word_are_heard_in_digits_too() -> None:
    pairs = {"6": "six", "Six": "six", "40": "forty", "25": "25", "sechs": "sechs"}
    assert {word: heard_form(word) for word in pairs} == pairs
    assert word_error("six of 40", "6 of forty") == 0


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("伺候老婆是老公的责任", "zh"),
        ("我们用 AI 编辑语音", "zh"),
        ("お元気ですか", "ja"),
        ("カタカナ", "ja"),
        ("안녕하세요", "ko"),
        ("Доброе утро", "ru"),
        ("Good morning, 王", None),
        ("naïve café", None),
        ("12345 ...", None),
        ("", None),
    ],
)
def test_letters_tell_a_language(text: str, language: str | None) -> None:
    assert language_of_letters(text) == language
