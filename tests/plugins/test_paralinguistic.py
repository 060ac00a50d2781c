from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import stepedit_paralinguistic
from pydantic import ValidationError
from stepedit_paralinguistic import Paralinguistic, stepedit_cases
from stepedit_paralinguistic.edit import SYNTHESISED
from stepedit_paralinguistic.insertion import places
from stepedit_paralinguistic.recipes import RECIPES
from stepedit_paralinguistic.scorer import ParalinguisticScorer, acoustic_values, insertions
from stepedit_paralinguistic.tags import TAGS, canonical
from stepedit_paralinguistic.voice import room_tone

from stepedit_core.alignment import Alignment
from stepedit_core.chain.running import carry_out
from stepedit_core.edit import Edit
from stepedit_core.errors import ForeignWordsError, RouteError
from stepedit_core.prompt import Slot
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.scoring import Case, Prepared, Score
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.fake_measures import FailingMeasures, FakeJudge, FakeMeasures
from stepedit_core.testing.signals import noise, silence, speech_like
from stepedit_core.utterance import Utterance

GARDEN = "You love your home [laugh] and want it to be beautiful."


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_prompt_is_the_public_systems_to_the_letter() -> None:
    speech = packaged_speech("garden")
    prompt = Paralinguistic(text=f" {GARDEN} ").prompt(speech)
    assert prompt.user == (
        "Add some non-verbal sounds to make the audio more natural, the new text is : "
        "You love your home [laugh] and want it to be beautiful.\n"
        "  The text corresponding to the audio is: "
        "You love your home and want it to be beautiful.\n\n",
        Slot.AUDIO,
        "\n",
    )


def test_tag_sets_are_whole() -> None:
    assert {version: len(tags) for version, tags in TAGS.items()} == {"2025": 10, "2026": 22}
    for tag in TAGS["2025"]:
        assert canonical(tag, "2025") == tag
        assert canonical(tag, "2026") in TAGS["2026"]
    assert set(RECIPES) == set(SYNTHESISED) <= set(TAGS["2026"])


@pytest.mark.parametrize(
    ("given", "tags", "spelled"),
    [
        ("[Laughter]", "2026", "[laugh]"),
        ("[laugh]", "2025", "[Laughter]"),
        ("[Breathing]", "2026", "[breath]"),
        ("[CLEARS THROAT]", "2026", "[clears throat]"),
        ("[clears_throat]", "2026", "[clears throat]"),
        ("[question-EI]", "2025", "[Question-ei]"),
        ("[um]", "2025", "[Uhm]"),
    ],
)
def test_tag_spelling_in_prompts(given: str, tags: str, spelled: str) -> None:
    edit = Paralinguistic(text=f"Well {given} then", tags=tags)  # type: ignore[arg-type]
    assert f"new text is : Well {spelled} then\n" in edit.prompt(speech_like()).text
    assert edit.transcript_after(speech_like()) == f"Well {spelled} then"


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ({"text": "Well [lauhg] then"}, r"unknown tag \[lauhg\]; did you mean \[laugh\]"),
        ({"text": "Well [Laugther] then", "tags": "2025"}, r"did you mean \[laugh\]"),
        ({"text": "Well [trumpet] then"}, r"there is \[sigh\], \[inhale\]"),
        ({"text": "Well [giggle] then", "tags": "2025"}, r"the nearest is \[Laughter\]"),
        ({"text": "Well [cough] then", "tags": "2025"}, "unknown to the models of 2025"),
        ({"text": "Well then"}, "has no tag"),
        ({"text": "[laugh]"}, "tags alone"),
        ({"text": "Well [laugh then"}, "not closed"),
        ({"text": GARDEN, "tags": "2027"}, "2025"),
    ],
)
def test_bad_texts_are_refused(params: dict[str, str], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        Paralinguistic(**params)  # type: ignore[arg-type]


def test_words_must_be_the_utterances() -> None:
    speech = packaged_speech("garden")
    assert Paralinguistic(text=GARDEN).problem(speech) is None
    assert Paralinguistic(text=GARDEN.replace("beautiful", "pretty")).problem(speech) is None
    problem = Paralinguistic(text="You hate your [laugh] office.").problem(speech)
    assert problem is not None
    assert "first difference at 'hate'" in problem
    assert "words of the transcript" in problem


def test_existing_tags() -> None:
    speech = packaged_speech("garden").replace(transcript=GARDEN.replace("[laugh]", "[Laughter]"))
    assert "has all these tags already" in str(Paralinguistic(text=GARDEN).problem(speech))
    more = Paralinguistic(text=f"{GARDEN} [sigh]")
    assert [tag.tag for tag in more.added(speech)] == ["sigh"]
    assert more.problem(speech) is None


def test_length_ratio_adds_the_sounds() -> None:
    speech = packaged_speech("garden")
    edit = Paralinguistic(text=GARDEN)
    rendered = edit.render(speech, rng())
    expected = edit.plan(speech).length_ratio * speech.seconds
    assert expected == pytest.approx(rendered.utterance.seconds, abs=0.4)


@pytest.mark.parametrize(
    ("tags", "label"),
    [
        ("[laugh]", "paralinguistic:laugh"),
        ("[exhale]", "paralinguistic:sigh"),
        ("[breath]", "paralinguistic:sigh"),
        ("[sigh] [exhale]", "paralinguistic:sigh"),
        ("[laugh] [sigh]", "paralinguistic"),
    ],
)
def test_decoders_are_told_of_breaths_as_sighs(tags: str, label: str) -> None:
    edit = Paralinguistic(text=f"You love your home {tags} and want it to be beautiful.")
    assert edit.plan(packaged_speech("garden")).label == label


def test_llm_route_and_chained_transcript() -> None:
    speech, engine = packaged_speech("garden"), FakeEngine()
    outcome = carry_out(Paralinguistic(text=GARDEN), speech, engine, rng(), "llm", None)
    assert outcome.utterance.transcript == GARDEN
    assert outcome.utterance.seconds > speech.seconds + 0.5


def test_tags_without_a_recipe_are_refused_by_name() -> None:
    edit = Paralinguistic(text="Well [snort] then [laugh] and [Dissatisfaction-hnn] now")
    problem = edit.route_problem("dsp")
    assert problem is not None
    assert "[Dissatisfaction-hnn], [snort]" in problem
    assert "[laugh]" not in problem
    assert edit.route_problem("llm") is None
    with pytest.raises(RouteError, match="use the llm route"):
        edit.render(packaged_speech("garden"), rng())


# Where the tag stands: a time inside the utterance that the insertion must be near to.
PLACES = [
    ("wind", "When the wind is great, bow before it; [laugh] when the wind is heavy, yield to it.",
     2.5, 0.25),
    ("romance", "In romantic love [sigh] you want the other person.", 1.6, 0.2),
    ("books", "produced the block books, [cough] which were the immediate predecessors of the "
     "true printed book,", 1.68, 0.2),
    ("garden", "[uhm] You love your home and want it to be beautiful.", 0.25, 0.1),
    ("garden", "You love your home and want it to be beautiful. [giggle]", 2.75, 0.15),
]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "xx"])
@pytest.mark.parametrize(("name", "text", "at", "within"), PLACES)
def test_event_goes_where_its_tag_stands(
    name: str, text: str, at: float, within: float, language: str
) -> None:
    speech = packaged_speech(name).replace(language=language)
    details = Paralinguistic(text=text).render(speech, rng()).details
    (event,) = details["events"]
    assert event["at"] == pytest.approx(at, abs=within)
    if language == "xx":
        assert details["aligner"] == "pauses"
        assert "English" in details["no_forced_alignment"]


@pytest.mark.parametrize("tag", sorted(RECIPES))
@pytest.mark.parametrize("name", ["romance"])
def test_all_other_samples_stay_and_levels_are_sane(tag: str, name: str) -> None:
    speech = packaged_speech(name)
    words = (speech.transcript or "").split()
    text = " ".join([*words[:3], f"[{tag}]", *words[3:]])
    rendered = Paralinguistic(text=text, backend="synthesised").render(speech, rng())
    out, (event,) = rendered.utterance, rendered.details["events"]
    rate = speech.sample_rate
    cut = round(event["at"] * rate)
    edge = round(0.0101 * rate) + 1
    assert np.array_equal(out.samples[: cut - edge], speech.samples[: cut - edge])
    kept = len(speech.samples) - cut - edge
    assert np.array_equal(out.samples[-kept:], speech.samples[-kept:])
    start, end = event["output_span"]
    assert end - start == pytest.approx(SYNTHESISED[tag], abs=0.2)
    sound = out.slice((start, end)).samples
    level = 20 * np.log10(np.sqrt(np.mean(sound**2)))
    relative = level - rendered.details["voice"]["speech_level_db"]
    low, high = (-30, -18) if tag in ("breath", "inhale", "exhale") else (-18, 2)
    assert low < relative < high
    assert np.abs(sound).max() <= 0.95
    assert out.transcript == text


def pitch(samples: np.ndarray, rate: int) -> np.ndarray:
    import pyworld

    data = samples.astype(np.float64)
    f0, times = pyworld.dio(data, rate, f0_floor=60.0, f0_ceil=600.0)
    return np.asarray(pyworld.stonemask(data, f0, times, rate))


@pytest.mark.parametrize("name", ["wind", "surpassed"])
@pytest.mark.parametrize(
    ("tag", "low", "high"),
    [("uhm", 0.75, 1.05), ("laugh", 1.0, 1.8), ("giggle", 1.4, 2.1), ("Question-ah", 0.9, 1.3)],
)
def test_pitch_lies_in_the_speakers_range(name: str, tag: str, low: float, high: float) -> None:
    speech = packaged_speech(name)
    words = (speech.transcript or "").split()
    text = " ".join([*words[:2], f"[{tag}]", *words[2:]])
    rendered = Paralinguistic(text=text, backend="synthesised").render(speech, rng(1))
    start, end = rendered.details["events"][0]["output_span"]
    f0 = pitch(rendered.utterance.slice((start, end)).samples, speech.sample_rate)
    median = float(np.median(f0[f0 > 0]))
    assert low < median / rendered.details["voice"]["median_f0_hz"] < high


def test_laughter_rhythm() -> None:
    speech = packaged_speech("office")
    text = "Go home [laugh] with some office supplies."
    details = Paralinguistic(text=text, backend="synthesised").render(speech, rng())
    start, end = details.details["events"][0]["output_span"]
    sound = details.utterance.slice((start, end)).samples.astype(np.float64)
    size = round(0.01 * speech.sample_rate)
    power = (sound[: len(sound) // size * size].reshape(-1, size) ** 2).mean(axis=1)
    level = 10 * np.log10(np.convolve(power, np.ones(4) / 4, "same") + 1e-9)
    peaks = [
        i for i in range(4, len(level) - 4)
        if level[i] == level[i - 4 : i + 5].max() and level[i] > level.max() - 12
    ]  # fmt: skip
    assert 4 <= len(peaks) <= 6
    assert 0.16 < float(np.median(np.diff(peaks))) * 0.01 < 0.25
    assert level[peaks[-1]] < level[peaks[0]] - 2
    f0 = pitch(sound, speech.sample_rate)
    voiced = f0[f0 > 0]
    assert voiced[-10:].mean() < 0.85 * voiced[:10].mean()


def test_a_question_rises_and_a_confirmation_falls() -> None:
    speech = packaged_speech("office")
    slopes = {}
    for tag in ("Question-ah", "Confirmation-en"):
        text = f"Go home [{tag}] with some office supplies."
        rendered = Paralinguistic(text=text).render(speech, rng())
        span = rendered.details["events"][0]["output_span"]
        f0 = pitch(rendered.utterance.slice(span).samples, speech.sample_rate)
        voiced = f0[f0 > 0]
        slopes[tag] = np.median(voiced[-12:]) / np.median(voiced[:12])
    assert slopes["Question-ah"] > 1.2
    assert slopes["Confirmation-en"] < 0.9


def test_several_tags_and_the_same_place() -> None:
    text = "You love your home [uhm] [laugh] and want it to be beautiful. [sigh]"
    rendered = Paralinguistic(text=text).render(packaged_speech("garden"), rng())
    events = rendered.details["events"]
    assert [event["tag"] for event in events] == ["uhm", "laugh", "sigh"]
    assert events[0]["at"] == events[1]["at"] < events[2]["at"]
    spans = [event["output_span"] for event in events]
    assert all(a[1] < b[0] for a, b in pairwise(spans))


def test_same_seed_same_sound_in_any_order() -> None:
    edit = Paralinguistic(text=GARDEN)
    speech = packaged_speech("garden")
    first = edit.render(speech, rng(4)).utterance
    Paralinguistic(text="Go home [laugh] with some office supplies.").render(
        packaged_speech("office"), rng(5)
    )
    assert edit.render(speech, rng(4)).utterance == first
    assert edit.render(speech, rng(5)).utterance != first


@pytest.mark.parametrize(
    "utterance",
    [
        noise(0.02), silence(1.0), speech_like(seconds=0.1), speech_like(sample_rate=8_000),
        speech_like(sample_rate=96_000),
    ],
)  # fmt: skip
def test_odd_audio_is_survived_and_said(utterance: Utterance) -> None:
    plain = utterance.replace(transcript=None)
    rendered = Paralinguistic(text="Well [laugh] then").render(plain, rng())
    out = rendered.utterance
    assert out.sample_rate == utterance.sample_rate
    assert np.isfinite(out.samples).all()
    assert out.seconds > utterance.seconds + 0.8
    if not rendered.details["voice"]["measured"]:
        assert "average voice" in rendered.details["warning"]


def score(edit: Edit, output: Utterance, source: Utterance, rating: float | None) -> Score:
    case = Case(id="x", edit=edit, audio="speech:garden")
    judge = FakeJudge(score=rating)
    return ParalinguisticScorer().score(case, Prepared(source), output, FakeMeasures(judge))


def test_scorer_takes_the_judge_and_finds_the_place() -> None:
    speech = packaged_speech("garden")
    edit = Paralinguistic(text=GARDEN)
    output = edit.render(speech, rng()).utterance
    good = score(edit, output, speech, 3)
    assert good.reached
    assert good.values["judge_score"] == 3
    assert good.values["found_in_place"] == 1.0
    assert good.values["inserted_seconds"] == pytest.approx(output.seconds - speech.seconds)
    assert (good.values["place_error_seconds"] or 0) < 0.25
    assert [score(edit, output, speech, rating).reached for rating in (1, 2)] == [False, False]


def test_scorer_wrong_place() -> None:
    speech = packaged_speech("garden")
    edit = Paralinguistic(text=GARDEN)
    elsewhere = Paralinguistic(text="You love your home and want it to be beautiful. [laugh]")
    moved = score(edit, elsewhere.render(speech, rng()).utterance, speech, 1)
    assert moved.values["found_in_place"] == 0.0
    untouched = score(edit, speech, speech, 3)
    assert untouched.reached is False
    assert untouched.values["inserted_seconds"] == 0.0


def test_scorer_failing_judge() -> None:
    speech = packaged_speech("garden")
    edit = Paralinguistic(text=GARDEN)
    assert score(edit, speech, speech, None).unscored == "the fake judge was told to refuse"
    case = Case(id="x", edit=edit, audio="speech:garden")
    failed = ParalinguisticScorer().score(case, Prepared(speech), speech, FailingMeasures())
    assert failed.reached is None


def test_scorer_asks_about_event_and_place() -> None:
    speech, judge = packaged_speech("garden"), FakeJudge(score=2)
    case = Case(id="x", edit=Paralinguistic(text=GARDEN), audio="speech:garden")
    ParalinguisticScorer().score(case, Prepared(speech), speech, FakeMeasures(judge))
    ((task, asked),) = judge.questions
    assert task == "paralinguistic"
    (event,) = asked["events"]
    assert event["tag"] == "laugh"
    assert event["after_words"] == ["You", "love", "your", "home"]


@pytest.mark.parametrize("at", [0.2, 1.35, 3.3])
def test_insertions_of_known_size_are_measured_back(at: float) -> None:
    speech = packaged_speech("garden")
    cut = round(at * speech.sample_rate)
    burst = noise(0.6).samples * 0.5
    output = np.concatenate([speech.samples[:cut], burst, speech.samples[cut:]])
    found = insertions(speech, speech.replace(samples=output))
    assert sum(one.seconds for one in found) == pytest.approx(0.6, abs=0.15)
    assert found[0].at == pytest.approx(at, abs=0.2)
    assert found[0].start == pytest.approx(at, abs=0.2)


def test_a_pause_is_no_sound() -> None:
    speech = packaged_speech("garden")
    edit = Paralinguistic(text="You love your home [sigh] and want it to be beautiful.")
    (place,) = places(edit, speech)
    cut = round(place * speech.sample_rate)
    tone = room_tone(speech, round(0.5 * speech.sample_rate), np.random.default_rng(0))
    for put_in, found in ((np.zeros_like(tone), 0.0), (tone, 0.0), (noise(0.5).samples * 0.1, 1.0)):
        samples = np.concatenate([speech.samples[:cut], put_in, speech.samples[cut:]])
        output = speech.replace(samples=samples.astype(np.float32))
        assert acoustic_values(edit, speech, output)["found_in_place"] == found


def test_cases_are_whole() -> None:
    registry = Registry(disabled=[])
    registry.register(stepedit_paralinguistic, "paralinguistic")
    set_registry(registry)
    try:
        cases = list(stepedit_cases(Paralinguistic, "default") or [])
    finally:
        set_registry(None)
    assert 10 <= len(cases) <= 24
    for case in cases:
        speech = packaged_speech(case.audio.removeprefix("speech:"))
        assert case.edit.problem(speech) is None
        assert case.edit.route_problem("dsp") is None


def test_foreign_words_end_plan_and_render(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(utterance: Utterance) -> Alignment:
        raise ForeignWordsError("the transcript is not that of the recording")

    monkeypatch.setattr("stepedit_paralinguistic.insertion.place_words", refuse)
    speech = packaged_speech("garden")
    inside = Paralinguistic(text=GARDEN)
    assert "not that of the recording" in (inside.plan(speech).problem or "")
    with pytest.raises(ForeignWordsError):
        inside.render(speech, rng())
    # At an end of speech, no word has to be placed.
    assert Paralinguistic(text=f"{speech.transcript} [sigh]").plan(speech).problem is None


@pytest.mark.slow
def test_another_recordings_words_are_refused() -> None:
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("faster_whisper")
    words = "Hello there my old friend of mine."
    speech = packaged_speech("office").replace(transcript=words, alignment=None)
    inside = Paralinguistic(text="Hello there my [sigh] old friend of mine.")
    assert "not that of the recording" in (inside.plan(speech).problem or "")
    with pytest.raises(ForeignWordsError, match="not that of the recording"):
        inside.render(speech, rng())
    # At an end of speech, no word has to be placed.
    assert Paralinguistic(text=f"{words} [sigh]").plan(speech).problem is None
