"""Measurements of timed words: known places, differences, voices, drawn cases."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from stepedit_bench.measuring.ears import Known
from stepedit_bench.words.align import at_joins, carried, placed
from stepedit_bench.words.joining import begins_clearly, join, loud_part
from stepedit_bench.words.mistaken import CONDITIONS, changed, other_texts, refusals
from stepedit_bench.words.speakers import confusion

from stepedit_core import StepeditError, Utterance
from stepedit_core.cli.root import cli
from stepedit_core.dsp.noises import snr_db
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import speech_like

RATE = 16_000


def write_clips(folder: Path, sounds: list[np.ndarray]) -> list[Known]:
    """Write sounds of 1 s with silence of 0.2 to 0.4 s before and after."""
    found = []
    for n, sound in enumerate(sounds):
        quiet = np.zeros(round((0.2 + 0.1 * n) * RATE), np.float32)
        sf.write(folder / f"{n}.wav", np.concatenate([quiet, sound, quiet]), RATE)
        found.append(Known(folder / f"{n}.wav", f"seven winters passed {n}", "en", f"s{n}"))
    return found


def test_joins_lie_where_sound_begins(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = write_clips(tmp_path, [rng.normal(0, 0.1, RATE).astype(np.float32) for _ in range(3)])
    for clip in clips:
        assert loud_part(Utterance.read(clip.path)).seconds == pytest.approx(1.0, abs=0.021)
    joined = join(clips, np.random.default_rng(0))
    assert joined.first == (0, 4, 8)
    for start, end in zip(joined.starts, joined.ends, strict=True):
        before = joined.utterance.slice((start - 0.03, start - 0.005)).samples
        inside = joined.utterance.slice((start, end)).samples
        assert before.std() < 0.001 < inside.std()
    assert joined.utterance.transcript == " ".join(f"seven winters passed {n}." for n in range(3))
    cut = join(clips, np.random.default_rng(0), longest=0.5)
    assert [b - a for a, b in zip(cut.starts, cut.ends, strict=True)] == pytest.approx([0.5] * 3)


def test_figures_of_differences() -> None:
    found = placed("en", "x against y", [0.01, -0.02, 0.03, 0.3], failed=1)
    assert found.median.mean == pytest.approx(25) and found.bias == pytest.approx(20)
    assert found.median.low <= 25 <= found.median.high and found.failed == 1
    with pytest.raises(StepeditError, match="no word was placed; 2 recordings failed"):
        placed("en", "x", [], failed=2)


def test_pauses_are_found_at_joins(tmp_path: Path) -> None:
    voices = [speech_like(1.0, RATE, seed=n, f0=120 + 30 * n).samples for n in range(3)]
    clips = write_clips(tmp_path, voices)
    late, failed = at_joins([join(clips, np.random.default_rng(0))], "pauses")
    assert failed == 0 and len(late) == 3 and abs(late[0]) < 0.15


def test_carried_words_move_with_the_tempo(monkeypatch: pytest.MonkeyPatch) -> None:
    from stepedit_bench.words import align as module

    real = module.align_words
    monkeypatch.setattr(module, "align_words", lambda u, aligner="pauses": real(u, "pauses"))
    speech = speech_like(2.0, RATE).replace(transcript="one two three four")
    late, failed = carried([speech], lambda one: "volume:db=-3", None)
    assert failed == 0 and np.abs(late).max() < 0.05
    silent = speech.replace(samples=0 * speech.samples).replace(transcript=speech.transcript)
    late, failed = carried([silent], lambda one: "volume:db=-3", None)
    assert (late, failed) == ([], 1)


@pytest.mark.parametrize(
    ("truth", "guess", "error"),
    [
        ([0, 0, 1, 1], [5, 5, 2, 2], 0.0),
        ([0, 0, 1, 1], [0, 0, 0, 0], 0.5),
        ([0, 0, 0, 1], [0, 1, -1, 2], 0.5),
        ([0, 0], [-1, -1], 1.0),
    ],
)
def test_confusion(truth: list[int], guess: list[int], error: float) -> None:
    assert confusion(np.array(truth), np.array(guess)) == pytest.approx(error)


@pytest.mark.parametrize("kind", ["delete", "replace", "insert"])
def test_drawn_suites_are_read_by_the_bench(kind: str, tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", speech_like(4.0, RATE).samples, RATE)
    texts = [
        "the little river wandered down into green valleys",
        "some people never stop talking now",
    ]
    rows = [
        {"path": "a.wav", "text": text, "language": "en", "speaker": f"s{n}"}
        for n, text in enumerate(texts)
    ]
    rows[1]["voices"] = "af_one"
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "suite"
    done = CliRunner().invoke(
        cli, ["bench", "draw", kind, str(tmp_path / "m.jsonl"), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    from stepedit_bench.own_cases import read_own

    from stepedit_core import get_edit

    cases = read_own(get_edit(kind), out)
    assert cases is not None and len(cases) == 2
    assert all(case.transcript in texts for case in cases)
    assert {case.transcript: case.meta["class"] for case in cases} == {
        text: ("real", "synthetic")[n] for n, text in enumerate(texts[:2])
    }
    again = tmp_path / "again"
    CliRunner().invoke(cli, ["bench", "draw", kind, str(tmp_path / "m.jsonl"), "--out", str(again)])
    assert (again / "cases.jsonl").read_bytes() == (out / "cases.jsonl").read_bytes()


def test_crossed_suites(tmp_path: Path) -> None:
    rows = []
    for n in range(3):
        sf.write(tmp_path / f"{n}.wav", speech_like(4.0, RATE).samples, RATE)
        rows.append({"path": f"{n}.wav", "text": "a b", "language": "en", "speaker": f"s{n}"})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def made(*options: str) -> list[dict[str, object]]:
        edits = ("--edit", "volume:db=-3", "--edit", "volume:db=3")
        call = ["bench", "cross", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "s"), *edits]
        done = CliRunner().invoke(cli, [*call, *options])
        assert done.exit_code == 0, done.output
        lines = (tmp_path / "s" / "cases.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    ways = ("--prepare", 'hum={"noise":"hum","snr_db":5}', "--prepare", "plain={}")
    cases = made(*ways)
    assert len(cases) == len({case["id"] for case in cases}) == 12
    assert cases[0]["prepare"] == cases[1]["prepare"] == {"noise": "hum", "snr_db": 5, "seed": 0}
    assert cases[0]["edit"] != cases[1]["edit"] and cases[2]["prepare"] == {}
    assert [case["edit"]["db"] for case in made("--in-turn")] == [-3, 3, -3]  # type: ignore[index]
    assert len(made("--n", "2")) == 4
    assert {case["meta"]["class"] for case in cases} == {"hum", "plain"}  # type: ignore[index]
    assert made()[0]["meta"]["class"] == "volume:db=-3.0"  # type: ignore[index]
    for wrong in ("hum", "={}", "hum={", "hum=3"):
        call = ["bench", "cross", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "s")]
        done = CliRunner().invoke(cli, [*call, "--edit", "denoise", "--prepare", wrong])
        assert done.exit_code == 2 and "NAME={" in done.output
    call = ["bench", "cross", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "s")]
    done = CliRunner().invoke(cli, [*call, "--edit", "denoise", "--longest", "3.5"])
    assert done.exit_code == 2 and "no recording of" in done.output


def test_steps_at_joins_are_held_against_natural_ones(tmp_path: Path) -> None:
    from stepedit_bench.words.joins import CutOut, Joins, natural_steps

    from stepedit_core import Alignment, TimedWord

    words = tuple(TimedWord(text, n * 0.5, n * 0.5 + 0.4) for n, text in enumerate("abc"))
    speech = speech_like(1.5, RATE)
    assert len(natural_steps(speech, Alignment("a b c", words, "test"))) == 2
    natural = [(float(n), float(n)) for n in range(101)]
    cuts = [CutOut((10.0, 97.0), {}), CutOut((100.0, 5.0), {})]
    rows = Joins(natural, {"cut": cuts}, [(100.0, 100.0)]).table()
    assert [row.count for row in rows] == [101, 2, 1]
    assert (rows[1].below_p95, rows[1].below_p99) == (0.5, 0.75)
    assert rows[2].below_p99 == 0 and rows[1].median_level == 55
    with pytest.raises(StepeditError, match="no word was cut"):
        Joins(natural, {"cut": []}, []).table()


def test_only_named_words_are_cut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stepedit_bench.words import joins as module

    from stepedit_core import Alignment, TimedWord

    text = "seven winters passed slowly"
    words = [TimedWord(w, 0.1 + n * 0.5, 0.5 + n * 0.5) for n, w in enumerate(text.split())]
    monkeypatch.setattr(module, "align", lambda speech: Alignment(text, tuple(words), "test"))
    sf.write(tmp_path / "a.wav", speech_like(2.2, RATE).samples, RATE)
    known = [Known(tmp_path / "a.wav", text, "en", "s")]

    def heard(after: str) -> list[bool]:
        ears = {"one": lambda u: text if u.seconds > 2 else after}
        found = module.measured(known, 3, ears=ears, words=frozenset({"passed"}))
        assert len(found.natural) == 3 and len(found.plain) == 1
        return [one.heard["one"] for cuts in found.cut.values() for one in cuts]

    assert heard("seven winters slowly") == [True] * len(module.CHOICES)
    assert heard("seven winters past slowly") == [False] * len(module.CHOICES)


def test_a_word_is_gone_when_nobody_hears_it() -> None:
    from stepedit_bench.words.joins import _is_gone

    from stepedit_core import Alignment, TimedWord

    texts = ["seven", "winters", "passed", "before", "they", "came", "home", "again"]
    words = tuple(TimedWord(text, n * 0.5, n * 0.5 + 0.4) for n, text in enumerate(texts))
    known = Alignment(" ".join(texts), words, "test")
    speech, made = speech_like(4.0, RATE), speech_like(3.6, RATE)

    def said(after: str) -> bool:
        return _is_gone(
            lambda u: " ".join(texts) if u.seconds > 3.7 else after, speech, known, 4, made
        )

    assert said("seven winters passed before came home again")
    assert not said(" ".join(texts))
    assert not said("seven winters passed be came home again")


def test_sentences_are_said_without_the_word_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stepedit_bench.words import spoken as module

    from stepedit_core import Alignment, TimedWord

    def placed(speech: Utterance) -> Alignment:
        texts = str(speech.transcript).split()
        words = tuple(TimedWord(text, n * 0.5, n * 0.5 + 0.4) for n, text in enumerate(texts))
        return Alignment(str(speech.transcript), words, "test")

    script = tmp_path / "speak.py"
    script.write_text(
        "import sys, numpy, soundfile\n"
        "n = 8000 * len(sys.argv[1].split())\n"
        "soundfile.write(sys.argv[2], numpy.random.default_rng(0).normal(0, 0.1, n), 16000)\n"
    )
    command = f"{sys.executable} {script} {{text}} {{out}}"
    monkeypatch.setattr(module, "align", placed)
    known = placed(speech_like(2.0, RATE).replace(transcript="seven winters; passed slowly"))
    heard: list[float] = []

    def ear(part: Utterance) -> str:
        heard.append(part.seconds)
        return "seven winters slowly" if part.seconds < 1.7 else "seven winters passed slowly"

    said = module.spoken_both_ways(command, known, 2, "en", {"one": ear})
    assert said is not None and said.without == {"one": True} and heard[0] == pytest.approx(1.5)
    assert said.cut["one"] == (heard[1] < 1.7)
    with pytest.raises(StepeditError, match=r"\{text\}"):
        module.said("espeak", "words", "en")
    with pytest.raises(StepeditError, match="cannot speak"):
        module.said("nobody-speaks {text} {out}", "words", "en")
    with pytest.raises(StepeditError, match="spoke nothing"):
        module.said(f"{sys.executable} -c pass {{text}} {{out}}", "words", "en")


def test_a_rest_of_a_word_is_heard_by_its_phones() -> None:
    pytest.importorskip("hama")
    from stepedit_bench.words.phonetic import UNDONE, control_odds, odds_at

    from stepedit_core import align
    from stepedit_core.dsp.cutting import plan_cut
    from stepedit_core.dsp.phone_joins import phones_around
    from stepedit_core.recordings import packaged_speech

    doubt = packaged_speech("doubt")
    known = align(doubt)
    word = [one.text for one in known.words].index("pleasant")
    expected = phones_around(doubt, known, word, word + 1)
    assert expected is not None
    assert odds_at(doubt, plan_cut(doubt, known, word, word + 1), expected).is_right
    odds = dict(control_odds(doubt, known, word, other=0))
    assert UNDONE in odds
    for what in ("nothing cut", "first half left", "second half left"):
        assert not odds[what].has_no_rest


@pytest.mark.parametrize(
    ("asked", "change"),
    [
        ("the dogs ran home", (1, 2, "dogs")),
        ("the cats soon ran home", (2, 2, "soon")),
        ("the cats ran far away", (3, 4, "far away")),
    ],
)
def test_what_was_put_in_is_found_by_the_words(asked: str, change: tuple[int, int, str]) -> None:
    from stepedit_bench.words.heard import change_of

    found = change_of("the cats ran home", asked)
    assert (found.first, found.stop, found.by, found.text_after) == (*change, asked)
    with pytest.raises(StepeditError, match="the same"):
        change_of("the cats", "The cats.")


def test_samples_outside_are_compared_to_the_bit() -> None:
    from stepedit_bench.words.heard import is_kept

    from stepedit_core import Span

    source = speech_like(1.0, RATE)
    new = np.zeros(RATE // 2, np.float32)
    samples = np.concatenate([source.samples[: RATE // 2], new, source.samples[-RATE // 4 :]])
    made, span = source.replace(samples=samples), Span(0.5, 1.0)
    assert is_kept(source, made, span)
    for place in (10, -10):
        other = samples.copy()
        other[place] += 1e-6
        assert not is_kept(source, source.replace(samples=other), span)


def test_a_breath_before_speech_is_no_clear_beginning(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    loud = rng.normal(0, 0.1, RATE)
    quiet, breath = np.zeros(RATE // 2), rng.normal(0, 0.003, RATE // 4)
    clear = Utterance(np.concatenate([quiet, loud]).astype(np.float32), RATE)
    breathy = Utterance(np.concatenate([quiet, breath, loud]).astype(np.float32), RATE)
    assert begins_clearly(clear) and not begins_clearly(breathy)
    click = rng.normal(0, 0.1, RATE // 50)
    after = Utterance(np.concatenate([quiet, click, breath, loud]).astype(np.float32), RATE)
    assert not begins_clearly(after)


def test_stretches_that_are_put_in_have_steps_at_both_ends() -> None:
    from stepedit_bench.words.plain import stretch_of

    from stepedit_core import Span

    source = speech_like(1.0, RATE)
    samples = source.samples.copy()
    samples[RATE // 2 :] *= 0.1
    made = source.replace(samples=samples)
    found = stretch_of(source, made, Span(0.25, 0.5))
    assert found.levels[1] > 15 > found.levels[0]
    assert found.likeness is None or found.likeness <= 1


def test_the_plain_way_replaces_words() -> None:
    from stepedit_bench.words.plain import cloned_in

    from stepedit_core import Alignment, TimedWord
    from stepedit_core.plan import Replacement

    known = Alignment("one two", (TimedWord("one", 0.1, 0.4), TimedWord("two", 0.5, 0.9)), "test")
    put_in = Replacement(1, 1, "more", "one more two")
    with pytest.raises(StepeditError, match="here none go"):
        cloned_in(speech_like(1.0, RATE), known, put_in, None, 0)  # type: ignore[arg-type]


def test_other_texts_are_of_the_language_and_never_ones_own() -> None:
    rng = np.random.default_rng(0)
    own = Known(Path("a"), "Seven winters passed", "en-GB", "p")
    others = [
        ("SEVEN winters passed", "en"),
        ("seven winters stayed", "en"),
        ("eight summers stayed", "en"),
        ("no", "de"),
    ]
    known = [own, *(Known(Path("b"), text, language, "p") for text, language in others)]
    assert other_texts(own, known, rng) == ("eight summers stayed",)
    assert other_texts(known[-1], known, rng) == ()


def test_noise_and_band_of_conditions() -> None:
    speech = speech_like(1.0, RATE)
    noisy, narrow = (changed(speech, name, np.random.default_rng(0)) for name in CONDITIONS[1:])
    assert snr_db(speech.samples, noisy.samples - speech.samples) == pytest.approx(5, abs=0.2)
    assert narrow.sample_rate == 8_000 and changed(speech, CONDITIONS[0], None) is speech


@pytest.mark.slow
def test_another_recordings_words_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("faster_whisper")
    known = []
    for name in ("doubt", "office", "wind"):
        speech = packaged_speech(name)
        path = speech.write(tmp_path / f"{name}.wav")
        known.append(Known(path, str(speech.transcript), "en", "packaged"))
    found = refusals("packaged", known, known, CONDITIONS[0])
    assert (found.recordings, found.right) == (3, 0) and found.refused == found.others > 2
