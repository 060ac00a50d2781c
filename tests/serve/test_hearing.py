"""Recognisers and aligners of chains work in the workers, and answer as they do here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stepedit_listen.sphinx import SphinxAligner, SphinxRecogniser
from stepedit_serve.hearing import HearingInWorkers
from stepedit_serve.working import Workers

from stepedit_core import Recogniser, Transcription, Utterance, get_registry, packaged_speech
from stepedit_core.dsp.words import split_words
from stepedit_core.recording.hearing import load_listener

SPEECH = packaged_speech("garden")


class OfAFile(Recogniser):
    """One that the workers do not know."""

    name = "of_a_file"

    def transcribe(self, utterance: Utterance) -> Transcription:
        return Transcription("here", "en", self.name)


@pytest.fixture(scope="module", autouse=True)
def elsewhere() -> Iterator[None]:
    workers, registry = Workers(1), get_registry()
    plugin = HearingInWorkers(workers)
    registry.register(plugin, "hearing_in_workers")
    yield
    registry.manager.unregister(plugin)
    workers.close()


@pytest.mark.skipif(SphinxRecogniser.missing() is not None, reason="needs PocketSphinx")
def test_what_is_heard_is_the_same() -> None:
    far, here = load_listener(SphinxRecogniser, None, 1), SphinxRecogniser()
    assert load_listener(SphinxRecogniser, None, 1) is far
    assert isinstance(far, SphinxRecogniser) and type(far) is not SphinxRecogniser
    assert vars(far) == {}  # nothing was loaded in this process
    assert far.transcribe(SPEECH) == here.transcribe(SPEECH)
    assert far.hear(SPEECH) == here.hear(SPEECH)
    assert far.hear_roughly(SPEECH) is None
    # Whoever hears in one way only is known by not having another one.
    assert type(far).hear is Recogniser.hear


@pytest.mark.skipif(SphinxAligner.missing() is not None, reason="needs PocketSphinx")
def test_words_are_timed_the_same() -> None:
    words = split_words(str(SPEECH.transcript))
    far = load_listener(SphinxAligner, None, 1)
    assert list(far.align(SPEECH, words)) == list(SphinxAligner().align(SPEECH, words))


def test_what_workers_do_not_know_is_loaded_here() -> None:
    assert type(load_listener(OfAFile, None, 1)) is OfAFile
