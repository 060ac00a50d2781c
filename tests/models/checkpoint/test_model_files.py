"""Files that come with a model: its figures, its routes, its rules of picking."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepedit_core.codes import DualCodes
from stepedit_core.config import (
    EngineConfig,
    GenerationPolicy,
    SamplingConfig,
    engine_config,
    join_rules,
)
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import CheckpointError, EngineError
from stepedit_core.models.checkpoint.model_files import (
    FIGURES_FILE,
    ROUTES_FILE,
    SAMPLING,
    RouteTable,
    experimental,
    folder_sampling,
    read_figures,
)
from stepedit_core.models.lm.constraints import Free
from stepedit_core.models.lm.framing import Rules, constraint_of
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.testing import speech_like
from tests.toy_edits import Gain, Hiss

# Figures


def figure(
    name: str, value: float | None, gate: float | None = 20, **more: object
) -> dict[str, object]:
    return {"row": name, "value": value, "gate": gate, "higher_is_better": False, **more}


def missed(folder: Path, *rows: object) -> str | None:
    (folder / FIGURES_FILE).write_text(json.dumps({"rows": rows}))
    return experimental(read_figures(folder))


def test_a_gate_is_missed_on_its_wrong_side(tmp_path: Path) -> None:
    assert missed(tmp_path, figure("a", 20), figure("b", 0.8, 0.75, higher_is_better=True)) is None
    assert missed(tmp_path, figure("a", 21), figure("b", 1)) == "it misses 1 of 2 gates (a)"
    better = figure("b", 0.7, 0.75, higher_is_better=True)
    assert missed(tmp_path, better) == "it misses 1 of 1 gates (b)"


def test_every_kind_of_speech_must_pass_and_a_figure_counts_once(tmp_path: Path) -> None:
    rows = [
        figure("a", 30, kind="real"),
        figure("a", 40, kind="synthetic"),
        figure("b", 1, kind="real"),
    ]
    assert missed(tmp_path, *rows) == "it misses 1 of 2 gates (a)"


def test_what_was_not_measured_passes_no_gate(tmp_path: Path) -> None:
    assert experimental(read_figures(tmp_path)) == "its figures have not been measured yet"
    assert missed(tmp_path, figure("a", None)) == "it misses 1 of 1 gates (a)"
    assert missed(tmp_path, figure("a", 5, None)) == "its figures have not been measured yet"


def test_rows_keep_what_stands_beside(tmp_path: Path) -> None:
    missed(tmp_path, figure("a", 3, goal=2, n=41, beside={"dsp": 1.5, "world": None}))
    (read,) = read_figures(tmp_path)
    assert (read.n, read.beside, read.reaches_goal) == (41, {"dsp": 1.5}, False)


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"rows": [3]}', '{"rows": [{"row": "a", "value": "x"}]}']
)
def test_damaged_figures_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / FIGURES_FILE).write_text(content)
    with pytest.raises(CheckpointError, match=r"figures\.json is not a list of figures"):
        read_figures(tmp_path)


# Routes


def routes(folder: Path, content: object) -> RouteTable:
    (folder / ROUTES_FILE).write_text(json.dumps({"model": "0", "edits": content}))
    return RouteTable.load(folder)


def test_a_named_route_wins_and_the_better_score_otherwise(tmp_path: Path) -> None:
    table = routes(
        tmp_path,
        {
            "hiss": {"llm": 0.2, "dsp": 0.9, "n": 40, "route": "llm"},
            "gain": {"llm": 0.2, "dsp": 0.9, "n": 40},
            "clone": {"llm": 0.0, "dsp": None},
            "tie": {"llm": 0.5, "dsp": 0.5},
        },
    )
    assert table.routes == {"hiss": "llm", "gain": "dsp", "clone": "llm", "tie": "llm"}
    assert (table.preferred(Hiss()), table.preferred(Gain())) == ("llm", "dsp")


def test_edits_that_were_not_measured_have_no_preference(tmp_path: Path) -> None:
    assert RouteTable.load(tmp_path).preferred(Hiss()) is None
    assert routes(tmp_path, {"gain": {"route": "dsp"}}).preferred(Hiss()) is None


@pytest.mark.parametrize("row", [{"route": "best"}, {}, [], {"n": 3}, {"llm": "good"}])
def test_rows_that_name_no_route_are_refused(tmp_path: Path, row: object) -> None:
    with pytest.raises(CheckpointError, match=r"routes\.json, 'hiss'"):
        routes(tmp_path, {"hiss": row})


def test_a_length_may_stand_alone(tmp_path: Path) -> None:
    table = routes(tmp_path, {"hiss": {"longest_seconds": 4}, "gain": {"route": "dsp"}})
    assert (table.routes, table.longest) == ({"gain": "dsp"}, {"hiss": 4.0})
    with pytest.raises(CheckpointError, match="longest_seconds is a number from 1"):
        routes(tmp_path, {"hiss": {"longest_seconds": 0.5}})


def test_damaged_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / ROUTES_FILE).write_text("{")
    with pytest.raises(CheckpointError, match="not readable JSON"):
        RouteTable.load(tmp_path)
    (tmp_path / ROUTES_FILE).write_text('{"speed": {}}')
    with pytest.raises(CheckpointError, match="no object under 'edits'"):
        RouteTable.load(tmp_path)


# Rules of picking


def test_a_model_sets_what_its_user_does_not(tmp_path: Path) -> None:
    assert folder_sampling(tmp_path) == ({}, {})
    (tmp_path / SAMPLING).write_text(json.dumps({"temperature": 0.2, "hold_length": 0.9}))
    sampling, policy = folder_sampling(tmp_path)
    chosen = SamplingConfig(temperature=1.0, top_k=5).filled(sampling)
    assert chosen == SamplingConfig(temperature=1.0, top_k=5)
    assert GenerationPolicy(best_of=2).filled(policy) == GenerationPolicy(best_of=2, min_length=0.9)
    assert SamplingConfig().filled({}) == SamplingConfig()


def test_single_edits_have_rules_of_their_own_unless_the_user_sets_them(tmp_path: Path) -> None:
    own = {"denoise": {"temperature": 0.9, "guidance": 2.0}}
    (tmp_path / SAMPLING).write_text(json.dumps({"temperature": 0.2, "edits": own}))
    model = SamplingConfig().filled(folder_sampling(tmp_path)[0])
    assert model.for_edit("denoise") == SamplingConfig(temperature=0.9, guidance=2.0)
    assert model.for_edit("speed") == SamplingConfig(temperature=0.2)
    chosen = SamplingConfig(temperature=1.5).filled(folder_sampling(tmp_path)[0])
    assert chosen.for_edit("denoise") == SamplingConfig(temperature=1.5, guidance=2.0)
    single = SamplingConfig(edits={"speed": {"top_k": 5}, "denoise": {"temperature": 0.4}})
    merged = single.filled(folder_sampling(tmp_path)[0])
    assert merged.for_edit("denoise") == SamplingConfig(temperature=0.4, guidance=2.0)
    assert merged.for_edit("speed") == SamplingConfig(temperature=0.2, top_k=5)
    both = SamplingConfig(edits={"speed": {"temperature": 0.2, "top_k": 5}, "masked": {"top_k": 7}})
    assert both.for_edit("speed", "masked") == SamplingConfig(temperature=0.2, top_k=7)
    assert both.for_edit("masked") == SamplingConfig(top_k=7)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"edits": {"speed": {"temprature": 1}}}',
        '{"edits": {"speed": {"edits": 1}}}',
        '{"temprature": 1}',
        '{"temperature": -1}',
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / SAMPLING).write_text(content)
    with pytest.raises(CheckpointError, match=r"sampling\.json"):
        folder_sampling(tmp_path)


@pytest.mark.parametrize(
    ("known", "held", "least"),
    [
        (True, {"min_length": 0.9}, 18),
        (True, {"min_length_estimated": 0.9}, 1),
        (True, {}, 1),
        (False, {"min_length": 0.9}, 1),
        (False, {"min_length": 0.9, "min_length_estimated": 0.5}, 10),
    ],
)
def test_definite_and_guessed_durations_are_held_apart(
    known: bool, held: dict[str, float], least: int
) -> None:
    codes = DualCodes.from_interleaved([0, 0, 1024, 1024, 1024] * 10)
    plan = Plan(length_ratio=2.0, length_is_exact=known)
    request = GenerateRequest(Prompt.edit("Slower."), codes, speech_like(1.2), plan=plan)
    rules = Rules(SamplingConfig(), GenerationPolicy(**held))
    made = constraint_of(request, [1, 2], 5000, rules)
    assert len(made) == 1 and isinstance(made[0], Free)
    assert made[0].min_groups == least


def test_a_wrong_rule_names_the_edit() -> None:
    with pytest.raises(EngineError, match=r"edits\.speed\.temprature: Extra inputs"):
        engine_config(sampling={"edits": {"speed": {"temprature": 1}}})


@pytest.mark.filterwarnings("default")
def test_fields_that_have_moved_are_taken_under_their_old_names() -> None:
    own = {"speed": {"candidates": 2, "top_k": 5}}
    with pytest.warns(DeprecationWarning, match="belong to GenerationPolicy"):
        sampling = SamplingConfig(hold_guess=0.5, keep_rest=True, temperature=0.1, edits=own)
    config = EngineConfig(sampling=sampling, generation=GenerationPolicy(min_length=0.2))
    assert config.sampling.for_edit("speed") == SamplingConfig(temperature=0.1, top_k=5)
    assert config.generation == GenerationPolicy(
        min_length=0.2,
        min_length_estimated=0.5,
        regenerate="insertions",
        edits={"speed": {"best_of": 2}},
    )
    assert config.generation.for_edit("speed").best_of == 2
    assert join_rules(sampling, GenerationPolicy()) == {
        "temperature": 0.1,
        "min_length_estimated": 0.5,
        "regenerate": "insertions",
        "edits": {"speed": {"top_k": 5, "best_of": 2}},
    }


@pytest.mark.filterwarnings("default")
def test_reuse_decoded_is_taken_and_said_to_have_no_effect() -> None:
    with pytest.warns(DeprecationWarning, match="carry='audio'"):
        assert EngineConfig.model_validate({"reuse_decoded": False}) == EngineConfig()
