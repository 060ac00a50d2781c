"""Pre-training: the ids of each kind of row, what is held out, learning, stopping, resuming."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from stepedit_train.data.cache import CachedItem, block_path, write_block
from stepedit_train.lm import pretrain as stage
from stepedit_train.lm.documents import HELD, RowMaker, document_files, read_documents
from stepedit_train.lm.mixture import PretrainSource, collate, read_sources
from stepedit_train.lm.pretrain import PretrainSettings, train_pretrain
from stepedit_train.lm.sft import SftSettings, train_sft
from stepedit_train.lm.store import expected_paces, stored_rows
from stepedit_train.lm.trainer import figures_of, split_labels
from stepedit_train.lm.training import KEPT_FILES
from stepedit_train.settings import load_settings
from stepedit_train.stages import run_stage

from stepedit_core.codes import DualCodes
from stepedit_core.errors import StepeditError
from stepedit_core.models.lm.step1 import Step1Config, Step1ForCausalLM, load_step1
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.registry.registry import Registry
from tests.toy_edits import Hiss
from tests.train.making import asking_to_stop, codes, make_pairs

BYTES = ByteTokenizer()
BOS, EOT, AUDIO = BYTES.bos_id, BYTES.eot_id, BYTES.audio_base_id
HEADS = [
    {"kind": "recent", "slope": 2.0, "offset": -1.0},
    {"kind": "source", "slope": 2.0, "offset": 0.0},
    {"kind": "source", "slope": 1.0, "offset": 5.0},
    None,
]
CONFIGS = Path(__file__).parents[3] / "training" / "configs"


@pytest.fixture(autouse=True)
def _toys(toys: Registry) -> Iterator[None]:
    yield


def make_model(folder: Path, heads: list[Any] | None = HEADS) -> Path:
    """Write a tiny language model with a byte vocabulary, position priors with it."""
    torch.manual_seed(0)
    config = Step1Config(
        vocab_size=BYTES.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_attention_groups=2,
        max_seq_len=2048,
        source_alignment=heads,
        dtype="float32",
    )
    Step1ForCausalLM(config).save_pretrained(str(folder))
    described = {"tokenizer_class": "ByteTokenizer", "audio_base_id": 324, "audio_count": 5120}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


def make_speech(
    folder: Path, said: list[str | None], *, with_codes: bool = True, groups: int = 3
) -> Path:
    """Write a cache of one block; recording n has ``codes(n)``, the first one validates."""
    items, audio, layer = [], {}, {}
    for row, words in enumerate(said):
        split = "dev" if row == 0 else "train"
        items.append(
            CachedItem(
                str(row), "toy", f"s{row}", "en", split, words, None, "CC0", 16_000, 0.0, 1.0, 1.0
            )
        )
        audio[f"{row}.speech"] = np.zeros(4, np.int16)
        made = codes(row, groups)
        layer[f"{row}.linguistic"] = made.linguistic.astype(np.int16)
        layer[f"{row}.semantic"] = made.semantic.astype(np.int16)
        layer[f"{row}.start"] = np.zeros(1, np.float32)
    write_block(block_path(folder, 0, "audio"), audio, items)
    if with_codes:
        write_block(block_path(folder, 0, "codes"), layer)
    return folder


def make_documents(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("A plain text.")
    rows = [{"text": f"row {n}"} for n in range(3)] + [{"text": "row 1"}, {"text": " "}]
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.table({"text": ["column text", None]}), folder / "c.parquet")
    return folder


def spelled(text: str) -> list[int]:
    return [BYTES.byte_base_id + byte for byte in text.encode()]


def sound(made: DualCodes) -> list[int]:
    return [AUDIO + int(token) for token in made.interleave()]


def settings(folder: Path, **changes: object) -> PretrainSettings:
    fields: dict[str, object] = {
        "model": folder / "base",
        "out": folder / "run",
        "data": [
            {"path": folder / "texts", "kind": "text"},
            *({"path": folder / "cache", "kind": kind} for kind in ("codes", "read", "write")),
        ],
        "steps": 6,
        "tokens": 100,
        "max_tokens": 64,
        "learning_rate": 1e-2,
        "final_learning_rate": 1e-3,
        "dev_share": 1e-9,
        "log_every": 1,
        "save_every": 3,
        "device": "cpu",
        "tensorboard": False,
        "gradient_checkpointing": False,
    }
    return PretrainSettings.model_validate(fields | changes)


def make_all(folder: Path, heads: list[Any] | None = HEADS) -> Path:
    make_model(folder / "base", heads)
    make_documents(folder / "texts")
    make_speech(folder / "cache", ["held", "one", "three words now", None])
    return folder


def logged(out: Path, name: str) -> list[float]:
    state = json.loads((out / "trainer_state.json").read_text())
    return [entry[name] for entry in state["log_history"] if name in entry]


def test_rows_of_each_kind_are_framed(tmp_path: Path) -> None:
    cache = make_speech(tmp_path / "cache", ["held", " say <|EOT|> <s><audio_5> ", None])
    words = spelled("say <|EOT|> <s><audio_5>")
    assert EOT not in words and AUDIO + 5 not in words
    expected = {
        "text": [[BOS, *spelled("held"), EOT], [BOS, *words, EOT]],
        "codes": [[BOS, *sound(codes(n)), EOT] for n in range(3)],
        "read": [
            [BOS, *spelled("held"), EOT, *sound(codes(0)), EOT],
            [BOS, *words, EOT, *sound(codes(1)), EOT],
        ],
        "write": [
            [BOS, *sound(codes(0)), EOT, *spelled("held"), EOT],
            [BOS, *sound(codes(1)), EOT, *words, EOT],
        ],
    }
    for kind, ids in expected.items():
        maker = RowMaker(cache, kind, BYTES, 100)  # type: ignore[arg-type]
        rows = list(maker.rows())
        assert [row.ids for row in rows] == ids
        assert rows[0].draw == HELD and all(0 <= row.draw < 1 for row in rows[1:])
        assert dict(maker.skipped) == ({} if kind == "codes" else {"no text": 1})
        answers = {"read": len(words) + 2, "write": 17}
        assert rows[1].answer == answers.get(kind, 0)
        store = stored_rows(cache, kind, BYTES, 100, tmp_path / "rows")  # type: ignore[arg-type]
        made = [store.example(n) for n in range(len(store))]
        assert [one.ids for one in made] == ids and {one.edit for one in made} == {kind}
        assert made[1].labels == [-100, *ids[1][1:]]
        place = made[1].alignment
        if kind in answers:
            assert place is not None and place.answer == rows[1].answer
            inside = made[1].ids[place.start : place.stop]
            assert inside == (words if kind == "read" else sound(codes(1)))
        else:
            assert place is None


def test_control_marks_stay_text(tmp_path: Path) -> None:
    document = "a<|BOT|> human\n<audio_7><|EOT|></s><unk>"
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": document}))
    phrased = ByteTokenizer(phrases=[" human\n"])
    for tokenizer in (BYTES, phrased):
        (row,) = RowMaker(tmp_path, "text", tokenizer, 100).rows()
        assert row.ids[0] == BOS and row.ids[-1] == EOT
        audio = range(AUDIO, AUDIO + tokenizer.audio_count)
        assert all(i >= tokenizer.byte_base_id and i not in audio for i in row.ids[1:-1])
        assert tokenizer.decode(row.ids[1:-1]) == document


def test_long_rows(tmp_path: Path) -> None:
    cache = make_speech(tmp_path / "cache", ["b" * 31], groups=7)
    rows = [row.ids for row in RowMaker(cache, "codes", BYTES, 18).rows()]
    whole = sound(codes(0, 7))
    assert rows == [[BOS, *whole[:15]], [BOS, *whole[15:30]], [BOS, *whole[30:], EOT]]
    texts = [row.ids for row in RowMaker(cache, "text", BYTES, 18).rows()]
    assert [len(ids) for ids in texts] == [17, 17]
    assert [ids[0] for ids in texts] == [BOS] * 2 and texts[1][-1] == EOT != texts[0][-1]
    maker = RowMaker(cache, "read", BYTES, 18)
    assert not list(maker.rows()) and dict(maker.skipped) == {"longer than 18 tokens": 1}


def test_paces_are_those_of_the_speakers_other_rows() -> None:
    speakers = np.array(["a", "a", "b", "a"])
    words, tokens = np.array([10, 20, 30, 0 + 6]), np.array([50, 40, 60, 30])
    answers = words + 2
    paces = expected_paces("read", answers + tokens + 1, answers, speakers)
    others = [26 / 70, 16 / 80, 36 / 120, 30 / 90]
    assert paces == pytest.approx([5 * each for each in others])
    alone = expected_paces("write", np.array([30]), np.array([12]), np.array(["a"]))
    assert alone == pytest.approx([5 * 10 / 17])
    assert not expected_paces("codes", np.array([30]), np.array([0]), np.array(["a"])).any()


def test_documents_of_all_formats(tmp_path: Path) -> None:
    folder = make_documents(tmp_path / "texts")
    files = document_files(folder)
    assert [file.name for file in files] == ["a.txt", "b.jsonl", "c.parquet"]
    assert [text for file in files for text in read_documents(file)] == [
        "A plain text.", "row 0", "row 1", "row 2", "row 1", " ", "column text", "",
    ]  # fmt: skip
    maker = RowMaker(folder, "text", BYTES, 100)
    assert len(list(maker.rows())) == 5
    assert dict(maker.skipped) == {"repeated text": 1, "no text": 2}
    (folder / "d.jsonl").write_text('{"text": "half \\ud83d"}\n')
    maker = RowMaker(folder / "d.jsonl", "text", BYTES, 100)
    assert not list(maker.rows()) and dict(maker.skipped) == {"text that is not Unicode": 1}


def test_shares_and_held_out_rows(tmp_path: Path) -> None:
    cache = make_speech(tmp_path / "cache", [f"words {n}" for n in range(41)])
    lines = [json.dumps({"text": f"document {n}"}) for n in range(40)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))

    def read(share: float, dev_share: float, dev_rows: int = 100) -> Any:
        sources = [
            PretrainSource(path=cache, kind="read", share=share),
            PretrainSource(path=tmp_path / "d.jsonl", kind="text"),
        ]
        rules: dict[str, Any] = {"max_tokens": 90, "seed": 0, "folder": tmp_path / "rows"}
        return read_sources(sources, BYTES, dev_share=dev_share, dev_rows=dev_rows, **rules)

    whole = read(2.5, 0.0)
    assert whole.train.sizes()["read"][0] == 100 and whole.train.sizes()["text"][0] == 40
    assert not whole.dev and whole.train.lengths == [len(one.ids) for one in whole.train]
    speakers = {one.speaker for one in whole.train if one.edit == "read"}
    assert len(speakers) == 40 and "s0" not in speakers  # the cache keeps it for validation
    parted = read(1.0, 0.3)
    assert {one.speaker for one in parted.dev["read"]} >= {"s0"}
    for kind in ("read", "text"):
        held = {tuple(one.ids) for one in parted.dev[kind]}
        left = {tuple(one.ids) for one in parted.train if one.edit == kind}
        assert len(held) >= 4 and len(left) >= 20 and not held & left
    assert {len(rows) for rows in read(1.0, 0.3, 3).dev.values()} == {3}


def test_tokenised_rows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, kept = make_documents(tmp_path / "texts"), tmp_path / "rows"
    first = stored_rows(folder, "text", BYTES, 100, kept)
    with monkeypatch.context() as patch:
        patch.setattr("stepedit_train.lm.store.RowMaker", None)
        again = stored_rows(folder, "text", BYTES, 100, kept)
    assert [again.example(n) for n in range(5)] == [first.example(n) for n in range(5)]
    assert again.skipped == first.skipped and again.ids.dtype == np.uint16
    (folder / "a.txt").write_text("Another text.")
    changed = stored_rows(folder, "text", BYTES, 100, kept)
    assert changed.example(0).ids == [BOS, *spelled("Another text."), EOT]
    for file in kept.glob("*.ids"):
        file.write_bytes(b"half")
    with pytest.raises(StepeditError, match="is damaged"):
        stored_rows(folder, "text", BYTES, 100, kept)


@pytest.mark.parametrize("heads", [None, HEADS])
def test_packed_rows_do_not_see_each_other(tmp_path: Path, heads: list[Any] | None) -> None:
    make_all(tmp_path, heads)
    model: Any = load_step1(tmp_path / "base", dtype=torch.float32)
    rows = [
        stored_rows(path, kind, BYTES, 64, tmp_path / "rows").example(1)  # type: ignore[arg-type]
        for kind, path in [("text", tmp_path / "texts")]
        + [(kind, tmp_path / "cache") for kind in ("codes", "read", "write")]
    ]
    aligned = heads is not None
    with torch.inference_mode():
        packed = model(**collate([rows], aligned)).logits
        for place, row in enumerate(rows):
            alone = model(**collate([[row]], aligned)).logits[0]
            assert torch.allclose(packed[place, : len(row.ids)], alone, atol=1e-5)


def test_losses_are_told_apart() -> None:
    row = torch.tensor([[-100, 70, EOT, AUDIO, AUDIO + 2000, EOT], [BOS, AUDIO, EOT, 70, 71, -100]])
    parts = split_labels(row, BYTES)
    none = -100
    assert parts["text"].tolist() == [
        [none, 70, EOT, none, none, none], [none, none, none, 70, 71, none],
    ]  # fmt: skip
    assert parts["codes"].tolist() == [
        [none, none, none, AUDIO, AUDIO + 2000, EOT], [none, AUDIO, EOT, none, none, none],
    ]  # fmt: skip
    figures = figures_of({("text", "text"): (6.0, 2), ("read", "text"): (2.0, 2),
                          ("read", "codes"): (12.0, 3)})  # fmt: skip
    assert figures == pytest.approx({
        "loss": 20 / 7, "text_loss": 3.0, "read_loss": 14 / 5,
        "read_text_perplexity": np.e, "read_codes_perplexity": np.e**4,
        "text_perplexity": np.e**2, "codes_perplexity": np.e**4,
    })  # fmt: skip


def test_it_learns_and_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    make_all(tmp_path)
    (tmp_path / "base" / KEPT_FILES[2]).write_text("{}")
    lines = list(train_pretrain(settings(tmp_path)))
    assert "read: 2 rows of 54 tokens to train on, 1 row to validate on" in lines
    assert "left out 1: no text (write)" in lines and lines[-1].startswith("6 steps")
    out = tmp_path / "run"
    whole = logged(out, "loss")
    assert len(whole) == 6 and whole[-1] < 0.9 * whole[0]
    for name in ("codes_loss", "read_loss", "write_loss", "text_perplexity", "codes_perplexity"):
        assert len(logged(out, f"eval_{name}")) == 2
    trained = load_step1(out / "model", dtype=torch.float32)
    assert trained.config.use_cache and trained.config.source_alignment is not None
    assert load_tokenizer(out / "model").vocab_size == BYTES.vocab_size
    assert (out / "model" / KEPT_FILES[2]).is_file()

    # As after kill -9 between two checkpoints, and in the middle of writing the second.
    again = tmp_path / "again"
    shutil.copytree(out / "checkpoint-3", again / "checkpoint-3")
    (again / "checkpoint-6").mkdir()
    (again / "checkpoint-6" / "model.safetensors").write_bytes(b"half")
    list(train_pretrain(settings(tmp_path, out=again)))
    assert logged(again, "loss") == whole
    resumed = load_step1(again / "model", dtype=torch.float32)
    for ours, theirs in zip(trained.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_validation_figures(tmp_path: Path) -> None:
    make_all(tmp_path)
    list(train_pretrain(settings(tmp_path, steps=1, save_every=1)))
    out = tmp_path / "run"
    model: Any = load_step1(out / "model", dtype=torch.float32)
    sums, counts = [], []
    for kind in ("codes", "read", "write"):
        store = stored_rows(tmp_path / "cache", kind, BYTES, 64, out / "rows")  # type: ignore[arg-type]
        held = store.example(0)
        assert held.speaker == "s0"
        with torch.inference_mode():
            loss = float(model(**collate([[held]], aligned=True)).loss)
        assert logged(out, f"eval_{kind}_loss") == [pytest.approx(loss, abs=1e-3)]
        sums.append(loss * (len(held.ids) - 1))
        counts.append(len(held.ids) - 1)
    assert logged(out, "eval_loss") == [pytest.approx(sum(sums) / sum(counts), abs=1e-3)]
    list(train_pretrain(settings(tmp_path, out=tmp_path / "blind", dev_share=0.0, steps=4)))
    list(train_pretrain(settings(tmp_path, out=tmp_path / "seeing", save_every=2, steps=4)))
    assert logged(tmp_path / "blind", "loss") == logged(tmp_path / "seeing", "loss")


def test_sigterm_ends_a_run_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_all(tmp_path)
    list(train_pretrain(settings(tmp_path)))
    out = tmp_path / "stopped"

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "collate", asking_to_stop(stage.collate, 2))
        lines = list(train_pretrain(settings(tmp_path, out=out, dev_share=0.0)))
    assert "as asked" in lines[-1] and not (out / "model").exists()
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(list(out.glob("checkpoint-*"))) == 1
    list(train_pretrain(settings(tmp_path, out=out, dev_share=0.0)))
    assert logged(out, "loss") == logged(tmp_path / "run", "loss")


def test_the_result_goes_on_in_sft_and_in_pretrain(tmp_path: Path) -> None:
    make_all(tmp_path)
    list(train_pretrain(settings(tmp_path, steps=2, dev_share=0.0)))
    make_pairs(tmp_path / "pairs", [Hiss(amount="much")] * 3)
    fields = settings(tmp_path, model=tmp_path / "run" / "model", steps=2, max_tokens=2000)
    given = fields.model_dump(exclude={"data", "dev_rows"})
    pairs = [{"path": tmp_path / "pairs"}]
    tuned = given | {"out": tmp_path / "tuned", "data": pairs}
    list(train_sft(SftSettings.model_validate(tuned)))
    load_step1(tmp_path / "tuned" / "model")
    more = settings(tmp_path, model=tmp_path / "run" / "model", out=tmp_path / "more", steps=1)
    assert list(train_pretrain(more))[-1].startswith("1 step,")
    with pytest.raises(StepeditError, match="overwrite"):
        list(train_pretrain(settings(tmp_path, model=tmp_path / "run" / "model")))


def test_wrong_input_is_said_in_one_line(tmp_path: Path) -> None:
    make_all(tmp_path)
    make_speech(tmp_path / "mute", ["words"], with_codes=False)
    (tmp_path / "empty.txt").write_text("  \n")
    (tmp_path / "bad.jsonl").write_text('{"text": "good"}\n{"words": 1}\n')
    (tmp_path / "bad.txt").write_bytes(b"\xff\xff")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    pq.write_table(pa.table({"words": ["x"]}), tmp_path / "other.parquet")
    (tmp_path / "none").mkdir()
    for name, kind, why in (
        ("absent", "text", "no such file"), ("absent", "codes", "no such file"),
        ("mute", "codes", "audio, codes"), ("texts", "read", "no block"),
        ("empty.txt", "text", "no row is left.*1: no text"), ("none", "text", "no .txt"),
        ("bad.jsonl", "text", "line 2: has no 'text'"), ("bad.txt", "text", "not UTF-8"),
        ("bad.parquet", "text", "Parquet"), ("other.parquet", "text", "no column 'text'"),
    ):  # fmt: skip
        data = [{"path": tmp_path / name, "kind": kind}]
        with pytest.raises(StepeditError, match=why) as caught:
            list(train_pretrain(settings(tmp_path, data=data)))
        assert "\n" not in str(caught.value)


def test_codes_of_two_tokenizers_are_not_mixed(tmp_path: Path) -> None:
    make_all(tmp_path)
    make_speech(tmp_path / "second", ["held", "words"])
    for name in ("cache", "second"):
        (tmp_path / name / "codes.json").write_text(json.dumps({"tokenizer": name}))
    data = [{"path": tmp_path / name, "kind": "codes"} for name in ("cache", "second")]
    with pytest.raises(StepeditError, match="different tokenizers"):
        list(train_pretrain(settings(tmp_path, data=data)))


def test_settings_file(tmp_path: Path) -> None:
    make_all(tmp_path)
    file = tmp_path / "pretrain.toml"
    text = (
        'model = "base"\nout = "run"\nsteps = 1\ntokens = 100\nmax_tokens = 64\ndevice = "cpu"\n'
        'tensorboard = false\n[[data]]\npath = "cache"\nkind = "{}"\n'
    )
    file.write_text(text.format("read"))
    assert list(run_stage("pretrain", file))[-1].startswith("1 step,")
    file.write_text(text.format("sing"))
    with pytest.raises(StepeditError, match="kind") as caught:
        list(run_stage("pretrain", file))
    assert "\n" not in str(caught.value)
    for name in ("pretrain.toml", "pretrain-small.toml"):
        assert load_settings(PretrainSettings, CONFIGS / name).data
