from __future__ import annotations

from collections.abc import Iterator

import pytest

from stepedit_core import InterpretationError, interpret
from stepedit_core.registry.registry import Registry, set_registry

TEXT = "Turn left at the barn. Then drive straight for two miles. Park behind the red gate."


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    set_registry(Registry(disabled=()).load())
    yield
    set_registry(None)


def read(*sentences: str) -> list[str]:
    """Return edits and regions of sentences, in words."""
    return [str(one).rsplit(", from ", 1)[0] for one in interpret(sentences, TEXT).readings]


@pytest.mark.parametrize(
    ("said", "edits"),
    [
        ("um so like can you uh make it a little bit faster", ["speed:factor=1.1"]),
        ("Would you be so kind as to slow me down a little, dear?", ["speed:factor=0.9"]),
        ("麻烦您把语速放慢一些", ["speed:factor=0.9"]),
        ("slwo it down", ["speed:rate=slower"]),
        ("remvoe the backgroud noise", ["denoise"]),
        ("normalize to -23 LUFS but remove noise first", ["denoise", "volume:lufs=-23.0"]),
        ("1) denoise 2) 10% faster", ["denoise", "speed:factor=1.1"]),
        ("louder, but keep the speed", ["volume:db=6.0"]),
        ("whisper everything after the first sentence", ["style:to=whisper on sentences 2, 3"]),
        ("from the second sentence on, sadder", ["emotion:to=sad on sentences 2, 3"]),
        ("the last sentence? make it louder", ["volume:db=6.0 on sentence 3"]),
        ("drive straight for two miles - say that slower",
         ["speed:rate=slower on 'drive straight for two miles'"]),
        ("Swap out „red“ for „green“", ["replace:find=red,by=green"]),
        ("change left to right in the first sentence", ["replace:find=left,by=right"]),
        ('put "very" between "the" and "red"', ["insert:text=very,after=the,occurrence=2"]),
        ("leave two seconds of silence at the end", ["pause:seconds=2.0,at=end"]),
        ("say it in the voice from alice.wav", ["voice:reference=alice.wav"]),
        ("remove only the voice and keep the noise", ["separate:keep=background"]),
    ],
)  # fmt: skip
def test_wordings(said: str, edits: list[str]) -> None:
    assert read(said) == edits


@pytest.mark.parametrize(
    "said",
    [
        "he should be fine",
        "the opening three seconds should be calm",
        "louder if the next speaker is quiet",
        "slow it down, but keep the tempo",
        "replace left with something else",
        "replace left with right, then stop and wait",
        "say it in the voice from a.wav and b.wav",
        "raise it to 3 dB",
        "make it lowder",
        'replace "left with right',
        'delete the second sentence, then whisper the third sentence',
        'add "sir" after "barn" and a laugh at the end',
    ],
)  # fmt: skip
def test_nothing_is_dropped_or_guessed(said: str) -> None:
    with pytest.raises(InterpretationError):
        _ = interpret(said, TEXT).chain


def test_change_to_replaces() -> None:
    assert read("用悲伤的语气", "改成开心") == ["emotion:to=happy"]
    assert read("lower the pitch by 2 semitones", "no, three") == ["pitch:semitones=-3.0"]


def test_work_is_bounded() -> None:
    from stepedit_interpret.context import MOST_EFFORT, Effort, Exhausted

    with pytest.raises(Exhausted):
        Effort().spend(MOST_EFFORT + 1)
    for hostile in (
        "make the second sentence louder remove noise " * 22,
        "um uh er " * 110,
        "," * 990,
    ):
        with pytest.raises(InterpretationError):
            interpret(hostile[:1000], TEXT)
    with pytest.raises(InterpretationError, match="10000 characters"):
        interpret("a" * 10_000, TEXT)
