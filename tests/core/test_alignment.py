"""Timed words: finding phrases, sentences, data, moving in time."""

from __future__ import annotations

import json

import pytest

from stepedit_core import Alignment, TimedWord
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import AlignmentError

TEXT = 'We saw Dr. Smith at 3.5 km. "Stop!" he said. We saw him again.'


def timed(text: str = TEXT, step: float = 0.5) -> Alignment:
    words = tuple(
        TimedWord(word.text, n * step, n * step + 0.4, 0.9)
        for n, word in enumerate(split_words(text))
    )
    return Alignment(text, words, "test")


def test_sentences_end_at_stops_alone() -> None:
    texts = [one.text for one in timed().sentences]
    assert texts == ["We saw Dr. Smith at 3.5 km.", '"Stop!"', "he said.", "We saw him again."]
    assert [one.text for one in timed("你好。我在这里！").sentences] == ["你好。", "我在这里！"]


def test_sentences_have_the_times_of_their_words() -> None:
    last = timed().sentences[-1]
    words = timed().words
    assert (last.start, last.end) == (words[last.first].start, words[last.stop - 1].end)
    assert last.stop == len(words)


@pytest.mark.parametrize("phrase", ["dr smith", "Dr. SMITH,", "Ｄｒ Smith"])
def test_find_ignores_case_width_and_punctuation(phrase: str) -> None:
    assert timed().find(phrase) == range(2, 4)


def test_find_asks_which_occurrence() -> None:
    with pytest.raises(AlignmentError, match="said 2 times"):
        timed().find("we saw")
    second = timed().find("we saw", 2)
    assert timed().words[second.start].text == "We" and second.start > 5
    with pytest.raises(AlignmentError, match="there is no 3"):
        timed().find("we saw", 3)


def test_find_names_near_misses() -> None:
    with pytest.raises(AlignmentError, match="nearest is 'smith'"):
        timed().find("smit")
    with pytest.raises(AlignmentError, match="holds no word"):
        timed().find("...")


def test_find_characters() -> None:
    assert timed("今天天气很好").find("天气") == range(2, 4)


def test_json_round_trip() -> None:
    data = json.loads(json.dumps(timed().to_data()))
    again = Alignment.from_data(data)
    assert [w.text for w in again.words] == [w.text for w in timed().words]
    assert again.text == TEXT
    assert data["sentences"][0]["words"] == [0, timed().sentences[0].stop]


@pytest.mark.parametrize(
    "row",
    [{"start": 0, "end": 1}, {"text": "a", "start": "0", "end": 1}, {"text": "a", "start": True}],
)
def test_wrong_words_are_refused(row: dict[str, object]) -> None:
    with pytest.raises(AlignmentError, match="word 1"):
        Alignment.from_data({"words": [row]})


def test_times_must_fit() -> None:
    for start, end in ((1.0, 0.5), (float("nan"), 1.0), (-1.0, 0.0)):
        with pytest.raises(AlignmentError):
            Alignment("a", (TimedWord("a", start, end),), "test")
    with pytest.raises(AlignmentError, match="2 words, 1 are timed"):
        Alignment("a b", (TimedWord("a", 0, 1),), "test")


def test_moved() -> None:
    slow = timed().moved(lambda second: 2 * second)
    assert slow.words[3].start == 2 * timed().words[3].start
    assert slow.text == TEXT


def test_gaps() -> None:
    found = timed("one two three")
    assert found.gap(0, 9.0) == (0.0, 0.0)
    assert found.gap(1, 9.0) == (0.4, 0.5)
    assert found.gap(3, 9.0) == (1.4, 9.0)
