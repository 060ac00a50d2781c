"""A language model from random weights: its phrases, its priors, and that it copies at once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from stepedit_train.lm.base import BaseSettings, make_base
from stepedit_train.lm.callbacks import generation_figures
from stepedit_train.lm.replay import ReplaySettings
from stepedit_train.lm.rows import Example
from stepedit_train.lm.sft import SftSettings, train_sft
from stepedit_train.lm.store import save_examples
from stepedit_train.lm.vocabulary import TURN_HEADS, constant_pieces, example_edits, prompt_phrases
from stepedit_train.settings import load_settings

from stepedit_core.edit import Edit
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.models.lm.chat import preferred_encoding
from stepedit_core.models.lm.framing import aligned_prompt
from stepedit_core.models.lm.step1 import DEFAULT_ALIGNMENT, load_step1
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.registry.registry import get_registry
from stepedit_core.testing import speech_like
from tests.train.making import codes

SMALL = {"hidden_size": 32, "layers": 2, "intermediate_size": 48, "max_seq_len": 2048}


def base(folder: Path, **changes: object) -> Path:
    list(make_base(BaseSettings.model_validate({"out": folder, **SMALL, **changes})))
    return folder


def spoken_prompts() -> list[tuple[Edit, str]]:
    """An edit of every class that a prompt can be guessed for."""
    found = []
    for name, info in get_registry().edits().items():
        examples = () if info.edit_class.keeps_codes else example_edits(info.edit_class)
        edits = [edit for edit in examples if not edit.route_problem("llm")]
        found += [(edit, name) for edit in edits[:2]]
    return found


def test_prompts_of_all_edits_shrink_to_their_own_words() -> None:
    phrases = prompt_phrases(get_registry(), "r2")
    tokenizer = ByteTokenizer(phrases=phrases)
    said = "It rained all day, and nobody came."
    speech = speech_like(0.5, 8000, seed=1).replace(transcript=said)
    edits = spoken_prompts()
    assert {"speed", "denoise", "trim_silence", "emotion", "style", "clone"} <= {
        n for _, n in edits
    }
    for edit, name in edits:
        request = GenerateRequest(edit.prompt(speech), codes(1), speech)
        ids = aligned_prompt(request, tokenizer, "r2").ids
        plain = aligned_prompt(request, ByteTokenizer(), "r2").ids
        assert tokenizer.decode(ids) == ByteTokenizer().decode(plain)
        words = len(said) + len(edit.transcript_after(speech) or said)
        assert len(ids) < 15 + 15 + words, name
    assert tokenizer.encode(said) == ByteTokenizer().encode(said)
    assert set(TURN_HEADS["r2"]) <= set(phrases)


def test_a_new_label_costs_its_own_letters_alone() -> None:
    tokenizer = ByteTokenizer(phrases=prompt_phrases(get_registry(), "r2"))
    known = tokenizer.encode(
        "Make the following audio more happy. The text corresponding to the audio is: Hm"
    )
    new = tokenizer.encode(
        "Make the following audio more jolly. The text corresponding to the audio is: Hm"
    )
    assert len(known) == 1 + 2
    assert len(new) == 1 + len("jolly") + 1 + 2


def test_constant_pieces_hold_no_word_of_a_user() -> None:
    for edit, _ in spoken_prompts():
        for encoding in TURN_HEADS:
            pieces = constant_pieces(edit, encoding)
            assert pieces and not any("Zqx" in piece for piece in pieces)


def test_base_folder(tmp_path: Path) -> None:
    folder = base(tmp_path / "a")
    model, tokenizer = load_step1(folder), load_tokenizer(folder)
    assert preferred_encoding(folder) == "r2"
    assert model.config.vocab_size % 64 == 0
    assert model.config.vocab_size >= tokenizer.vocab_size + 64
    assert len(model.config.source_alignment) == 8
    assert torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)
    again = load_step1(base(tmp_path / "b"))
    other = load_step1(base(tmp_path / "c", seed=1))
    weights = [m.model.layers[1].mlp.up_proj.weight for m in (model, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    with pytest.raises(StepeditError, match="holds a model already"):
        base(tmp_path / "a")
    with pytest.raises(StepeditError, match="each of 4 heads"):
        base(tmp_path / "d", heads=4, groups=4)
    plain = load_step1(base(tmp_path / "e", heads=4, groups=2, alignment=[]))
    assert plain.config.source_alignment is None


def test_like_codes_begin_alike(tmp_path: Path) -> None:
    centres = np.random.default_rng(0).standard_normal((1024, 8)).astype(np.float32)
    centres[1::2] = centres[::2] + 0.01
    np.save(tmp_path / "codebook.npy", centres)
    model = load_step1(base(tmp_path / "base", codebook=tmp_path / "codebook.npy", hidden_size=64))
    table = torch.nn.functional.normalize(model.model.embed_tokens.weight[324 : 324 + 5120], dim=-1)
    twins = (table[:1024:2] * table[1:1024:2]).sum(-1).mean()
    strangers = (table[:512] * table[512:1024]).sum(-1).mean()
    assert twins > strangers + 0.3
    semantic = table[1024:]
    near = (semantic[:-1:8] * semantic[1::8]).sum(-1).mean()  # one digit, one level apart
    far = (semantic[:2048] * semantic[2048:]).sum(-1).mean()
    assert near > far + 0.1
    np.save(tmp_path / "codebook.npy", centres[:9])  # of a tokenizer with fewer clusters
    base(tmp_path / "fewer", codebook=tmp_path / "codebook.npy")
    np.save(tmp_path / "codebook.npy", np.concatenate([centres, centres]))
    with pytest.raises(StepeditError, match=r"shape \(2048, 8\)"):
        base(tmp_path / "other", codebook=tmp_path / "codebook.npy")


@pytest.mark.slow
def test_copying_is_learned_within_some_steps(tmp_path: Path) -> None:
    folder = base(tmp_path / "base", hidden_size=64, intermediate_size=96)
    tokenizer = load_tokenizer(folder)
    edit = get_registry().edit_class("denoise")()
    examples = []
    for number in range(80):
        speech = speech_like(0.5, 8000, seed=1).replace(transcript="words")
        known = codes(number % 20, groups=8)
        made = aligned_prompt(GenerateRequest(edit.prompt(speech), known, speech), tokenizer, "r2")
        answer = [*tokenizer.audio_ids(known.interleave().tolist()), tokenizer.eot_id]
        ids = [*made.ids, *answer]
        examples.append(
            Example(str(number), "denoise", f"s{number}", ids, len(made.ids), made.alignment)
        )
    save_examples(tmp_path / "rows.npz", examples, Counter())
    settings = SftSettings.model_validate(
        {
            "model": folder, "out": tmp_path / "run", "data": [{"path": tmp_path / "rows.npz"}],
            "steps": 60, "tokens": 700, "learning_rate": 3e-3, "dev_share": 0.0, "device": "cpu",
            "gradient_checkpointing": False, "tensorboard": False, "beta2": 0.98,
        }
    )  # fmt: skip
    list(train_sft(settings))
    model = load_step1(tmp_path / "run" / "model", dtype=torch.float32)
    figures = generation_figures(model, examples[:8], TokenLayout.of(tokenizer))
    assert figures["denoise_linguistic"] > 0.8 and figures["denoise_semantic"] > 0.8
    assert figures["denoise_length"] < 0.1
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["source_alignment"]


def test_the_shipped_configs_are_valid() -> None:
    configs = Path(__file__).parents[3] / "training" / "configs" / "embedded"
    made = load_settings(BaseSettings, configs / "llm-base.toml")
    assert [head.setting for head in made.alignment] == list(DEFAULT_ALIGNMENT)
    assert load_settings(SftSettings, configs / "sft.toml").noise.is_on
    load_settings(ReplaySettings, configs / "replay.toml")
