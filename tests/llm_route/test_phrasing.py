"""Texts in phrases that a model says well at once."""

from __future__ import annotations

import re

import pytest

from stepedit_core.dsp.words import read_seconds, split_words
from stepedit_core.llm_route.phrasing import (
    CLAUSE_PAUSE,
    SENTENCE_PAUSE,
    Phrase,
    cut_phrases,
)

LONG = (
    "We walked along the river until the lights went out. Nobody expected the train to arrive on "
    "time, but it did, and the people on the platform were glad of it! Could you read the second "
    "paragraph once more? Mr. Smith paid 3.5 dollars for the soup, which needs a little salt and a "
    "lot of patience that nobody in the whole of this large house seems to have today."
)


def texts(phrases: list[Phrase]) -> list[str]:
    return [phrase.text for phrase in phrases]


@pytest.mark.parametrize("longest", [1.5, 2.0, 2.5, 3.0, 3.6, 8.0])
@pytest.mark.parametrize("pace", [0.7, 1.0, 1.4])
def test_phrases_say_the_text_in_order_and_none_is_tiny(longest: float, pace: float) -> None:
    phrases = cut_phrases(LONG, longest, pace)
    assert " ".join(texts(phrases)) == LONG
    for phrase in phrases:
        assert len(split_words(phrase.text)) > 1
        assert 0.25 * longest <= phrase.seconds <= 1.3 * longest + 0.3
        assert phrase.seconds == pace * read_seconds(phrase.text)


def test_a_short_text_stays_whole() -> None:
    text = " Hello. How are you? "
    assert cut_phrases(text, 3.0) == [Phrase("Hello. How are you?", read_seconds(text), 0.0)]
    assert texts(cut_phrases("Go", 1.0, 9.0)) == ["Go"]


def test_phrases_end_at_sentences_then_commas_then_before_conjunctions() -> None:
    text = "The soup needs a little salt. It needs patience too, so leave it alone for a while."
    phrases = cut_phrases(text, 2.2)
    assert texts(phrases) == [
        "The soup needs a little salt.",
        "It needs patience too,",
        "so leave it alone for a while.",
    ]
    assert [phrase.pause for phrase in phrases] == [SENTENCE_PAUSE, CLAUSE_PAUSE, 0.0]
    plain = "leave the keys on the table by the door and take the parcel with you to the office"
    assert texts(cut_phrases(plain, 3.0)) == [
        "leave the keys on the table by the door",
        "and take the parcel with you to the office",
    ]


def test_a_phrase_does_not_end_after_a_word_that_leans_on_the_next() -> None:
    for longest in (1.5, 2.0, 2.5, 3.0):
        for phrase in cut_phrases(LONG, longest)[:-1]:
            assert split_words(phrase.text)[-1].text.lower() not in {"the", "a", "of", "to"}


def test_abbreviations_and_decimals_end_nothing() -> None:
    joined = texts(cut_phrases(LONG, 2.0))
    assert any("Mr. Smith" in text for text in joined) and any("3.5" in text for text in joined)


@pytest.mark.parametrize("longest", [1.0, 1.5, 2.0, 2.5, 3.0])
def test_tags_stay_whole_and_quotes_with_their_words(longest: float) -> None:
    text = (
        'He came in [laugh] and said "what a day" [long sigh]. [breath] Then he left, [cough] I '
        "hope."
    )
    phrases = cut_phrases(text, longest)
    assert " ".join(texts(phrases)) == text
    found = [tag for one in texts(phrases) for tag in re.findall(r"\[[^\]]*\]", one)]
    assert found == ["[laugh]", "[long sigh]", "[breath]", "[cough]"]
    assert not any(one.endswith(' "') or one.startswith('" ') for one in texts(phrases))


def test_mandarin_is_cut_at_its_own_punctuation_and_pinyin_stays_whole() -> None:
    text = "今日天气很好，我们去公园玩吧。你觉得怎么样？我也想guo4儿的生活，但是要早点回来吃晚饭。"
    phrases = cut_phrases(text, 2.2)
    assert "".join(texts(phrases)) == text
    assert all(one[-1] in "，。？" for one in texts(phrases))
    assert any("guo4" in one for one in texts(phrases))


def test_a_lone_long_word_may_be_a_phrase_where_nothing_else_fits() -> None:
    word = "antidisestablishmentarianism"
    assert " ".join(texts(cut_phrases(f"{word} {word} {word}", 1.0))) == f"{word} {word} {word}"
