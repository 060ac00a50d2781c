from __future__ import annotations

from collections.abc import Mapping

import pytest
from stepedit_bench.measuring.text_error import TextErrors
from stepedit_bench.preservation import SpeechMeasurements, check, measure, verdict
from stepedit_bench.rows import joint

from stepedit_core.recordings import packaged_speech
from tests.bench.bench_kit import LightMeasures

GOOD: Mapping[str, float | None] = {
    "speaker_similarity": 0.95,
    "dnsmos_ovrl": 3.0,
    "loudness_lufs": -23.0,
    "active_level": -24.0,
    "clipped_share": 0.0,
    "seconds": 4.0,
}


def kept(
    errors: int = 0, length: int = 10, unit: str = "word", **changes: float | None
) -> SpeechMeasurements:
    return SpeechMeasurements(TextErrors(errors, length, unit), {**GOOD, **changes})


@pytest.mark.parametrize(
    ("output", "name", "passes"),
    [
        (kept(errors=1), "words", True),
        (kept(errors=2), "words", False),
        (kept(errors=2, length=25), "words", True),
        (kept(speaker_similarity=0.70), "speaker", True),
        (kept(speaker_similarity=0.69), "speaker", False),
        (kept(dnsmos_ovrl=2.5), "quality", True),
        (kept(dnsmos_ovrl=2.4), "quality", False),
        (kept(loudness_lufs=-17.0), "loudness", True),
        (kept(loudness_lufs=-30.0), "loudness", False),
        (kept(active_level=-25.9), "level", True),
        (kept(active_level=-26.1), "level", False),
        (kept(clipped_share=0.0005), "clipping", True),
        (kept(clipped_share=0.002), "clipping", False),
        (kept(seconds=7.9), "duration", True),
        (kept(seconds=8.1), "duration", False),
        (kept(seconds=1.9), "duration", True),
    ],
)
def test_each_check_fails_alone(output: SpeechMeasurements, name: str, passes: bool) -> None:
    checks = check(output, kept(), None)
    assert checks[name] is passes
    assert all(value for other, value in checks.items() if other != name)
    assert verdict(checks) is passes


def test_duration_is_strict_where_the_scorer_says_so() -> None:
    assert check(kept(seconds=4.3), kept(), None, same_duration=True)["duration"] is False
    assert check(kept(seconds=4.1), kept(), None, same_duration=True)["duration"] is True
    assert check(kept(seconds=2.0), kept(), None, length_ratio=0.5)["duration"] is True


def test_what_coding_does_to_the_level_is_no_excuse() -> None:
    lowered = kept(active_level=-28.0)
    assert check(lowered, kept(), lowered)["level"] is False
    assert check(lowered, kept(), None, reference=lowered)["level"] is True
    assert "level" not in check(lowered, kept(), None, waived=frozenset({"level"}))


def test_an_edit_answers_only_for_its_own_delta() -> None:
    identity = kept(errors=4, speaker_similarity=0.6, dnsmos_ovrl=2.0, loudness_lufs=-12.0)
    output = kept(errors=5, speaker_similarity=0.56, dnsmos_ovrl=1.6, loudness_lufs=-8.0)
    assert verdict(check(output, kept(), None)) is False
    assert verdict(check(output, kept(), identity)) is True
    worse = kept(errors=6, speaker_similarity=0.54, dnsmos_ovrl=1.6, loudness_lufs=-8.0)
    failed = check(worse, kept(), identity)
    assert failed["words"] is False and failed["speaker"] is False


def test_what_was_not_measured_stays_open() -> None:
    open_one = check(kept(dnsmos_ovrl=None), kept(), None)
    assert open_one["quality"] is None and verdict(open_one) is None
    both = check(kept(dnsmos_ovrl=None, clipped_share=0.5), kept(), None)
    assert verdict(both) is False, "a failed check decides, whatever is open"
    waived = check(kept(dnsmos_ovrl=None), kept(), None, waived=frozenset({"quality"}))
    assert "quality" not in waived and verdict(waived) is True


def test_errors_in_other_units_are_not_compared() -> None:
    assert check(kept(errors=9, unit="phone"), kept(unit="word"), None)["words"] is None


@pytest.mark.parametrize(
    ("reached", "preserved", "both"),
    [
        (True, True, True),
        (True, False, False),
        (False, True, False),
        (None, False, None),
        (False, None, None),
        (None, None, None),
    ],
)
def test_joint_success_is_open_where_either_half_is(
    reached: bool | None, preserved: bool | None, both: bool | None
) -> None:
    assert joint(reached, preserved) is both


def test_failed_measurements_carry_their_reason() -> None:
    speech = packaged_speech("office").replace(transcript=None)
    measures = LightMeasures()
    found = measure(speech, speech, "Go home", measures)
    assert found.text is None and "no transcript" in found.failures["text"]
    assert found.values["seconds"] == pytest.approx(speech.seconds)


def test_phones_of_unknown_languages() -> None:
    pytest.importorskip("hama")
    pytest.importorskip("jiwer")
    pytest.importorskip("whisper_normalizer")
    speech = packaged_speech("office").replace(language="zh", transcript="你好世界")
    measures = LightMeasures()
    same = measure(speech, speech, "你好, 世界", measures)
    assert same.text is not None and same.text.unit == "phone" and same.text.errors == 0
    other = measure(speech, speech, "再见", measures)
    assert other.text is None and "--asr" in other.failures["text"]


def test_ideal_output_as_reference() -> None:
    # Speech at -23 LUFS under louder noise: taking the noise away is no damage to the level.
    noisy, clean = kept(loudness_lufs=-14.0, dnsmos_ovrl=1.5), kept(loudness_lufs=-23.0)
    output = kept(loudness_lufs=-22.0, dnsmos_ovrl=2.5)
    assert check(output, noisy, None)["loudness"] is False
    assert check(output, noisy, None, reference=clean)["loudness"] is True
    buried = kept(speaker_similarity=0.5)
    assert check(kept(speaker_similarity=0.46), buried, None, reference=clean)["speaker"] is True
    assert check(kept(speaker_similarity=0.44), buried, None, reference=clean)["speaker"] is False
