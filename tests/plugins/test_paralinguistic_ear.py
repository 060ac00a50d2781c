from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from stepedit_paralinguistic import Paralinguistic
from stepedit_paralinguistic.ear import KINDS, fit_of, kind_of, log_mels, log_probabilities
from stepedit_paralinguistic.recorded import RECORDED

from stepedit_core.edit import Outcome
from stepedit_core.recordings import packaged_speech
from stepedit_core.utterance import Span, Utterance

WORDS = "You love your home and want it to be beautiful."


@pytest.mark.parametrize("tag", sorted(RECORDED))
def test_recorded_sounds_are_heard_as_their_kind(tag: str) -> None:
    speech = packaged_speech("garden")
    edit = Paralinguistic(text=f"{WORDS} [{tag}]")
    rendered = edit.render(speech, np.random.default_rng(0))
    (report,) = rendered.details["events"]
    level = float(np.sqrt(np.mean(speech.samples**2)))
    heard = log_probabilities(log_mels(rendered.utterance, Span(*report["output_span"]), level))
    assert KINDS[int(heard.argmax())] == kind_of(tag)
    assert np.exp(heard).sum() == pytest.approx(1, abs=1e-3)


def test_words_are_heard_as_speech() -> None:
    speech = packaged_speech("garden")
    level = float(np.sqrt(np.mean(speech.samples**2)))
    heard = log_probabilities(log_mels(speech, Span(0.4, 1.6), level))
    assert KINDS[int(heard.argmax())] == "speech"


def test_the_sound_asked_for_fits_best() -> None:
    speech = packaged_speech("garden")
    edit = Paralinguistic(text=f"{WORDS} [laugh]")
    rendered = edit.render(speech, np.random.default_rng(0))
    (report,) = rendered.details["events"]
    start, end = report["output_span"]
    outcome = Outcome(
        rendered.utterance, "llm", None, {"output_spans": [[start - 0.06, end + 0.06]]}
    )
    fit = partial(fit_of, speech, outcome)
    assert fit(["laugh"]) > max(fit(["cough"]), fit(["breath"]), fit(["uhm"]))
    assert fit(["laugh", "laugh"]) == pytest.approx(fit(["laugh"]))
    plan = edit.plan(speech)
    assert plan.fits is not None and plan.fits(outcome) == fit(["laugh"])


def test_a_breath_drawn_as_silence_fits_less() -> None:
    speech = packaged_speech("garden")
    rng = np.random.default_rng(0)
    hiss = rng.standard_normal(len(speech.samples)).astype(np.float32)
    level = float(np.sqrt(np.mean(speech.samples**2)))

    def fit(db: float) -> float:
        sound = Utterance(hiss * level * 10 ** (db / 20), speech.sample_rate)
        outcome = Outcome(sound, "llm", None, {"output_spans": [[0.3, 1.2]]})
        return fit_of(speech, outcome, ["breath"])

    assert fit(-18) > fit(-45) and fit(-18) > fit(6)


def test_what_has_no_new_sound_tells_nothing() -> None:
    speech = packaged_speech("garden")
    assert fit_of(speech, Outcome(speech, "llm"), ["laugh"]) == 0.0
