"""One engine folder from trained parts: what is stored, what is refused, what the card says."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from stepedit_speed import Speed
from stepedit_train.assembly.card import _data, _training, short_table
from stepedit_train.assembly.facts import run_facts
from stepedit_train.assembly.settings import AssembleSettings, KnownPairs, Run
from stepedit_train.assembly.stage import assemble, make_card
from stepedit_train.export import halve_tensors, save_graph
from stepedit_train.lm.vocabulary import DICTIONARY

from stepedit_core import Engine
from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.layout import DECODER_FOLDER
from stepedit_core.models.checkpoint.model_files import Figure
from stepedit_core.models.speaker.ge2e import RESEMBLYZER_FILE, ResemblyzerEncoder
from stepedit_core.models.text import load_tokenizer
from tests.models.audio_cases import write_semantic_graph
from tests.models.decoder_parts import HIFT_YAML, SPEAKER_SIZE, YAML
from tests.models.tiny_checkpoint import MODEL, TOKENIZER, write_engine
from tests.models.tiny_step1 import tiny_model
from tests.train.making import make_cache


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts as the stages leave them: a decoder with two pieces of configuration."""
    folder = write_engine(tmp_path_factory.mktemp("parts"))
    decoder = shutil.copytree(folder / MODEL / DECODER_FOLDER, folder / "decoder")
    (decoder / "cosyvoice.yaml").unlink()
    (decoder / "flow.yaml").write_text(YAML)
    (decoder / "hift.yaml").write_text(HIFT_YAML)
    speaker = ResemblyzerEncoder(bins=8, hidden=8, layers=1, size=SPEAKER_SIZE)
    save_file(speaker.state_dict(), folder / RESEMBLYZER_FILE)
    log = folder / "run" / "log.jsonl"
    log.parent.mkdir()
    rows = [{"step": 40, "part": "train", "seconds": 1800.0}, {"step": 40, "part": "dev"}]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_cache(folder / "cache", count=4)
    return folder


def settings(parts: Path, out: Path, **more: object) -> AssembleSettings:
    """Return settings for the parts; the runs keep two threads busy."""
    given = {
        "base": parts,
        "out": out,
        "language_model": MODEL,
        "tokenizer": TOKENIZER,
        "decoder": "decoder",
        "speaker": RESEMBLYZER_FILE,
        "caches": ("cache",),
        "languages": ("en",),
        "longest_seconds": {"speed": 4.0},
        "runs": (Run(name="everything", folder=Path("run"), threads=2),),
        **more,
    }
    return AssembleSettings.model_validate(given)


@pytest.fixture(scope="module")
def made(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "embedded"
    out.mkdir()
    (out / "__init__.py").write_text("")
    lines = list(assemble(settings(parts, out)))
    assert any(line.startswith("codes as before storing: ") for line in lines), lines
    assert lines[-1] == f"made {out}"
    return out


def test_float16_storage(parts: Path, made: Path) -> None:
    stored = [load_file(path) for path in made.rglob("*.safetensors")]
    assert len(stored) == 5  # language model, encoder, flow, vocoder, speaker
    kinds = {tensor.dtype for state in stored for tensor in state.values()}
    assert torch.float16 in kinds and torch.float32 not in kinds
    assert json.loads((made / "config.json").read_text())["dtype"] == "float16"
    engine = Engine.load(str(made))
    assert isinstance(engine.parts.reference.speaker, ResemblyzerEncoder)
    assert {p.dtype for p in engine.parts.model.parameters()} == {torch.float32}
    before = Engine.load(str(parts)).parts.model.state_dict()
    for name, tensor in engine.parts.model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=1e-3, rtol=1e-3)
    assert (made / "__init__.py").is_file()


def test_weights_of_an_edits_own_are_shipped(parts: Path, tmp_path: Path) -> None:
    tiny_model(1).save_pretrained(parts / "taught")
    rules = {"edits": {"clone": {"weights": "spoken"}}}
    own = settings(parts, tmp_path / "made", edit_weights={"spoken": "taught"}, generation=rules)
    list(assemble(own))
    card = (tmp_path / "made" / "MODEL_CARD.md").read_text()
    assert "| language model of clone | Step1, " in card
    engine = Engine.load(str(tmp_path / "made"))
    assert engine.parts.network("spoken") is not engine.parts.model
    stored = load_file(tmp_path / "made" / "spoken" / "model.safetensors")
    expected = load_file(parts / "taught" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    for name, tensor in expected.items():
        torch.testing.assert_close(stored[name].float(), tensor.float(), atol=1e-3, rtol=1e-3)


def test_a_second_call_replaces_the_model(parts: Path, made: Path, tmp_path: Path) -> None:
    out = shutil.copytree(made, tmp_path / "embedded")
    (out / "old.json").write_text("{}")
    list(assemble(settings(parts, out, half=("speaker",))))
    assert not (out / "old.json").exists() and (out / "__init__.py").is_file()
    weights = load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_refused_folders(parts: Path, made: Path, tmp_path: Path) -> None:
    out = shutil.copytree(made, tmp_path / "embedded")
    before = sorted(path.name for path in out.rglob("*"))
    with pytest.raises(StepeditError, match=r"are more than 0\.0 MB"):
        list(assemble(settings(parts, out, max_bytes=1000)))
    assert sorted(path.name for path in out.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embedded"]
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("precious")
    with pytest.raises(StepeditError, match="holds other files"):
        list(assemble(settings(parts, other)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{MODEL}/config.json", r"config\.json is missing"),
        ("decoder/flow.pt", r"flow\.safetensors is missing"),
        ("decoder/hift.yaml", r"hift\.yaml is missing"),
        (f"{TOKENIZER}/speech_tokenizer_v1.onnx", r"speech_tokenizer_v1\.onnx is missing"),
        (RESEMBLYZER_FILE, "no such file"),
    ],
)
def test_a_missing_part_is_named(parts: Path, tmp_path: Path, name: str, message: str) -> None:
    broken = shutil.copytree(parts, tmp_path / "parts")
    (broken / name).unlink()
    with pytest.raises(StepeditError, match=message):
        list(assemble(settings(broken, tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_the_card_says_what_it_is_made_of(made: Path) -> None:
    card = (made / "MODEL_CARD.md").read_text()
    assert "$" not in card
    assert "**Experimental**: its figures have not been measured yet." in card
    assert "| tones | CC0 | 2 |" in card
    assert "| everything | 40 | 1.00 |" in card
    assert "Languages taught: English (en)." in card
    engine = Engine.load(str(made))
    assert engine.languages == ("en",) and engine.longest_seconds(Speed(factor=1.2)) == 4.0
    assert "Resemblyzer (GE2E)" in card and "HiFTGenerator" in card


def measured(made: Path, value: float, **more: object) -> dict[str, object]:
    """Return a benchmark's figures of a model: real and synthetic speech, and a cost."""
    rows = [
        {"row": "added_wer", "unit": "points", "kind": kind, "value": value + extra, "n": 40,
         "low": 1.0, "high": 50.0, "gate": 20, "goal": 8, "higher_is_better": False,
         "beside": {"world": 1.5, "target": 2.5}}
        for kind, extra in (("real", 2), ("synthetic", 0))
    ]  # fmt: skip
    return {"model": Engine.load(str(made)).describe()["weights"], "rows": rows, **more}


def test_figures_decide_whether_it_is_experimental(parts: Path, made: Path, tmp_path: Path) -> None:
    out = shutil.copytree(made, tmp_path / "embedded")
    readme = tmp_path / "README.md"
    mark = "<!-- figures of the embedded model -->\n<!-- end of the figures -->"
    readme.write_text(f"before\n{mark}\nafter\n")
    files = {"figures": tmp_path / "f.json", "routes": tmp_path / "r.json"}
    routes = {"speed": {"llm": 0.1, "dsp": 0.9}}
    found = measured(made, 19.0)
    files["routes"].write_text(json.dumps({"model": found["model"], "edits": routes}))
    given = settings(parts, out, readme=readme, **files)

    def card(**content: object) -> list[str]:
        files["figures"].write_text(json.dumps(content))
        return list(make_card(given))

    card(**found)
    text = (out / "MODEL_CARD.md").read_text()
    assert "**Experimental**: it misses 1 of 1 gates (added_wer)." in text
    assert "| `speed` | dsp |" in text
    row = "| added_wer (points) | real | 21 [1, 50] n=40 | 20 | 8 | **missed** | 1.5 | 2.5 |"
    assert row in text
    assert "| met | world | target |" in text
    card(**measured(made, 12.0))
    text = readme.read_text()
    assert "It passes every gate" in text and "Experimental" not in text
    values = "14 [1, 50] n=40 | 12 [1, 50] n=40 |  | 20 | 8 | gate |"
    assert f"| added_wer (points) | {values}" in text
    assert text.startswith("before\n<!--") and text.endswith("-->\nafter\n")
    lines = card(**(measured(made, 12.0) | {"model": "0" * 16}))
    assert "is of other weights" in lines[0]
    assert "have not been measured yet" in (out / "MODEL_CARD.md").read_text()
    with pytest.raises(StepeditError, match="does not say which model"):
        card(rows=[])


def test_card_is_renewed_without_the_training_folders(
    parts: Path, made: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(made, tmp_path / "embedded")
    card = (out / "MODEL_CARD.md").read_text()
    card = card.replace("## Limits", "## Limits\n\nWritten by hand.")
    (out / "MODEL_CARD.md").write_text(card.replace("## Routes", "Of old scorers.\n\n## Routes"))
    figures = tmp_path / "f.json"
    figures.write_text(json.dumps(measured(made, 19.0)))
    away = {"caches": (tmp_path / "away",), "pairs": (), "runs": ()}
    given = settings(parts, out, figures=figures, keep_card=True, **away)
    list(make_card(given))
    text = (out / "MODEL_CARD.md").read_text()
    assert "**Experimental**: it misses 1 of 1 gates (added_wer)." in text
    assert "| added_wer (points) | real | 21 [1, 50] n=40 |" in text
    assert "Written by hand." in text and "| tones | CC0 | 2 |" in text
    assert "Of old scorers" not in text and "have not been measured yet" not in text
    assert text.count("## Figures") == text.count("## Routes") == 1
    list(make_card(given))
    assert (out / "MODEL_CARD.md").read_text() == text
    (out / "MODEL_CARD.md").write_text("# A card\n")
    with pytest.raises(StepeditError, match="has no place for the figures"):
        list(make_card(given))


def test_short_table_has_a_column_for_each_longer_stratum() -> None:
    def figure(kind: str, value: float) -> Figure:
        limits = {"gate": 20.0, "goal": 8.0, "is_higher_better": False}
        return Figure("wer", kind, "points", value, n=4, **limits)

    kinds = ("real", "synthetic", "all", "real, 4-10 s", "synthetic, 4-10 s", "all, 4-10 s")
    values = (10.0, 10.0, 10.0, 25.0, 5.0, 15.0)
    table = short_table([figure(*one) for one in zip(kinds, values, strict=True)]).splitlines()
    assert table[0] == "| figure | real | synthetic | all | all, 4-10 s | gate | goal | met |"
    assert table[2] == (
        "| wer (points) | 10 n=4 | 10 n=4 | 10 n=4 | 15 n=4 | 20 | 8 | **missed** |"
    )


def test_unfinished_run(parts: Path, tmp_path: Path) -> None:
    run = tmp_path / "llm"
    for step in (5, 20, 100):
        shutil.copytree(parts / MODEL, run / f"checkpoint-{step}")
        (run / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    (run / "checkpoint-100" / "trainer_state.json").unlink()  # still being written
    weights = run / "checkpoint-20" / "model.safetensors"
    # Old safetensors read by a map of the file, which is about to be written.
    state = {name: tensor.clone() for name, tensor in load_file(weights).items()}
    save_file({name: tensor + 1 for name, tensor in state.items()}, weights)
    out = tmp_path / "out"
    (run / "checkpoint-20" / "tokenizer_config.json").unlink()
    with pytest.raises(StepeditError, match="set text_tokenizer"):
        list(assemble(settings(parts, out, language_model=run)))
    words = tmp_path / "words"
    words.mkdir()
    config = json.loads((parts / MODEL / "tokenizer_config.json").read_text())
    config["pronunciations"] = DICTIONARY
    (words / "tokenizer_config.json").write_text(json.dumps(config))
    (words / DICTIONARY).write_bytes(gzip.compress(b"words W ER D Z\n"))
    list(assemble(settings(parts, out, language_model=run, text_tokenizer=words)))
    assert len(load_tokenizer(out).encode("words")) == 4
    for name, tensor in load_file(out / "model.safetensors").items():
        torch.testing.assert_close(tensor.float(), state[name] + 1, atol=1e-3, rtol=1e-3)


def test_a_graph_of_half_precision_gives_the_same_codes(tmp_path: Path) -> None:
    from stepedit_core.models.tokenizer.semantic import GRAPH, OnnxSemanticTokenizer

    (tmp_path / "before").mkdir()
    write_semantic_graph(tmp_path / "before" / GRAPH)
    save_graph(tmp_path / "before" / GRAPH, tmp_path / "after" / GRAPH, half=True)
    mel = np.random.default_rng(0).standard_normal((1, 128, 40)).astype(np.float32)
    one, other = (
        OnnxSemanticTokenizer.load(tmp_path / name, threads=1).encode_log_mel(mel)
        for name in ("before", "after")
    )
    np.testing.assert_array_equal(one, other)


def test_float16_overflow() -> None:
    with pytest.raises(StepeditError, match="float16 cannot hold"):
        halve_tensors({"a": torch.tensor([1e5])}, "b")


def test_a_trainers_state_tells_steps_and_time(tmp_path: Path) -> None:
    assert run_facts(tmp_path, 1).core_hours is None
    folder = tmp_path / "checkpoint-20"
    folder.mkdir()
    state = {"global_step": 20, "log_history": [{"train_runtime": 3600.0}]}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    facts = run_facts(tmp_path, 2)
    assert (facts.steps, facts.core_hours) == (20, 2.0)


def test_facts_from_settings(tmp_path: Path) -> None:
    gone = Run(name="long ago", folder=tmp_path / "gone", steps=1234, core_hours=0.5)
    make_cache(tmp_path / "cache")
    settings = AssembleSettings.model_construct(
        base=tmp_path,
        runs=(gone,),
        caches=(Path("cache"),),
        known_pairs=(KnownPairs(name="whispers", rows=12, hours=0.25),),
    )
    assert "| long ago | 1,234 | 0.50 |" in _training(settings)
    assert "| whispers | 12 | 0.25 |" in _data(settings)[0]
