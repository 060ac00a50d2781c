"""The engine says long texts phrase by phrase, at once and as a stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stepedit_core import Engine, GenerationPolicy, SamplingConfig
from stepedit_core.llm_route.phrasing import SENTENCE_PAUSE
from stepedit_core.recordings import packaged_speech
from tests.models.tiny_checkpoint import write_engine
from tests.saying_edit import Say

SENTENCES = "Bees see the sea. They like it there."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_engine(tmp_path_factory.mktemp("engine"))


def loaded(folder: Path, phrase: float | None, voice: float | None) -> Engine:
    policy = GenerationPolicy(max_growth=1.0, growth_seconds=0.0)
    rules = {"say": {"phrase_seconds": phrase, "voice_seconds": voice}}
    return Engine.load(
        folder,
        sampling=SamplingConfig(max_length=600),
        generation=policy.model_copy(update={"edits": rules}),
    )


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return loaded(folder, 1.3, 1.5)


def test_the_limits_hold_for_the_edit_that_has_them(engine: Engine) -> None:
    assert engine.spoken_at_once(("say",)) == (1.3, 1.5)
    assert engine.spoken_at_once(("clone",)) == (None, None)


def test_a_stream_says_the_phrases_of_the_whole_with_its_pause(engine: Engine) -> None:
    speech, edit = packaged_speech("office"), Say(text=SENTENCES)
    (made,) = engine.edit(speech, edit, seed=3)
    chunks = list(engine.stream(speech, edit, seed=3))
    assert made.details["phrases"] == 2 and made.codes is None and made.latent is None
    pause = round(SENTENCE_PAUSE * engine.sample_rate)
    assert [len(chunk) for chunk in chunks if not chunk.any()].count(pause) == 1
    assert sum(map(len, chunks)) == made.details["groups"] * 2880 + pause
    assert len(made.utterance.samples) == sum(map(len, chunks))
    assert all(chunk.dtype == np.float32 and np.isfinite(chunk).all() for chunk in chunks)


def test_a_short_text_is_the_same_bits_with_limits_and_without(folder: Path) -> None:
    speech = packaged_speech("office")
    outcomes = [
        loaded(folder, *limits).edit(speech, Say(text="Bees."), seed=3)[0]
        for limits in ((None, None), (2.0, 30.0))
    ]
    assert outcomes[0].utterance.digest == outcomes[1].utterance.digest
    assert outcomes[0].codes == outcomes[1].codes
    assert outcomes[0].details == outcomes[1].details
    assert outcomes[1].latent is not None


def test_in_a_batch_each_text_is_what_it_is_alone(engine: Engine) -> None:
    speech = packaged_speech("office")
    edits = [Say(text="Bees."), Say(text=SENTENCES)]
    together = engine.edit([speech, speech], edits, seed=3)
    alone = [engine.edit(speech, edit, seed=3 + at)[0] for at, edit in enumerate(edits)]
    assert [one.utterance.digest for one in together] == [one.utterance.digest for one in alone]
