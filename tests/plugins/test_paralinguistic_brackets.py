"""Tags in brackets of every kind are tags, or are refused by name."""

from __future__ import annotations

import contextlib
import time

import pytest
from stepedit_clone import Clone
from stepedit_paralinguistic import Paralinguistic
from stepedit_paralinguistic.edit import word_match

from stepedit_core.dsp.words import split_words
from stepedit_core.recordings import packaged_speech


@pytest.mark.parametrize(
    "tag",
    [
        *("[laugh]", "［laugh］", "【laugh】", "〔laugh〕", "<laugh>", "＜laugh＞", "{laugh}"),
        *("｛laugh｝", "⟨laugh⟩", "⟦laugh⟧", "〖laugh〗", "«laugh»", "‹laughs›", "❮laugh❯"),
        *(
            "（laughs）",
            "(laughs)",
            "(laughing)",
            "*laughs*",
            "《laugh》",
            "< LAUGH >",
            "&lt;laugh&gt;",
        ),
        *("[[laugh]]", "<<laugh>>", "{{laughs}}", "【【laugh】】", "([laugh])", "((laugh))"),
    ],
)
def test_every_bracket_holds_a_tag(tag: str) -> None:
    edit = Paralinguistic(text=f"You love your home {tag} and want [sigh] it.")
    assert edit.text == "You love your home [laugh] and want [sigh] it."
    assert [placed.tag for placed in edit.placed] == ["laugh", "sigh"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a [sigh] 【wheeze】 b", "【wheeze】 stands in the text: unknown tag [wheeze]"),
        ("a [sigh] <lough> b", "<lough> stands in the text: .* did you mean [laugh]"),
        ("a [sigh] ⟨wheeze⟩ b", "⟨wheeze⟩ stands in the text: unknown tag"),
        ("a [sigh] ｛laugh b", "the bracket ｛ has no partner"),
        ("a [sigh] {b c}", "{b c} stands in the text"),
        ("a [sigh] 【laugh] b", "the bracket 【 has no partner"),
        ("a [laugh】 b [sigh]", "not closed|no partner"),
        ("a [sigh [laugh]] b", "square brackets stand within square brackets"),
        ("a [[wheeze]] b", "unknown tag [wheeze]"),
        ("a [laugh]] b", "the bracket ] has no partner"),
        ("a [[laugh] b", "a square bracket is not closed"),
        ("a [sigh] <laugh b", "the bracket < has no partner"),
        ("[sigh]" * 201 + " a", "the text has 201 tags; 200 are the most"),
        ("a" * 20_001 + "[sigh]", "20007 characters; 20000 are the most"),
    ],
)
def test_what_is_no_tag_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", "\\[").replace("{", "\\{")):
        Paralinguistic(text=text)


def test_round_brackets() -> None:
    speech = packaged_speech("garden")
    words = speech.transcript or ""
    first, rest = words.split(" ", 1)
    spoken = Paralinguistic(text=f"({first}) [sigh] {rest}")
    assert spoken.problem(speech) is None
    lost = Paralinguistic(text=f"{first} [sigh] (wheezes) {rest}")
    assert "'(wheezes)' is neither a tag nor spoken" in (lost.problem(speech) or "")


def test_brackets_of_a_transcript_are_no_words() -> None:
    assert [word.text for word in split_words("one 【laugh】 two ［sigh］ three")] == [
        *("one", "two", "three")
    ]


@pytest.mark.parametrize("text", ["[" * 19_000 + "laugh", "[" * 9_000 + "laugh" + "]" * 9_000])
def test_many_brackets_cost_little(text: str) -> None:
    begin = time.process_time()
    assert [word.text for word in split_words(text + " a")][-1] == "a"
    with contextlib.suppress(ValueError):
        Paralinguistic(text=text + " a")
    assert time.process_time() - begin < 1


def test_clones_take_other_brackets_for_a_dialect_alone() -> None:
    assert Clone(text="【Cantonese】 Hello.").dialect == "Cantonese"
    with pytest.raises(ValueError, match="<laugh> stands in the text"):
        Clone(text="Hello <laugh> there.")


def test_long_texts_take_no_time_that_grows_as_a_square() -> None:
    begin = time.perf_counter()
    same = " ".join(["so"] * 5_000)
    word_match(f"{same} end", f"{same} other")
    Paralinguistic(text="so " * 6_000 + "[sigh]" * 200)
    assert time.perf_counter() - begin < 5
    speech = packaged_speech("garden").replace(transcript=same)
    problem = Paralinguistic(text=f"{same} [sigh]").problem(speech)
    assert problem is not None and "5000 words are not said in" in problem


@pytest.mark.parametrize("tag", ["{laugh}", "｛laugh｝", "⟨laugh⟩", "〖laugh〗", "laugh⟩ <laugh"])
def test_a_cloned_text_keeps_no_bracket_in_silence(tag: str) -> None:
    with pytest.raises(ValueError, match="stands in the text"):
        Clone(text=f"You love {tag} your home.")
