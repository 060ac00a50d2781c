"""The flow stages: the objective, the task, going on, the export, and what is refused."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from stepedit_train.checkpoints import latest_checkpoint, read_checkpoint
from stepedit_train.decoder.examples import Parts
from stepedit_train.decoder.export import FlowExportSettings, export_flow
from stepedit_train.decoder.flow.objective import draw_batch, flow_errors, on_path
from stepedit_train.decoder.flow.sizes import FlowSizes
from stepedit_train.decoder.flow.stage import FlowSettings, FlowTask, train_flow
from stepedit_train.decoder.pretrained import take_weights
from stepedit_train.decoder.store import MelStore
from stepedit_train.journal import read_journal
from stepedit_train.precision import arithmetic
from stepedit_train.settings import check_settings
from torch import Tensor, nn

from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.hyperyaml import build, read_hyperyaml
from stepedit_core.models.checkpoint.weights import without_weights
from stepedit_core.models.decoder.checkpoint import BUILDERS
from stepedit_core.models.decoder.decoder import Decoder
from stepedit_core.models.decoder.flow import (
    CausalConditionalCFM,
    CausalMaskedDiffWithXvec,
    FlowInput,
    FlowNoise,
)
from stepedit_core.models.decoder.flow.matching import cosine_times, euler_steps
from tests.models.decoder_parts import HIFT_YAML, randomise, tiny_hift, write_checkpoint
from tests.train.decoder.test_mel import make_store

SIZES: dict[str, Any] = {
    "input_size": 16,
    "spk_embed_dim": 6,
    "encoder": {
        "output_size": 24,
        "num_blocks": 1,
        "num_up_blocks": 1,
        "attention_heads": 2,
        "linear_units": 32,
    },
    "estimator": {"hidden_size": 24, "depth": 2, "num_heads": 2, "head_dim": 12, "mlp_ratio": 2},
}


def settings(folder: Path, **changes: object) -> FlowSettings:
    fields: dict[str, object] = {
        "data": folder / "store",
        "out": folder / "run",
        "steps": 8,
        "budget": 6.0,
        "learning_rate": 2e-3,
        "warmup": 3,
        "log_every": 1,
        "validate_every": 8,
        "checkpoint_minutes": 0,
        "tensorboard": False,
        "dev_items": 1,
        "dev_steps": 2,
        "sizes": SIZES,
    }
    return check_settings(FlowSettings, fields | changes, "test")


def parts(rows: int, prompt: int, seed: int = 0) -> Parts:
    """Return an example of random codes and mels."""
    rng = np.random.default_rng(seed)

    def said(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.stack([rng.integers(0, 1024, count), rng.integers(1025, 5121, count)], axis=1)

    def mel(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return rng.normal(-5, 2, (2 * count, 80)).astype(np.float32)

    voice = rng.standard_normal(6).astype(np.float32)
    nowhere, none = np.full(rows, np.nan, np.float32), np.zeros(rows, np.int64)
    return Parts(said(rows), mel(rows), said(prompt), mel(prompt), voice, nowhere, none, said(rows))


def network(seed: int = 1, **changes: object) -> CausalMaskedDiffWithXvec:
    """Return a network whose estimator is not that of the beginning, which says zero."""
    flow = FlowSizes.model_validate(SIZES | changes).build()
    randomise(flow, seed)
    return flow.eval()


def generated(flow: CausalMaskedDiffWithXvec, one: Parts, n_steps: int = 4) -> Tensor:
    arrays = (one.prompt, one.rows, one.prompt_mel, one.voice)
    given = FlowInput(*map(torch.from_numpy, arrays), FlowNoise(3))
    return flow.generate([given], n_steps)[0]


class Known(nn.Module):
    """An estimator that knows the velocity, and remembers where it was asked."""

    def __init__(self, velocity: Tensor) -> None:
        super().__init__()
        self.in_proj = nn.Linear(1, 1)
        self.velocity = velocity
        self.asked: list[tuple[float, Tensor]] = []

    def forward(self, x: Tensor, mu: Tensor, t: Tensor, *others: object) -> Tensor:
        self.asked.append((float(t[0]), x[: len(self.velocity)]))
        return torch.cat([self.velocity, self.velocity])


# ---- objective --------------------------------------------------------------------------------


@pytest.mark.parametrize("from_mean", [False, True])
@pytest.mark.parametrize("n_steps", [1, 4, 10])
def test_the_solver_walks_the_paths_that_are_learned(from_mean: bool, n_steps: int) -> None:
    flow = network(start_from_mean=from_mean)
    generator = torch.Generator().manual_seed(0)
    mel, mu, noise = (torch.randn(2, 80, 12, generator=generator) for _ in range(3))
    start = flow.start(noise, mu)
    assert torch.equal(start, noise + mu if from_mean else noise)
    sigma = 1e-3
    times = torch.tensor([time for time, _ in euler_steps(n_steps)])
    states, velocity = on_path(mel[:1], start[:1], noise[:1], times, sigma)
    _, velocities = on_path(mel, start, noise, torch.zeros(2), sigma)
    assert torch.equal(velocity[0], velocities[0])
    estimator = Known(velocities)
    solver = CausalConditionalCFM(estimator)  # type: ignore[arg-type]
    made = solver(start, mu, torch.zeros(2, 80), torch.zeros_like(mu), n_steps)
    torch.testing.assert_close(made, mel + sigma * noise, atol=2e-5, rtol=0)
    assert [time for time, _ in estimator.asked] == times.tolist()
    for (_, visited), state in zip(estimator.asked, states, strict=True):
        torch.testing.assert_close(visited[0], state, atol=2e-5, rtol=0)


def test_times_are_drawn_as_densely_as_the_solver_steps() -> None:
    many = [parts(3, 3)] * 4000
    times = draw_batch(many, torch.Generator().manual_seed(0), 0.0).times
    schedule = [time for time, _ in euler_steps(4)]
    shares = [(times < edge).float().mean().item() for edge in schedule[1:]]
    assert shares == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
    assert cosine_times(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0, 1], abs=1e-6)


def test_the_estimator_is_asked_what_the_solver_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = network(start_from_mean=True)
    one = parts(6, 9)
    drawn = draw_batch([one, one], torch.Generator().manual_seed(0), 0.0)
    given = replace(drawn, times=torch.zeros(2), kept=torch.tensor([True, False]))
    noise = FlowNoise(3).columns(0, 30)
    asked: list[tuple[Any, ...]] = []
    estimate = flow.decoder.estimator.forward

    def remember(*arguments: Any) -> Tensor:
        asked.append(arguments)
        return estimate(*arguments)

    monkeypatch.setattr(flow.decoder.estimator, "forward", remember)
    with torch.no_grad():
        flow_errors(flow, replace(given, noise=noise.expand(2, -1, -1)), 0.0)
    generated(flow, one, n_steps=1)
    trained, used = asked  # state, encoder output, time, speaker, reference: with and without
    for index in (0, 1, 3, 4):
        torch.testing.assert_close(trained[index], used[index], atol=1e-5, rtol=1e-5)
    assert (trained[4][0, :, :18] == drawn.mel[0, :, :18]).all()
    assert not trained[4][:, :, 18:].any() and not trained[1][1].any() and not trained[3][1].any()


def test_padding_and_references_do_not_count() -> None:
    flow = network(start_from_mean=True)
    short, long = parts(6, 3), parts(9, 12, seed=1)
    generator = torch.Generator().manual_seed(0)
    both = draw_batch([short, long], generator, 0.0)
    alone = []
    for number, one in enumerate((short, long)):
        frames = 2 * (len(one.rows) + len(one.prompt))
        own = draw_batch([one], generator, 0.0)
        own = replace(
            own,
            noise=both.noise[number : number + 1, :, :frames],
            times=both.times[number : number + 1],
        )
        with torch.no_grad():
            alone.append(flow_errors(flow, own, 1e-6))
    with torch.no_grad():
        found = flow_errors(flow, both, 1e-6)
    for name, weights in (("flow", (12, 18)), ("mean", (12, 18)), ("prompt", (6, 24))):
        values = torch.stack([getattr(one, name) for one in alone])
        expected = float((values * torch.tensor(weights)).sum() / sum(weights))
        assert float(getattr(found, name)) == pytest.approx(expected, rel=1e-4)


def test_half_arithmetic_gives_nearly_the_same_errors() -> None:
    flow = network(start_from_mean=True)
    batch = draw_batch([parts(6, 3), parts(9, 12, seed=1)], torch.Generator().manual_seed(0), 0.0)
    with torch.no_grad():
        whole = flow_errors(flow, batch, 1e-6)
        with arithmetic("bfloat16", torch.device("cpu")):
            half = flow_errors(flow, batch, 1e-6)
    for name in ("flow", "mean", "prompt"):
        one, other = getattr(half, name), getattr(whole, name)
        assert one.dtype == torch.float32 and one != other
        assert float(one) == pytest.approx(float(other), rel=0.05)


def test_no_gradient_goes_through_the_start() -> None:
    flow = network(start_from_mean=True)
    drawn = draw_batch([parts(6, 3)], torch.Generator().manual_seed(0), 0.0)
    left_out = replace(drawn, kept=torch.tensor([False]))
    found = flow_errors(flow, left_out, 1e-6)
    assert found.mean is not None
    weight = flow.encoder_proj.weight
    (by_mean,) = torch.autograd.grad(found.mean, weight, retain_graph=True)
    (by_flow,) = torch.autograd.grad(found.flow, weight)
    assert by_mean.any() and not by_flow.any()
    (by_flow,) = torch.autograd.grad(flow_errors(flow, drawn, 1e-6).flow, weight)
    assert by_flow.any(), "it goes through the condition"


# ---- training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("from_mean", [False, True])
def test_the_flow_learns(tmp_path: Path, from_mean: bool) -> None:
    make_store(tmp_path / "store")
    chosen = settings(
        tmp_path,
        steps=80,
        learning_rate=5e-3,
        log_every=20,
        validate_every=80,
        budget=10.0,
        sizes=SIZES | {"start_from_mean": from_mean},
    )
    task = FlowTask(chosen, MelStore(tmp_path / "store"))
    with torch.inference_mode():
        before = task.validate()
    lines = list(train_flow(chosen))
    assert lines[0].startswith("18 examples, 6 to validate on")
    log = read_journal(tmp_path / "run")
    train = [entry for entry in log if entry["part"] == "train"]
    assert train[-1]["flow"] < 0.4 * train[0]["flow"]
    assert ("mean" in train[0]) == from_mean
    after = log[-1]
    for kind in ("self", "other", "speed"):
        assert after[f"mel/{kind}"] < 0.6 * before[f"mel/{kind}"]
        assert after[f"flow/{kind}"] < 0.4 * before[f"flow/{kind}"]


@pytest.mark.slow
def test_codes_decide_what_is_generated(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    encoder = SIZES["encoder"] | {"output_size": 32, "linear_units": 64, "dropout_rate": 0.0}
    estimator = SIZES["estimator"] | {"hidden_size": 32, "head_dim": 16}
    chosen = settings(
        tmp_path,
        steps=600,
        learning_rate=1.5e-3,
        warmup=20,
        validate_every=600,
        checkpoint_minutes=60,
        budget=12.0,
        disturb=0.0,
        gain_db=0.0,
        sizes={
            "input_size": 32,
            "spk_embed_dim": 6,
            "start_from_mean": True,
            "encoder": encoder,
            "estimator": estimator,
        },
    )
    list(train_flow(chosen))
    last = latest_checkpoint(chosen.out / "checkpoints")
    assert last is not None
    task = FlowTask(chosen, MelStore(tmp_path / "store"))
    task.model.load_state_dict(read_checkpoint(last)["model"])
    task.model.eval()
    for example in task.examples[:3]:
        one = task.maker.make(example, np.random.default_rng(0), disturbed=False)
        other = replace(one, rows=one.rows[::-1].copy())
        wanted = torch.from_numpy(one.mel).T
        own, others = ((generated(task.model, x) - wanted).abs().mean() for x in (one, other))
        level = (wanted - wanted.mean(1, keepdim=True)).abs().mean()
        assert own < 0.7 * level < level < others


def test_batches_come_from_the_step_alone(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    task = FlowTask(settings(tmp_path), MelStore(tmp_path / "store"))
    one, two, other = (task.batch([0, 5, 9], step) for step in (3, 3, 4))
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in vars(one))
    assert one.noise.shape != other.noise.shape or not torch.equal(one.noise, other.noise)
    assert not torch.equal(one.times, other.times)


def test_killed_run(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    chosen = settings(tmp_path, prompt_weight=0.1)
    list(train_flow(chosen))
    folder = tmp_path / "run" / "checkpoints"
    losses = [entry.get("loss") for entry in read_journal(tmp_path / "run")]
    last = latest_checkpoint(folder)
    assert last is not None
    whole = read_checkpoint(last)["model"]
    last.unlink()  # as if it had been killed before the last step
    assert list(train_flow(chosen))[-1].startswith("8 of 8 steps")
    assert [entry.get("loss") for entry in read_journal(tmp_path / "run")] == losses
    again = read_checkpoint(last)["model"]
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_training_goes_on_after_long_generating() -> None:
    flow = network()
    with torch.inference_mode():
        flow.encoder.positions(2000, 2000, flow.encoder_proj.weight)
    drawn = draw_batch([parts(6, 3)], torch.Generator().manual_seed(0), 0.0)
    flow_errors(flow, drawn, 1e-6).flow.backward()


# ---- weights and export -----------------------------------------------------------------------


def write_vocoder(folder: Path) -> Path:
    """Write a decoder folder without a flow that could be read."""
    folder.mkdir()
    (folder / "cosyvoice.yaml").write_text(f"flow: none\n{HIFT_YAML}")
    torch.save(tiny_hift().state_dict(), folder / "hift.pt")
    (folder / "FLOW_VERSION").write_text("1")
    return folder


def test_the_exported_folder_gives_the_same_mel(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    sizes = SIZES | {"start_from_mean": True}
    chosen = settings(tmp_path, steps=3, learning_rate=0.05, sizes=sizes)
    list(train_flow(chosen))
    last = latest_checkpoint(chosen.out / "checkpoints")
    assert last is not None
    flow = chosen.sizes.build().eval()
    flow.load_state_dict(read_checkpoint(last)["model"])
    one, vocoder = parts(6, 9), write_vocoder(tmp_path / "vocoder")
    wanted = generated(flow, one)
    for half, dtype, near in ((False, torch.float32, 1e-5), (True, torch.float16, 0.02)):
        out = tmp_path / f"out-{half}"
        export = FlowExportSettings(run=chosen.out, out=out, half=half, decoder=vocoder)
        (line,) = export_flow(export)
        assert "step 3" in line and (out / "FLOW_VERSION").read_text() == "1"
        assert load_file(out / "flow.safetensors")["encoder_proj.weight"].dtype == dtype
        read = Decoder.load(out).flow
        assert isinstance(read, CausalMaskedDiffWithXvec)
        assert read.start_from_mean and read.aligned_reference
        torch.testing.assert_close(generated(read, one), wanted, atol=near, rtol=0)


def test_the_entry_for_assemble_is_what_was_trained(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    chosen = settings(tmp_path, steps=1, sizes=SIZES | {"aligned_reference": False})
    list(train_flow(chosen))
    out = tmp_path / "out"
    list(export_flow(FlowExportSettings(run=chosen.out, out=out, inference_cfg_rate=0.3)))
    entry = read_hyperyaml(out / "flow.yaml")
    # The public code knows nothing of these; they are written only where they are on.
    assert not {"start_from_mean", "aligned_reference"} & set(entry["flow"].arguments)
    flow = build(entry, BUILDERS)["flow"]
    assert flow.decoder.guidance == 0.3 and not flow.start_from_mean
    with pytest.raises(StepeditError, match="two folders"):
        list(export_flow(FlowExportSettings(run=chosen.out, out=out, decoder=out)))
    with pytest.raises(StepeditError, match="no checkpoint yet; run `stepedit train flow`"):
        list(export_flow(FlowExportSettings(run=tmp_path, out=out)))


PUBLIC = {
    "input_size": 12,
    "spk_embed_dim": 12,
    "encoder": {
        "output_size": 24,
        "num_blocks": 2,
        "num_up_blocks": 1,
        "attention_heads": 3,
        "linear_units": 20,
    },
    "estimator": {"hidden_size": 20, "depth": 2, "num_heads": 3, "head_dim": 6, "mlp_ratio": 2},
}
"""Sizes of the checkpoint that `write_checkpoint` writes in the public layout."""


def test_initial_weights(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    voices = {name: np.ones((1, 12), np.float32) for name in "ab"}
    save_file(voices, tmp_path / "store" / "speakers.safetensors")
    public = tmp_path / "public"
    decoder = write_checkpoint(public)
    chosen = settings(tmp_path, sizes=PUBLIC, weights=public, steps=1, learning_rate=1e-9)
    list(train_flow(chosen))
    last = latest_checkpoint(chosen.out / "checkpoints")
    assert last is not None
    trained = read_checkpoint(last)["model"]
    assert trained.keys() == decoder.flow.state_dict().keys()
    for name, tensor in decoder.flow.state_dict().items():
        torch.testing.assert_close(trained[name], tensor, atol=1e-6, rtol=0)
    # The folder is not needed any more.
    shutil.rmtree(public)
    assert list(train_flow(chosen))[-1].startswith("1 of 1 step ")


def test_the_defaults_are_the_public_sizes() -> None:
    with without_weights():
        flow = FlowSizes().build()
    state = flow.state_dict()
    assert len(state) == 605
    assert 4 * sum(tensor.numel() for tensor in state.values()) == 615_016_384


# ---- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"drop": 1.5}, "drop: Input should be less than 1"),
        ({"sigma_min": -1}, "sigma_min"),
        ({"sizes": {"encoder": {"output_size": 30}}}, "not a multiple of attention_heads 8"),
        ({"sizes": {"vocab_size": 5000}}, "sizes.vocab_size"),
        ({"sizes": {"depth": 3}}, "no parameter 'sizes.depth'"),
        ({"start": "a", "weights": "b"}, "start and weights both say"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(StepeditError, match=re.escape(said)) as caught:
        settings(tmp_path, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spk_embed_dim": 192}, "speaker vectors have 6 numbers, not 192"),
        ({"output_size": 100}, "mels have 80 bins, not 100"),
    ],
)
def test_a_store_of_other_sizes_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    make_store(tmp_path / "store")
    with pytest.raises(StepeditError, match=said):
        list(train_flow(settings(tmp_path, sizes=SIZES | changes)))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    wider = FlowSizes.model_validate(PUBLIC | {"input_size": 14})
    with pytest.raises(StepeditError, match=r"other sizes than `sizes` says: .*\(.*12.*\), not"):
        take_weights(tmp_path, wider.build())
    deeper = FlowSizes.model_validate(PUBLIC | {"estimator": {"depth": 3}})
    with pytest.raises(StepeditError, match="other sizes or layers"):
        take_weights(tmp_path, deeper.build())
    with pytest.raises(StepeditError, match=r"neither cosyvoice\.yaml nor"):
        take_weights(tmp_path / "nowhere", wider.build())
