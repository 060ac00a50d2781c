from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pydantic import ValidationError
from stepedit_redact import Redact
from stepedit_redact.dsp import hidden_spans
from stepedit_redact.hearing import heard_again
from stepedit_redact.pairs import RedactPairs
from stepedit_redact.scorer import RedactScorer
from stepedit_redact.speaking import draw_secrets
from stepedit_redact.spoken import digit_runs, luhn, tokens_of
from stepedit_redact.text import hidden_text, standing_in

from stepedit_core import (
    Alignment,
    AlignmentError,
    BuildContext,
    Case,
    Chain,
    CorpusItem,
    EditPair,
    Prepared,
    Recording,
    TimedWord,
    Utterance,
)
from stepedit_core.cli.root import cli
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import StepeditError
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import FakeMeasures

RULES = Redact(names="rules")


def _after(text: str, edit: Redact = RULES) -> str:
    return hidden_text(text, edit.hits(text))


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (
            "My number is four one five five five five oh one two three, ok?",
            "My number is [phone], ok?",
        ),
        ("Her number is five five five, um, double one double two.", "Her number is [phone]."),
        ("Call 415-555-0123 or (020) 7946 0958.", "Call [phone] or [phone]."),
        ("Dial +44 20 7946 0958 now.", "Dial [phone] now."),
        ("四一五五五五零一二三", "[phone]"),
        ("and then it goes on five five oh one", "and then it goes on [phone]"),
        ("我的电话是一三八零零一三八零零零。", "我的电话是[phone]。"),
        ("The card is 4242 4242 4242 4242, expires 12/27.", "The card is [card], expires 12/27."),
        ("It is 4242 4242 4242 4243.", "It is [card]."),
        ("my visa ends in four two four two", "my visa ends in [card]"),
        ("Write to jane at example dot com please.", "Write to [email] please."),
        (
            "My email address is jane smith at north wind dot co dot uk.",
            "My email address is [email].",
        ),
        ("jane.doe+x@example-mail.com is mine", "[email] is mine"),
        ("Mail j a n e five at gmail dot com today", "Mail [email] today"),
        ("Mail carlos at gmail. com.", "Mail [email]."),
        ("My name is jane smith", "My name is [name]"),
        ("Please ask Michael Thompson. Thompson's desk.", "Please ask [name]. [name] desk."),
        ("Mr. Novak spoke to Dr. Hartley.", "Mr. [name] spoke to Dr. [name]."),
        ("我叫王小明。请联系李先生。", "我叫[name]。请联系[name]先生。"),
    ],
)
def test_what_is_found(text: str, after: str) -> None:
    assert _after(text) == after


@pytest.mark.parametrize(
    "text",
    [
        "In 1984 we had 1,000,000 people and two thousand five hundred cars.",
        "We met at noon. Dot com is over.",
        "From nine to five we have two for one.",
        "It begins at 10:30 on 12/05/1984.",
        "Will you come in May? Mark my words.",
        "The wind is great, bow before it.",
        "一共有三个人。",
        "",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert _after(text) == text


def test_numbers_of_four_digits_only_where_asked() -> None:
    text = "The code nine nine one two is new."
    assert _after(text) == text
    assert _after(text, Redact(patterns=("number",), names="off")) == "The code [number] is new."


def test_digits_at_the_edge_of_a_piece() -> None:
    assert _after("The code is nine nine one two.") == "The code is [phone]."


@pytest.mark.parametrize(
    ("phrase", "text", "after"),
    [
        ("Jane", "Jane's car, and JANE.", "[redacted] car, and [redacted]."),
        ("blue car", "A blue, car is no blue van.", "A [redacted] is no blue van."),
        ("415 555", "It is four one five five five five.", "It is [redacted]."),
        ("你好", "他说你好。", "他说[redacted]。"),
    ],
)
def test_own_words(phrase: str, text: str, after: str) -> None:
    assert _after(text, Redact(words=(phrase,), patterns=(), names="off")) == after


def test_tags_that_hold_a_secret_go() -> None:
    assert "415" not in _after("[call 415 555 0123] My number is 415 555 0123 [phone].")


def test_digits_and_their_check() -> None:
    (run,) = digit_runs(tokens_of("double four triple one, twenty one fifteen"))
    assert run.digits == "441112115"
    assert luhn("4242424242424242") and not luhn("4242424242424243") and not luhn("")
    (amount,) = digit_runs(tokens_of("two thousand five hundred"))
    assert amount.is_amount


@pytest.mark.parametrize(
    ("secret", "heard", "again"),
    [
        ("four one five five five", "call 4155 now", ["4155"]),
        ("four one five five five", "call 415 now", []),
        ("jane at example dot com", "send it at dot com", []),
        ("jane at example dot com", "Jane, it is an example", ["example", "jane"]),
        ("home", "you love your home", ["home"]),
    ],
)
def test_heard_again(secret: str, heard: str, again: list[str]) -> None:
    assert heard_again(secret, heard, "send it now") == again


def test_parameters() -> None:
    assert Redact(words="Jane").words == ("Jane",)
    assert Redact(patterns=("card", "email", "card")).patterns == ("email", "card")
    for wrong in ({"patterns": (), "names": "off"}, {"words": ("...",)}, {"by": "mute"}):
        with pytest.raises(ValidationError):
            Redact(**wrong)


def _timed(speech: Utterance) -> Utterance:
    """Times without an aligner: words spread evenly."""
    words = split_words(speech.transcript or "")
    step = speech.seconds / len(words)
    timed = tuple(TimedWord(w.text, n * step, (n + 1) * step, 1.0) for n, w in enumerate(words))
    return speech.replace(alignment=Alignment(speech.transcript or "", timed, "pocketsphinx"))


@pytest.mark.parametrize("by", ["silence", "bleep", "noise"])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_outside_is_kept_and_nothing_is_told(by: Any, rate: int) -> None:
    speech = _timed(packaged_speech("doctor").resample(rate))
    result = Chain([Redact(words=("patient", "results"), patterns=(), names="off", by=by)])(speech)
    made = result.utterance
    assert (
        made.transcript == "A doctor calls his [redacted] to give him the [redacted] of his tests."
    )
    assert made.alignment is not None and len(made.alignment.words) == 11
    details = dict(result.steps[0].details)
    differs = np.flatnonzero(made.samples != speech.samples) / rate
    inside = [one["span"] for one in details["hidden"]]
    assert all(any(a - 1e-3 <= at <= b + 1e-3 for a, b in inside) for at in differs[::50])
    told = json.dumps(result.report())
    assert "patient" not in told and "results" not in told
    (left, _), (right, _) = inside
    middle = slice(round((left + 0.05) * rate), round((left + 0.15) * rate))
    assert (not made.samples[middle].any()) == (by == "silence")
    assert right > left


def test_earlier_steps_tell_nothing() -> None:
    speech = _timed(packaged_speech("garden"))
    chain = Chain([parse("volume:db=-3"), Redact(words=("home",), patterns=(), names="off")])
    result = chain(speech)
    report = result.report()
    assert report["source"]["transcript"] is None
    assert report["steps"][0]["edit"] == {"edit": "volume"}
    assert "home" not in json.dumps(report) + json.dumps(chain.public_data())
    assert "home" in json.dumps(chain.to_data())


def parse(text: str) -> Any:
    from stepedit_core import parse_edit

    return parse_edit(text)


def test_nothing_private_leaves_the_recording() -> None:
    speech = _timed(packaged_speech("garden"))
    result = Chain([Redact(words=("castle",), patterns=(), names="off")])(speech)
    np.testing.assert_array_equal(result.utterance.samples, speech.samples)
    assert result.steps[0].details["notes"] == ["no private word is found"]


def test_errors_hold_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(utterance: Utterance) -> Alignment:
        raise AlignmentError("pocketsphinx does not know 'Xylokarp'")

    monkeypatch.setattr("stepedit_redact.dsp.place_words", failing)
    speech = packaged_speech("garden").replace(transcript="Call Xylokarp at home.")
    with pytest.raises(StepeditError) as caught:
        Chain([Redact(words=("Xylokarp",), patterns=(), names="off")])(speech)
    assert "Xylokarp" not in str(caught.value) and "cannot be timed" in str(caught.value)


def test_borders_lie_beyond_the_words() -> None:
    speech = _timed(packaged_speech("garden"))
    assert speech.alignment is not None
    edit = Redact(words=("your home",), patterns=(), names="off")
    hits = edit.hits(speech.transcript or "")
    (span,) = hidden_spans(speech, speech.alignment, hits)
    words = speech.alignment.words
    assert (
        words[1].end - 0.5 * (words[1].end - words[1].start) <= span.start <= words[2].start - 0.035
    )
    assert words[3].end + 0.035 <= span.end <= words[4].start + 0.5


def test_replace_says_other_words() -> None:
    edit = Redact(words=("home",), patterns=(), names="off", by="replace")
    speech = _timed(packaged_speech("garden"))
    plan = edit.plan(speech)
    (one,) = plan.replacements
    assert (one.first, one.stop, one.by) == (3, 4, "something")
    assert plan.words_after == "You love your something and want it to be beautiful."
    assert edit.route_problem("llm") is None and "llm" in str(edit.route_problem("dsp"))
    assert "dsp" in str(Redact().route_problem("llm"))
    assert edit.problem(speech.replace(transcript="Nothing is here.")) is not None
    assert standing_in("Ask Jane.", Redact(names="rules").hits("Ask Jane.")) == "Ask somebody."


def test_long_recordings(tmp_path: Path) -> None:
    speech = packaged_speech("garden")
    speech.write(tmp_path / "in.wav")
    srt = "1\n00:00:00,000 --> 00:00:03,400\nYou love your home and want it to be beautiful.\n"
    (tmp_path / "in.srt").write_text(srt)
    recording = Recording.read(tmp_path / "in.wav", subtitles=tmp_path / "in.srt")
    chain = Chain([Redact(words=("home",), patterns=(), names="off", by="bleep")])
    result = recording.edit(chain, tmp_path / "out.wav")
    assert "home" not in json.dumps(result.report())
    assert result.segments[0].text == "You love your [redacted] and want it to be beautiful."
    assert result.seconds == pytest.approx(speech.seconds, abs=0.01)


def test_scorer() -> None:
    speech = _timed(packaged_speech("garden"))
    edit = Redact(words=("home",), patterns=(), names="off")
    case = Case(id="x", edit=edit, audio="speech:garden")
    made = Chain([edit])(speech).utterance
    scorer, measures = RedactScorer(), FakeMeasures()
    good = scorer.score(case, Prepared(speech), made, measures)
    assert good.reached is True and good.values["recall"] == 1.0
    assert scorer.score(case, Prepared(speech), speech, measures).reached is False
    gone = made.replace(samples=np.zeros_like(made.samples), transcript="")
    assert scorer.score(case, Prepared(speech), gone, measures).reached is False
    other = Case(id="y", edit=Redact(words=("castle",), names="off"), audio="speech:garden")
    assert scorer.score(other, Prepared(speech), speech, measures).reached is None


def test_pairs(tmp_path: Path) -> None:
    speech = packaged_speech("doctor")
    item = CorpusItem("a", str(speech.write(tmp_path / "a.wav")), speech.transcript)
    builder = RedactPairs()
    (job,) = builder.jobs([item], {})
    context = BuildContext(np.random.default_rng(3), {"by": "noise"})
    (pair,) = builder.build(job, context)
    if isinstance(pair, EditPair):
        assert pair.source.transcript != pair.target.transcript and pair.margin >= 4
    with pytest.raises(StepeditError, match="silence, bleep, noise"):
        list(builder.jobs([item], {"by": "mute"}))


def test_spoken_secrets_are_drawn_by_seed() -> None:
    drawn = draw_secrets(40, np.random.default_rng(1))
    assert drawn == draw_secrets(40, np.random.default_rng(1))
    for secret in drawn:
        assert secret.private in secret.text
        hits = Redact(names="rules").hits(secret.text)
        words = split_words(secret.text)
        found = [secret.text[words[h.first].start : words[h.stop - 1].end] for h in hits]
        assert any(secret.private in one for one in found), (secret.text, found)


def test_inside_masked_words_outside_the_span_stay() -> None:
    speech = _timed(packaged_speech("wind"))
    inner = Redact(words=("wind", "heavy"), patterns=(), names="off")
    edit = parse("masked:inner=(denoise),spans=[[2.6,5.3]]").model_copy(update={"inner": inner})
    assert edit.hides_words() and edit.problem(speech) is None
    result = Chain([edit])(speech)
    made = result.utterance
    text = "When the wind is great, bow before it; when the [redacted] is [redacted], yield to it."
    assert made.transcript == text
    assert made.alignment is not None and len(made.alignment.words) == 14
    differs = np.flatnonzero(made.samples != speech.samples) / speech.sample_rate
    assert differs.min() >= 2.6 and differs.max() <= 5.3
    assert "heavy" not in json.dumps(result.report()) + json.dumps(edit.public_data())


def test_the_command_says_that_nothing_was_hidden(tmp_path: Path) -> None:
    source = packaged_speech("garden").write(tmp_path / "in.wav")
    words = ["--text", "You came back.", "-e", 'redact:words=["absent"]']
    done = CliRunner().invoke(cli, ["edit", str(source), "-o", str(tmp_path / "o.wav"), *words])
    assert done.exit_code == 0 and "step 1: no private word is found" in done.output
