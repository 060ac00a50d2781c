from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from stepedit_core.models.lm.step1 import Step1Config, Step1ForCausalLM, alibi
from stepedit_core.models.lm.step1.alibi import alibi_slopes
from stepedit_core.models.lm.step1.cache import StaticKV
from stepedit_core.models.lm.step1.layers import Step1RMSNorm
from stepedit_core.models.lm.step1.network import fuse_projections
from tests.models.tiny_step1 import golden_model, prompts, tiny_config, tiny_model
from tests.shared_data import need_shared


@pytest.fixture
def whole_transformers() -> None:
    """Parts of transformers import torchaudio: repair it where its binary part cannot load."""
    importlib.import_module("stepedit_core.models.checkpoint.torchaudio_compat")


def reference_logits(model: Step1ForCausalLM, ids: list[int]) -> torch.Tensor:
    """The architecture from its description, in float64, one query row and head at a time."""
    w = {name: p.detach().double() for name, p in model.named_parameters()}
    c = model.config

    def norm(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + c.rms_norm_eps).sqrt() * gain

    x = w["model.embed_tokens.weight"][ids]
    size = c.hidden_size // c.num_attention_heads
    slopes = alibi_slopes(c.num_attention_heads).double()
    for layer in range(c.num_hidden_layers):
        p = f"model.layers.{layer}."
        h = norm(x, w[p + "input_layernorm.weight"])
        q, k, v = (h @ w[p + f"self_attn.{n}_proj.weight"].T for n in "qkv")
        rows = []
        for i in range(len(ids)):
            heads = []
            for head in range(c.num_attention_heads):
                group = head // (c.num_attention_heads // c.num_attention_groups)
                own = slice(head * size, (head + 1) * size)
                shared = slice(group * size, (group + 1) * size)
                distance = torch.arange(i, -1, -1).double()
                score = k[: i + 1, shared] @ q[i, own] / math.sqrt(size)
                score = score - slopes[head] * distance.sqrt()
                heads.append(score.softmax(0) @ v[: i + 1, shared])
            rows.append(torch.cat(heads))
        x = x + torch.stack(rows) @ w[p + "self_attn.o_proj.weight"].T
        h = norm(x, w[p + "post_attention_layernorm.weight"])
        gate = torch.nn.functional.silu(h @ w[p + "mlp.gate_proj.weight"].T)
        x = x + (gate * (h @ w[p + "mlp.up_proj.weight"].T)) @ w[p + "mlp.down_proj.weight"].T
    return norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T


def test_slopes_follow_the_alibi_rule_also_for_48_heads() -> None:
    assert torch.allclose(alibi_slopes(8), torch.tensor([2.0**-k for k in range(1, 9)]))
    slopes = alibi_slopes(48)
    assert len(slopes) == 48
    assert slopes[0].item() == pytest.approx(2**-0.25)
    assert slopes[31].item() == pytest.approx(2**-8)
    assert slopes[32].item() == pytest.approx(2**-0.125)
    assert slopes[47].item() == pytest.approx(2 ** (-31 / 8))


def test_logits_equal_an_independent_float64_computation() -> None:
    model, ids = tiny_model(), prompts(2)[1]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    expected = reference_logits(model, ids)
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()


def test_blocks_of_rows_equal_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = tiny_model(), torch.tensor([prompts(3)[2]])
    with torch.no_grad():
        whole = model(ids).logits
        monkeypatch.setattr(alibi, "_BLOCK_ELEMENTS", 6 * ids.shape[1] * 4)
        blocks = model(ids).logits
    torch.testing.assert_close(blocks, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(side: str) -> None:
    model, rows = tiny_model(), prompts(3)
    longest = max(map(len, rows))
    ids, mask = torch.zeros(3, longest, dtype=torch.long), torch.zeros(3, longest)
    for index, row in enumerate(rows):
        at = slice(longest - len(row), None) if side == "left" else slice(len(row))
        ids[index, at], mask[index, at] = torch.tensor(row), 1
    with torch.no_grad():
        batch = model(ids, attention_mask=mask.long()).logits
        for index, row in enumerate(rows):
            alone = model(torch.tensor([row])).logits[0]
            torch.testing.assert_close(
                batch[index][mask[index].bool()], alone, rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("cache", [None, "static"])
def test_transformers_generate_uses_the_cache_correctly(cache: str | None) -> None:
    model, row = tiny_model(), prompts(1)[0]
    ids = torch.tensor([row])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=12,
        cache_implementation=cache,
    )[0].tolist()
    with torch.no_grad():
        for length in range(len(row), len(out)):
            assert model(torch.tensor([out[:length]])).logits[0, -1].argmax() == out[length]


@pytest.mark.parametrize("name", ["past_key_values", "cache"])
def test_the_cache_is_taken_under_its_old_and_its_new_name(name: str) -> None:
    model, ids = tiny_model(), torch.tensor([prompts(1)[0]])
    whole = model(ids).logits[0, -1]
    first = model(ids[:, :-1], use_cache=True)
    last = model(ids[:, -1:], use_cache=True, **{name: first.past_key_values})
    torch.testing.assert_close(last.logits[0, -1], whole, rtol=1e-4, atol=1e-4)
    assert last.past_key_values.get_seq_length() == ids.shape[1]


@pytest.mark.parametrize("part", ["whole", "inner"])
def test_two_caches_are_refused(part: str) -> None:
    model, ids = tiny_model(), torch.tensor([prompts(1)[0]])
    held = model(ids, use_cache=True).past_key_values
    asked = model if part == "whole" else model.model
    with pytest.raises(ValueError, match="give the cache once"):
        asked(ids, past_key_values=held, cache=held)


def test_save_and_load_keep_the_untied_head(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["num_attention_groups"] == 2
    config.pop("tie_word_embeddings", None)  # as in the public config
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(again) is Step1ForCausalLM
    assert type(AutoConfig.from_pretrained(tmp_path)) is Step1Config
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert not torch.equal(again.lm_head.weight, again.model.embed_tokens.weight)
    assert len(model.state_dict()) == 3 + 9 * 3


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="num_attention_heads"):
        tiny_config(num_attention_heads=5)
    with pytest.raises(ValueError, match="num_attention_groups"):
        tiny_config(num_attention_groups=4)


@pytest.mark.usefixtures("whole_transformers")
def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    ids = torch.tensor([prompts(1)[0]])
    grads = []
    for checkpointing in (False, True):
        model = tiny_model().train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        loss = model(ids, labels=ids).loss
        loss.backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for plain, checkpointed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, checkpointed, rtol=1e-4, atol=1e-6)
    assert all(grad.abs().sum() > 0 for grad in grads[0])


def test_loss_is_the_shifted_cross_entropy_of_kept_labels() -> None:
    model, ids = tiny_model(), torch.tensor([prompts(1)[0]])
    labels = ids.clone()
    labels[:, :4] = -100
    with torch.no_grad():
        out = model(ids, labels=labels)
    expected = torch.nn.functional.cross_entropy(out.logits[0, 3:-1], ids[0, 4:])
    torch.testing.assert_close(out.loss, expected)


@pytest.mark.usefixtures("whole_transformers")
def test_trainer_lowers_the_loss(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    model = tiny_model().train()
    ids = torch.tensor(prompts(1)[0])
    rows = [{"input_ids": ids, "labels": ids}] * 4
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert losses[1] < losses[0]


@pytest.mark.parametrize("which", ["tiny_a", "tiny_b"])
def test_logits_and_hidden_states_equal_the_public_ones(which: str) -> None:
    folder = need_shared("checkpoints", which)
    golden = np.load(folder / "goldens" / "01_llm_logits.npz")
    model = golden_model(folder)
    with torch.no_grad():
        out = model(torch.from_numpy(golden["ids"])[None], output_hidden_states=True)
    logits = out.logits[0].numpy()
    assert np.abs(logits[:, golden["columns"]] - golden["logits_columns"]).max() < 1e-3
    assert np.abs(logits[-1] - golden["logits_last"]).max() < 1e-3
    assert np.array_equal(logits.argmax(-1), golden["argmax"])
    assert len(out.hidden_states) == len(golden["hidden_states"])
    for ours, theirs in zip(out.hidden_states, golden["hidden_states"], strict=True):
        assert np.abs(ours[0].numpy() - theirs).max() < 1e-3


@pytest.mark.parametrize("shape", [(1, 1, 256), (3, 7, 24), (16, 1, 688), (2, 300, 256)])
def test_the_norm_in_one_call_is_that_of_its_steps(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(len(shape) + shape[-1])
    norm = Step1RMSNorm(shape[-1], 1e-5)
    with torch.no_grad():
        norm.weight.normal_(generator=generator)
    x = torch.randn(shape, generator=generator)
    factor = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)
    with torch.no_grad():
        assert torch.equal(norm(x), x * factor * norm.weight)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("last", [1, 3])
@torch.inference_mode()
def test_the_last_layer_can_be_asked_for_its_last_rows_alone(fused: bool, last: int) -> None:
    model = tiny_model()
    if fused:
        fuse_projections(model)
    ids = torch.tensor([prompts()[2], list(reversed(prompts()[2]))])
    sizes = model.config.num_hidden_layers, 2, model.config.num_attention_groups, ids.shape[1]
    whole, part = (
        StaticKV(*sizes, model.config.head_dim, dtype=torch.float32, device=ids.device)
        for _ in range(2)
    )
    bias = model.model.bias(ids.shape[1], 0)
    hidden = model.model.run(ids, bias, whole)
    few = model.model.run(ids, bias, part, last)
    torch.testing.assert_close(few, hidden[:, ids.shape[1] - last :], rtol=1e-5, atol=1e-5)
    for own, other in zip(whole.keys + whole.values, part.keys + part.values, strict=True):
        torch.testing.assert_close(other, own, rtol=1e-6, atol=1e-6)
