"""The benchmark of limits: what is asked of which recording, and what is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from stepedit_bench.heldout.requests import Pools
from stepedit_bench.judging import JudgeChoice
from stepedit_bench.measuring import MeasureConfig, StandardMeasures
from stepedit_bench.measuring.text_error import TextErrors
from stepedit_bench.store import Journal
from stepedit_bench.trust.commands import CHAIN, EDITS, summarise
from stepedit_bench.trust.cost import COST_FAMILIES, cost_units, measure_cost, summarise_costs
from stepedit_bench.trust.families import family_units, measure_family, summarise_families
from stepedit_bench.trust.measuring import Bench, is_wrong
from stepedit_bench.trust.units import SOUNDS, held_pools, recordings, units

from stepedit_core.chain.accept import Accept
from stepedit_core.cli.root import cli
from stepedit_core.errors import StepeditError
from stepedit_core.testing import FakeEngine, speech_like
from stepedit_core.utterance import Utterance

from .heldout_kit import LightKept, write_data

COLUMNS = "path,set,speaker,language,text,text_source,suggested_split,seconds,kind\n"


def test_held_out_utterances_of_a_stratum_real_and_synthetic_in_turn(tmp_path: Path) -> None:
    speech_like(4.5).write(tmp_path / "a.wav")
    speech_like(4.6).write(tmp_path / "b.wav")
    rows = [
        "a.wav,libri_a,1,en,one two three,reference,test,4.5,read",
        "b.wav,libri_a,2,en,three two one,reference,train,4.6,read",
    ]
    (tmp_path / "manifest.csv").write_text(COLUMNS + "\n".join(rows) + "\n")
    measures = StandardMeasures(MeasureConfig(), JudgeChoice(), tmp_path)
    ((_, speech),) = recordings(held_pools(tmp_path, tmp_path / "out", 3, 0, measures))
    assert speech.transcript == "one two three" and 4 <= speech.seconds <= 10
    with pytest.raises(StepeditError, match="no length 'tiny'"):
        held_pools(tmp_path, tmp_path / "out", 3, 0, measures, ["tiny"])


@pytest.mark.parametrize("count", [7, 8])
def test_no_pair_comes_twice(count: int) -> None:
    speech = [(str(at), speech_like(1.0).replace(transcript="a b c d")) for at in range(count)]
    asked = list(units(speech, EDITS, CHAIN, count * len(EDITS)))
    parts = Counter(unit.part for unit in asked)
    assert parts["edit"] == count * len(EDITS) and parts["level"] == count
    names = [unit.name for unit in asked if unit.part == "edit"]
    assert len(set(names)) == len(names)
    chains = [unit for unit in asked if unit.part == "chain"]
    assert all(len(unit.edits) == 5 for unit in chains)
    for unit, sound in zip(chains, SOUNDS, strict=False):
        assert f"a b [{sound}] c d" in repr(unit.edits)


def row(accepted: bool, joint: bool, tiny: float, sphinx: float) -> dict[str, Any]:
    made = {"whisper": tiny, "sphinx": sphinx, "level": -1.0}
    return {
        "source": {"whisper": 0.0, "sphinx": 0.2},
        "off": {**made, "seconds": 2.0, "joint": False},
        "on": {**made, "seconds": 5.0, "joint": joint, "accepted": accepted},
        "wrong": None,
    }


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (row(True, True, 0.0, 0.2), False),
        (row(True, True, 0.5, 0.2), False),
        (row(True, False, 0.5, 0.9), True),
        (row(False, False, 0.5, 0.9), None),
    ],
)
def test_wrong_acceptance(found: dict[str, Any], wrong: bool | None) -> None:
    assert is_wrong(found, 10) is wrong


def test_figures_of_what_is_finished() -> None:
    speech = [("a", speech_like(1.0).replace(transcript="a b"))]
    work = [unit for unit in units(speech, EDITS[:2], CHAIN, 2) if unit.part == "edit"]
    done = {"edit/a/" + EDITS[0]: {**row(True, True, 0.1, 0.2), "wrong": False}}
    figures = summarise(work, done)["edit"]
    assert figures["n"] == 1 and figures["cost"] == 2.5
    assert figures["joint"] == {"off": {"of": 1, "share": 0.0}, "on": {"of": 1, "share": 1.0}}
    assert figures["word_error_added"]["on"] == {"whisper": 0.1, "sphinx": 0.0}


class Ears(LightKept):
    """Hears a lost half of the words in what was edited, by one ear or by both."""

    def __init__(self, folder: Path, *deaf: str) -> None:
        super().__init__(folder)
        self.deaf, self.sources = deaf, set[str]()

    def second_text(self, utterance: Utterance) -> str:
        words = (utterance.transcript or "").split()
        lost = "pocketsphinx" in self.deaf and utterance.digest not in self.sources
        return " ".join(words[: len(words) // 2] if lost else words)

    def phone_errors(self, reference: Utterance, utterance: Utterance) -> TextErrors:
        lost = "hama" in self.deaf and utterance.digest not in self.sources
        return TextErrors(6 if lost else 0, 20, "phone")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Pools:
    folder = tmp_path_factory.mktemp("family")
    data = write_data(folder / "data")
    return held_pools(data, folder, 4, 0, LightKept(folder), ["short"])


def test_families_by_both_routes_in_turn(pools: Pools) -> None:
    found = list(family_units(pools, 0, 11))
    assert [(one.held.edit, one.route) for one in found[:6]] == [
        ("speed", "dsp"),
        ("denoise", "dsp"),
        ("trim_silence", "dsp"),
        ("masked", "dsp"),
        ("emotion_style", "dsp"),
        ("clone", "llm"),
    ]
    assert {one.route for one in found[6:10]} == {"llm"}
    assert found[0].held == found[6].held and found[0].name != found[6].name
    assert len({one.name for one in family_units(pools, 0, 1000)}) > 20


OFF: dict[str, Any] = dict.fromkeys(
    ("words", "voice", "level", "length", "pitch", "clipping", "hole")
)


@pytest.mark.parametrize(
    ("deaf", "wrong"), [((), False), (("hama",), False), (("hama", "pocketsphinx"), True)]
)
def test_wrong_where_both_ears_say_so(
    deaf: tuple[str, ...], wrong: bool, pools: Pools, tmp_path: Path
) -> None:
    measures, engine = Ears(tmp_path, *deaf), FakeEngine()
    limits = Accept(**OFF, target=False, changed=False)
    bench = Bench(engine, limits, measures, 0, lambda name, make: make())
    unit = next(one for one in family_units(pools, 0, 9) if one.held.edit == "speed")
    measures.sources = {unit.held.start().digest}
    row = measure_family(unit, bench, tmp_path)
    assert (row["accepted"], row["wrong"]) == (True, wrong)
    assert row["heard"]["hama"]["lost"] is ("hama" in deaf)
    assert ("pocketsphinx" in row["heard"]) is ("hama" in deaf)
    assert (tmp_path / row["audio"]).is_file() and not row["worse"]
    refused = replace(bench, limits=Accept(**{**OFF, "level": 1e-9}, target=False, changed=False))
    other = measure_family(unit, refused, tmp_path)
    assert other["accepted"] is False and other["why"]
    figures = summarise_families([row, row, other])
    assert figures["all"]["accepted"] == 2 and figures["speed by dsp"]["edits"] == 3
    assert figures["by dsp"]["wrong"]["share"] == float(wrong)
    assert 0 < figures["all"]["wrong"]["high"] <= 1


def test_edits_of_all_families_are_timed_by_the_engine(pools: Pools) -> None:
    work = list(cost_units(pools, 0, len(COST_FAMILIES)))
    assert len({unit.held.edit for unit in work}) >= 6
    engine = FakeEngine()
    limits = Accept(**OFF, target=False, changed=False)
    row = measure_cost(work[0], engine, limits)
    assert row["off"]["accepted"] is None and row["on"]["accepted"] is True
    assert row["off"]["seconds"] >= 0.0 and row["family"] == work[0].held.edit


def test_what_limits_cost() -> None:
    def row(family: str, off: float, on: float, **more: Any) -> dict[str, Any]:
        return {
            "family": family,
            "off": {"seconds": off, **more},
            "on": {"seconds": on, "accepted": True},
        }

    rows = [row("speed", 3.0, 6.0), row("clone", 1.0, 3.0), row("clone", 1.0, 1.0, error="no")]
    found = summarise_costs(rows)
    assert found["all"]["cost"] == 2.25 and found["all"]["edits"] == 2
    assert found["speed"]["cost"] == 2.0 and found["clone"]["cost"] == 3.0
    assert found["even"] == 2.5


def test_a_condition_does_not_profit_from_what_was_met_before() -> None:
    from stepedit_bench.trust.timing import timed

    from stepedit_core.dsp import acoustics

    class Remembering(FakeEngine):
        forgotten = 0

        def forget(self) -> None:
            self.forgotten += 1

    engine, speech = Remembering(), speech_like(1.0)
    before = acoustics.measure(speech)
    assert timed(engine, lambda: acoustics.measure(speech) is before)[0] is False
    assert engine.forgotten == 1


def test_a_run_of_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    asked = ["bench", "trust", "--data", str(write_data(tmp_path)), "--out", str(tmp_path / "o")]
    (tmp_path / "o").mkdir()
    journal = Journal(tmp_path / "o" / "journal.jsonl")
    journal.add("settings", {"accept": "strict", "seed": 0})
    done = CliRunner().invoke(cli, [*asked, "--part", "family", "--count", "1"])
    assert done.exit_code and "a run with another accept" in done.stderr
    done = CliRunner().invoke(cli, [*asked, "--engine", "dsp"])
    assert done.exit_code and "name an engine" in done.stderr
    assert CliRunner().invoke(cli, [*asked, "--part", "edits"]).exit_code == 2
