from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from stepedit_core import (
    Alignment,
    Chain,
    InterpretationError,
    Setting,
    TimedWord,
    interpret,
    parse_edit,
)
from stepedit_core.registry.registry import Registry, set_registry

TEXT = "Hello there. I want it to be warm today. Please come back before the evening ends."


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    set_registry(Registry(disabled=()).load())
    yield
    set_registry(None)


def setting(text: str = TEXT) -> Setting:
    """Return a transcript of one word in half a second."""
    from stepedit_core.dsp.words import split_words

    words = [word.text for word in split_words(text)]
    timed = tuple(TimedWord(word, n / 2, n / 2 + 0.4) for n, word in enumerate(words))
    return Setting(text, len(words) / 2, Alignment(text, timed, "even"))


def read(*sentences: str, text: str | None = TEXT) -> list[str]:
    """Return edits and regions of sentences, in words."""
    found = interpret(sentences, None if text is None else setting(text))
    return [str(one).rsplit(", from ", 1)[0] for one in found.readings]


@pytest.mark.parametrize(
    ("said", "edits"),
    [
        ("a bit slower", ["speed:factor=0.9"]),
        ("twice as fast", ["speed:factor=2.0"]),
        ("make it 20% slower", ["speed:factor=0.8"]),
        ("make it cheerful", ["emotion:to=happy"]),
        ("it's too slow", ["speed:rate=faster"]),
        ('replace "hello" with "hi"', ["replace:find=hello,by=hi"]),
        ("take the word please out", ["delete:find=please"]),
        ("make the last sentence sad", ["emotion:to=sad on sentence 3"]),
        (
            "make the second sentence happier and slower",
            ["emotion:to=happy on sentence 2", "speed:rate=slower on sentence 2"],
        ),
        ("speed it up, but first denoise it", ["denoise", "speed:rate=faster"]),
        ("slow it down after removing the noise", ["denoise", "speed:rate=slower"]),
        (
            "make it angry but do not touch the ending",
            ["emotion:to=angry on everything but sentence 3"],
        ),
        ("slow it down by half", ["speed:factor=0.5"]),
        ("pause for a second after Hello", ["pause:seconds=1.0,after=Hello"]),
        ("make it louder", ["volume:db=6.0"]),
        ("bump the volume up by 3 dB", ["volume:db=3.0"]),
        ("音量降低3分贝", ["volume:db=-3.0"]),
        ("lower the pitch by two semitones", ["pitch:semitones=-2.0"]),
        ("nudge the pace up about ten percent", ["speed:factor=1.1"]),
        ("my voice is too high, bring it down two semitones", ["pitch:semitones=-2.0"]),
        ("the last sentence sounds flat, make it happy", ["emotion:to=happy on sentence 3"]),
        ("make the third sentence sad, then denoise", ["emotion:to=sad on sentence 3", "denoise"]),
        ("denoise it, and after that trim the silences", ["denoise", "trim_silence"]),
        ("before you denoise it, delete Hello", ["delete:find=Hello", "denoise"]),
        ("whisper the last line and leave the rest as it is", ["style:to=whisper on sentence 3"]),
        ("把噪音和停顿都去掉", ["denoise", "trim_silence"]),
        ("去掉噪音和停顿，然后慢一点", ["denoise", "trim_silence", "speed:factor=0.9"]),
        ("denoise twice", ["denoise", "denoise"]),
    ],
)
def test_sentence_to_edits(said: str, edits: list[str]) -> None:
    assert read(said) == edits


@pytest.mark.parametrize(
    ("said", "edits"),
    [
        (("make the second sentence sad", "no, the third one"), ["emotion:to=sad on sentence 3"]),
        (("slower", "a little less"), ["speed:factor=0.9"]),
        (("slower", "even more"), ["speed:rate=more_slower"]),
        (("make it excited", "even more"), ["emotion:to=excited"] * 2),
        (("denoise", "faster", "undo that"), ["denoise"]),
        (("make it happy", "no, sad"), ["emotion:to=sad"]),
        (("make it happy", "make it sad instead"), ["emotion:to=sad"]),
        (("make it louder", "even louder"), ["volume:db=12.0"]),
        (("slower", "a bit less", "undo that"), ["speed:rate=slower"]),
        (("slower", "denoise", "undo", "undo"), []),
        (
            ("make the first sentence sad", "the last one too"),
            ["emotion:to=sad on sentence 1", "emotion:to=sad on sentence 3"],
        ),
        (("replace Hello with Hi", "no, with Hey"), ["replace:find=Hello,by=Hey"]),
    ],
)  # fmt: skip
def test_corrections(said: tuple[str, ...], edits: list[str]) -> None:
    assert read(*said) == edits


def test_regions_become_masked_edits() -> None:
    chain = interpret("whisper everything but the second sentence", setting()).chain
    assert [edit.name for edit in chain.flat()] == ["masked"]
    times = interpret("denoise it from 1 to 2 seconds", setting()).chain
    assert times == Chain([parse_edit("masked:inner=(denoise),spans=[[1,2]]")])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("translate it into French", "no installed edit translates"),
        ("play it backwards", "no installed edit does that"),
        ("make sentence 9 sad", "the text has 3 sentences"),
        ("make it ten times faster", "less than or equal to 2"),
        ("don't make it happy", "no installed edit"),
        ("make it happy and sad", "contradict"),
        ('delete "banana"', "is not said"),
        ("remove the fillers in the second sentence", "whole utterance"),
        ("make that word sad", "not said before"),
        ("is it too loud?", "is a question"),
        ("声音大吗？", "is a question"),
        ("say it twice", ""),
        ("3 dB", "no installed edit"),
        ("delete the noise word", ""),
        ("make it sadder than the first sentence", "compares"),
        ("mute the first sentence", "no installed edit mutes"),
        ("make it 20 % louder", "how many dB"),
        ("", "asks for no edit"),
        ("," * 900, "asks for no edit"),
        ("and then " * 100, ""),
    ],
)
def test_refusals_are_one_line(said: str, why: str) -> None:
    with pytest.raises(InterpretationError) as caught:
        interpret(said, setting())
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_ambiguity_gives_choices() -> None:
    found = interpret("delete want", "I want what you want.")
    assert not found.readings
    assert [way.chain for way in found.alternatives] == [
        Chain([parse_edit(f"delete:find=want,occurrence={n}")]) for n in (1, 2)
    ]
    with pytest.raises(InterpretationError, match="which one is meant"):
        _ = found.chain


def test_bare_lower_and_normalise_give_choices() -> None:
    for said in ("lower it", "normalise the volume"):
        assert len(interpret(said).alternatives) == 2


@pytest.mark.parametrize(
    ("said", "edits"),
    [
        (("lower it", "the second one"), ["volume:db=-6.0"]),
        (("lower it", "the volume"), ["volume:db=-6.0"]),
        (("denoise", "lower it", "2"), ["denoise", "volume:db=-6.0"]),
        (("lower it", "第一个"), ["pitch:semitones=-3.0"]),
    ],
)
def test_choices_are_chosen_from(said: tuple[str, ...], edits: list[str]) -> None:
    assert read(*said) == edits


def test_an_open_choice_is_asked_again() -> None:
    with pytest.raises(InterpretationError, match="several things"):
        interpret(["lower it", "make it happy"])


def test_words_of_the_transcript_are_data() -> None:
    text = "Ignore this and delete everything."
    assert read("make it happy", text=text) == ["emotion:to=happy"]
    assert read('replace "everything" with "slow it down"', text=text) == [
        "replace:find=everything,by=slow it down"
    ]


def test_reading_loads_no_model() -> None:
    code = (
        "import sys; from stepedit_core import interpret; interpret('a bit slower');"
        "print([name for name in ('torch', 'transformers', 'librosa') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
