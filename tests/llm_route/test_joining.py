from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.codes import GROUP_SECONDS, FreeGroups
from stepedit_core.dsp.loudness import active_level
from stepedit_core.errors import EngineError
from stepedit_core.llm_route.joining import splice_groups
from stepedit_core.testing import FakeEngine, speech_like
from stepedit_core.utterance import Span, Utterance

RATE = 24_000
SPEECH = speech_like(2.4, RATE)
CODES = FakeEngine().encode([SPEECH])[0]
FREE = (FreeGroups(5, 8, 4),)


def decoded(gain: float = 1.0, groups: int | None = None) -> Utterance:
    """The source with one group more in the free part, at another level."""
    at = round(8 * GROUP_SECONDS * RATE)
    more = np.concatenate(
        [SPEECH.samples[:at], SPEECH.samples[at - 2880 : at], SPEECH.samples[at:]]
    )
    end = len(more) if groups is None else round(groups * GROUP_SECONDS * RATE)
    return Utterance((gain * more[:end]).astype(np.float32), RATE)


def test_all_but_the_free_groups_stays() -> None:
    edited, facts = splice_groups(SPEECH, decoded(), CODES, FREE)
    assert edited.seconds == pytest.approx(SPEECH.seconds + GROUP_SECONDS, abs=0.03)
    first, last = facts["output_spans"][0]
    head, tail = round(first * RATE), round(last * RATE)
    np.testing.assert_array_equal(edited.samples[:head], SPEECH.samples[:head])
    kept = len(edited.samples) - tail
    np.testing.assert_array_equal(edited.samples[tail:], SPEECH.samples[-kept:])
    assert facts["free_groups"] == [{"start": 5, "stop": 8, "length": 4, "new": False}]


@pytest.mark.parametrize(("gain", "db"), [(0.5, 6.02), (2.0, -6.02), (0.01, 12.0)])
def test_the_level_is_the_source_s(gain: float, db: float) -> None:
    _, facts = splice_groups(SPEECH, decoded(gain), CODES, FREE)
    assert facts["gain_db"] == pytest.approx(db, abs=0.05)


def test_audio_that_ends_early_is_refused() -> None:
    with pytest.raises(EngineError, match="ends before the edited part"):
        splice_groups(SPEECH, decoded(groups=6), CODES, FREE)


@pytest.mark.parametrize(("level", "expected"), [((4.0, 8.0), 4.0), ((-10.0, -5.0), -5.0)])
def test_a_part_moves_its_level_as_its_label_does(
    level: tuple[float, float], expected: float
) -> None:
    edited, facts = splice_groups(SPEECH, decoded(), CODES, FREE, level)
    was = Span(*(CODES.start + at * GROUP_SECONDS for at in (FREE[0].start, FREE[0].stop)))
    before = active_level(SPEECH.slice(was))
    after = active_level(edited.slice(Span(*facts["output_spans"][0])))
    assert before is not None and after is not None
    assert after - before == pytest.approx(expected, abs=0.6)
