"""The public benchmark: reading it, and its way of counting beside ours."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from stepedit_bench.judges.answers import MalformedAnswer, read_answer
from stepedit_bench.judges.prompts import Question
from stepedit_bench.peers import peers, peers_for
from stepedit_bench.public_counting import count, verdict_on
from stepedit_bench.report import confusion
from stepedit_bench.step_audio_edit import read_suite

from stepedit_core import Case, Edit
from stepedit_core.errors import StepeditError
from stepedit_core.recordings import packaged_speech
from tests.shared_data import need_shared


class Emotion(Edit):
    """Stands in for the emotion plugin."""

    to: str


class Style(Edit):
    """Stands in for the style plugin."""

    to: str


class Paralinguistic(Edit):
    """Stands in for the paralinguistic plugin."""

    text: str


def _row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "whisper-x-idx",
        "speaker": "x",
        "gen_text": "Say it softly.",
        "prompt_audio": "prompt_audios/x.wav",
        "prompt_text": "Go home.",
        "lang": "en",
        "task": "style",
        "task_sub": "whisper",
    }
    return {**row, **changes}


def _suite(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "prompt_audios").mkdir()
    speech = packaged_speech("office")
    sf.write(folder / "prompt_audios/x.wav", speech.samples, speech.sample_rate)
    text = "\n".join(json.dumps(row) for row in rows)
    (folder / "data" / name).write_text(text, encoding="utf-8")
    return folder


def test_rows_with_the_same_id_stay_apart(tmp_path: Path) -> None:
    root = _suite(tmp_path, "style.jsonl", [_row(), _row(), _row(gen_text="Again.")])
    cases = read_suite(Style, root)
    assert cases is not None
    assert [case.id for case in cases] == ["style-0000", "style-0001", "style-0002"]
    assert cases[2].meta["zero_shot_text"] == "Again."
    assert cases[0].edit == Style(to="whisper") and cases[0].transcript == "Go home."


def test_misspelt_file(tmp_path: Path) -> None:
    row = _row(gen_text="So tired [Breathing]. Rest.", task="paralingustic", task_sub="[Breathing]")
    root = _suite(tmp_path, "paralingustic.jsonl", [row])
    (case,) = read_suite(Paralinguistic, root) or []
    assert case.meta["zero_shot_text"] == "So tired. Rest."
    assert case.edit == Paralinguistic(text="So tired [Breathing]. Rest.")


def test_trouble_is_told_with_its_place(tmp_path: Path) -> None:
    assert read_suite(type("Speed", (Edit,), {"__module__": __name__}), tmp_path) is None
    with pytest.raises(StepeditError, match="--suite-path"):
        read_suite(Style, tmp_path)
    root = _suite(tmp_path / "bad", "style.jsonl", [_row(), _row(prompt_text="")])
    with pytest.raises(StepeditError, match="line 2 lacks prompt_text"):
        read_suite(Style, root)


@pytest.mark.parametrize(("edit", "n"), [(Emotion, 2000), (Style, 2800), (Paralinguistic, 4000)])
def test_the_real_folder_is_read_whole(edit: type[Edit], n: int) -> None:
    root = need_shared("step-audio-edit-benchmark")
    cases = read_suite(edit, root)
    assert cases is not None and len({case.id for case in cases}) == n
    assert {case.language for case in cases} == {"zh", "en"}
    assert all(Path(case.audio).is_file() for case in cases[::97])
    assert not any("[" in case.meta["zero_shot_text"] for case in cases)


# Counting -----------------------------------------------------------------------------------


def judged(label: str | None, wanted: str = "whisper", **changes: Any) -> dict[str, Any]:
    """Return a row of results as the runner writes it."""
    edit = changes.pop("edit", "style")
    verdict = {"task": edit, "label": label, "score": None, "refused": None}
    verdict.update(changes.pop("verdict", {}))
    return {
        "edit": edit,
        "class": wanted,
        "language": "en",
        "speaker": "x",
        "condition": "edit",
        "iteration": 1,
        "status": "ok",
        "verdicts": [verdict],
        **changes,
    }


def _value(rows: list[dict[str, Any]], counting: Any) -> tuple[float, int, int]:
    cell = next(cell for cell in count(rows, counting) if cell.language == "en")
    return round(cell.value, 2), cell.counted, cell.dropped


def test_answers_outside_the_classes() -> None:
    rows = [judged("whisper"), judged("normal"), judged("serious"), judged(None)]
    assert _value(rows, "public") == (100.0, 1, 3)
    assert _value(rows, "ours") == (25.0, 4, 0)


def test_label_aliases() -> None:
    rows = [judged("whisper (ASMR)"), judged("whisper")]
    rows += [judged("act_cute", "act_coy"), judged("whisper", "act_coy")]
    assert _value(rows, "public") == (50.0, 2, 2)
    assert _value(rows, "ours") == (75.0, 4, 0)


def test_refusals_are_left_out_of_both_but_said() -> None:
    rows = [judged("whisper"), judged(None, verdict={"refused": "I cannot judge this"})]
    assert _value(rows, "ours") == (100.0, 1, 1)


def test_missing_recordings() -> None:
    rows = [judged("whisper"), judged(None, status="failed", verdicts=[])]
    assert _value(rows, "public") == (100.0, 1, 1)
    assert _value(rows, "ours") == (50.0, 2, 0)


def test_neutral_answers() -> None:
    rows = [
        judged("happy", "happy", edit="emotion"),
        judged("neutral", "happy", edit="emotion"),
    ]
    assert _value(rows, "public") == _value(rows, "ours") == (50.0, 2, 0)


def test_accuracy_average() -> None:
    rows = [judged("whisper")] * 3 + [judged("whisper", "older")]
    rows += [judged("older", "older", speaker="y"), judged("whisper", "whisper", speaker="y")]
    rows += [judged("older", who, language="zh", speaker="z") for who in ("whisper", "older")]
    cells = {cell.language: cell.value for cell in count(rows)}
    assert cells == {"en": 75.0, "zh": 50.0, "avg": 62.5}


def test_ratings_without_a_number() -> None:
    rows = [
        judged(None, "[sigh]", edit="paralinguistic", verdict={"score": 3.0}),
        judged(None, "[laugh]", edit="paralinguistic", verdict={"score": 2.0}),
        judged(None, "[sigh]", edit="paralinguistic"),
    ]
    assert _value(rows, "public") == _value(rows, "ours") == (2.5, 2, 1)


def test_incomplete_sets() -> None:
    rows = [judged("whisper"), judged("older", "older"), judged("whisper", iteration=2)]
    with pytest.raises(StepeditError, match="iteration 2, class older"):
        count(rows, "public")
    assert {cell.iteration for cell in count(rows)} == {1, 2}


ANSWERS = (
    *("whisper", "older", "act_coy", "child", "recite", "generous", "exaggerated"),
    *("None", "normal", "serious", "neutral", "act_cute", "whisper (ASMR)", "", None),
)
"""What a judge may write: classes, the text None, strangers, aliases, nothing, JSON's null."""


def public_accuracy(answers: Sequence[tuple[str, str | None]], classes: Collection[str]) -> float:
    """Accuracy as the public scripts reckon it: rule by rule, from (class, answer as written)."""
    table: dict[str, list[int]] = {}
    for wanted, said in answers:
        if said in classes or said == "None":
            table.setdefault(wanted, []).append(int(said == wanted))
    return 100 * float(np.mean([np.mean(marks) for marks in table.values()]))


@pytest.mark.parametrize("edit", ["style", "emotion"])
def test_public_rules(edit: str) -> None:
    emotions = ("happy", "angry", "sad", "fear", "surprised")
    classes = ANSWERS[:7] if edit == "style" else emotions
    written = ANSWERS if edit == "style" else (*emotions, "neutral", "None", "Joy", "", None)
    rng = np.random.default_rng(3)
    made, rows = [], []
    for _ in range(4000):
        wanted = classes[int(rng.integers(len(classes)))]
        said = wanted if rng.random() < 0.3 else written[int(rng.integers(len(written)))]
        made.append((wanted, said))
        text = json.dumps({"label": said})
        question = Question("", "", "label", (*classes, "neutral"))
        try:
            verdict = asdict(read_answer(question, text))
        except MalformedAnswer as error:
            verdict = {"label": None, "refused": str(error)}
        rows.append(judged(None, wanted, edit=edit, verdict=verdict))
    known = (*classes, "neutral") if edit == "emotion" else classes
    cell = next(cell for cell in count(rows, "public") if cell.language == "en")
    assert cell.value == pytest.approx(public_accuracy(made, known), abs=1e-9)
    assert cell.counted == sum(said in known or said == "None" for _, said in made)
    assert cell.counted + cell.dropped == 4000


def test_verdict_belongs_to_the_recording() -> None:
    asked = {"task": "emotion", "score": None, "refused": None}
    verdicts = [
        {**asked, "label": "happy", "audio_sha256": "b"},
        {**asked, "label": "neutral", "audio_sha256": "a"},
    ]
    row = judged("happy", "happy", edit="emotion", verdicts=verdicts, audio_sha256="b")
    assert verdict_on(row) == verdicts[0]
    assert verdict_on({**row, "audio_sha256": "a"}) == verdicts[1]
    older = [{**verdict, "audio_sha256": None} for verdict in verdicts]
    assert verdict_on({**row, "verdicts": older}) == older[0]
    assert _value([row], "public") == _value([row], "ours") == (100.0, 1, 0)
    assert confusion([row], 1) == {("happy", "happy"): 1}


def test_verdicts_of_edit_and_source() -> None:
    """The emotion scorer asks about the output, then about the source."""
    from stepedit_bench.judging import JudgeChoice
    from stepedit_bench.measuring import StandardMeasures
    from stepedit_emotion import Emotion as RealEmotion
    from stepedit_emotion.scorer import EmotionScorer

    measures = StandardMeasures(judges=JudgeChoice({"emotion": "acoustic"}))
    speech = packaged_speech("surpassed")
    five = {"labels": ["happy", "sad", "fear"]}
    case = Case(id="x", edit=RealEmotion(to="happy"), audio="speech:surpassed", meta=five)
    ready = EmotionScorer().prepare(case, speech, np.random.default_rng(0))
    happy = case.edit.render(speech, np.random.default_rng(0)).utterance
    EmotionScorer().score(case, ready, happy, measures)
    verdicts = measures.take_verdicts()
    assert [verdict["label"] for verdict in verdicts] == ["happy", "neutral"]
    row = judged(None, "happy", edit="emotion", verdicts=verdicts, audio_sha256=happy.digest)
    assert confusion([row], 1) == {("happy", "happy"): 1}
    assert _value([row], "public") == (100.0, 1, 0)


# Published figures --------------------------------------------------------------------------


def _settings(**changes: Any) -> dict[str, Any]:
    judge = {"name": "gemini", "version": 1, "model": "gemini-2.5-pro", "options": {}}
    protocol = {"prompt_fixed": False, "source": None}
    return {
        "suite": "step-audio-edit",
        "limit": None,
        "judges": {"emotion": judge},
        "protocol": protocol,
        **changes,
    }


def test_published_figures() -> None:
    shown = peers_for(_settings(), "emotion")
    assert {peer.system for peer in shown} == {
        "Step-Audio-EditX 20251112",
        "Step-Audio-EditX 20251128",
        "Step-Audio-EditX 20260129",
    }
    assert (60.1, 75.0, 79.1, 81.6) in {peer.values for peer in shown}
    assert not peers_for(_settings(limit=100), "emotion")
    assert not peers_for(_settings(suite="default"), "emotion")
    assert not peers_for(
        _settings(judges={"emotion": {"name": "acoustic", "model": None}}), "emotion"
    )
    external = peers_for(_settings(protocol={"prompt_fixed": False, "source": "x"}), "emotion")
    assert external and all("Step-Audio-EditX" in peer.system for peer in external)
    assert all(peer.source for peer in peers())
