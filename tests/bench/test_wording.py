"""Texts of held-out speech: the reference's words, with the recogniser's sentences."""

from __future__ import annotations

import pytest
from stepedit_bench.heldout.wording import repeats_itself, with_reference_words

SAID = "the cars came scudding in towards dublin running evenly like pellets in the groove"


@pytest.mark.parametrize(
    ("heard", "wanted"),
    [
        ("The cars came scutting in towards Dublin,", "The cars came scudding in towards Dublin,"),
        ("Running evenly, like pallets.", "Running evenly, like pellets."),
        ("came in towards double.", "came scudding in towards dublin."),
        ("The Karst came scudding; in towards, Dublin - running!", None),
        ("Kids are talking by the door.", ""),
        ("...", ""),
    ],
)
def test_words_of_the_reference(heard: str, wanted: str | None) -> None:
    if wanted is None:
        wanted = "The Cars came scudding; in towards, Dublin running!"
    assert with_reference_words(heard, SAID) == (wanted or None)


def test_one_word_of_many_may_be_missing_on_either_side() -> None:
    assert with_reference_words("evenly like pellets in groove", SAID) == (
        "evenly like pellets in the groove"
    )
    assert with_reference_words("like the pellets in the groove", SAID) == (
        "like pellets in the groove"
    )


def test_repeated_sentences() -> None:
    assert repeats_itself("Kids are talking. Dogs are sitting. kids are talking!")
    assert not repeats_itself("Kids are talking. Dogs are sitting.")
    assert not repeats_itself("") and not repeats_itself("No end here")
