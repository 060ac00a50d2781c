"""Check and time the language model and the decoder on a device, and write a table.

    python -m tests.gpu.device_check --device cuda --out device.md

takes under five minutes on a GPU and needs no download: weights are random. On a CPU (``--device
cpu``) it leaves out what graphs and kernels are about. Exit status 1 if a check fails.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from stepedit_bench.speed.sizes import SIZES, Sizes, build_decoder, build_model

from stepedit_core.models.decoder.decoder import Reference
from stepedit_core.models.lm.constraints import grammar
from stepedit_core.models.lm.generation import generate
from stepedit_core.models.lm.kept_graphs import release_graphs
from stepedit_core.models.lm.sampling import GREEDY
from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM
from stepedit_core.models.lm.step1.network import fuse_projections
from stepedit_core.models.lm.token_layout import TokenLayout

GROUPS = 20
BASE = 324


@dataclass(frozen=True)
class Row:
    """One line of the table: what, the value, and whether it is as it must be."""

    what: str
    value: str
    passed: bool | None = None


def prompts(count: int, length: int = 300) -> list[list[int]]:
    generator = torch.Generator().manual_seed(count)
    return (BASE + torch.randint(0, 1024, (count, length), generator=generator)).tolist()


def answers(model: Step1ForCausalLM, given: Sequence[list[int]], graphs: bool) -> list[list[int]]:
    items = generate(
        model,
        list(given),
        layout=TokenLayout(audio_base=BASE),
        sampling=GREEDY,
        constraints=[grammar(GROUPS, GROUPS)] * len(given),
        graphs=graphs,
    )
    return [item.ids for item in items]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(work: Callable[[], object], device: torch.device, runs: int = 3) -> float:
    work()
    taken = []
    for _ in range(runs):
        wait(device)
        begin = time.perf_counter()
        work()
        wait(device)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def agreement(one: Sequence[list[int]], other: Sequence[list[int]]) -> float:
    """Return the share of ids before the first that differs, over all answers."""
    total = sum(map(len, one))
    same = 0
    for a, b in zip(one, other, strict=True):
        same += next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))
    return same / total


def check_answers(sizes: Sizes, device: torch.device) -> list[Row]:
    """Greedy answers on the device, by steps and by graphs, against the CPU's."""
    given = [*prompts(2), *prompts(1) * 3]
    expected = answers(build_model(sizes, torch.device("cpu"), torch.float32), given, False)
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        model = build_model(sizes, torch.device("cpu"), torch.float32).to(device, dtype)
        fuse_projections(model)
        name = str(dtype).removeprefix("torch.")
        eager = answers(model, given, False)
        share = agreement(expected, eager)
        exact = dtype == torch.float32
        passed = share == 1.0 if exact else None
        rows.append(Row(f"{name}: greedy ids as on the CPU", f"{share:.1%}", passed))
        if device.type == "cuda":
            for time_of in ("first", "second"):
                same = answers(model, given, True) == eager
                rows.append(Row(f"{name}: graphs give what steps give, {time_of} call", "", same))
            release_graphs(model)
    return rows


def check_threads(sizes: Sizes, device: torch.device) -> list[Row]:
    """Capture graphs while another thread allocates on the device."""
    model = build_model(sizes, device, torch.float32)
    over = threading.Event()

    def disturb() -> None:
        while not over.is_set():
            torch.randn(512, 512, device=device).sum().item()

    other = threading.Thread(target=disturb)
    other.start()
    try:
        eager = answers(model, prompts(2), False)
        same = answers(model, prompts(2), True) == eager
    finally:
        over.set()
        other.join()
        release_graphs(model)
    return [Row("graphs are captured while another thread uses the device", "", same)]


def check_batch_sizes(sizes: Sizes, device: torch.device) -> list[Row]:
    """Two batch sizes in turn: the graphs of both are kept."""
    model = build_model(sizes, device, torch.float32)
    for count in (1, 4):
        answers(model, prompts(count), True)
    took = []
    for count in (1, 4, 1, 4):
        wait(device)
        begin = time.perf_counter()
        answers(model, prompts(count), True)
        wait(device)
        took.append(time.perf_counter() - begin)
    release_graphs(model)
    return [Row("batch sizes in turn, ms", ", ".join(f"{1000 * one:.0f}" for one in took))]


def kernels_per_step(model: Step1ForCausalLM, device: torch.device) -> int:
    from torch.profiler import ProfilerActivity, profile

    counts = []
    for groups in (4, 8):
        constraint = [grammar(groups, groups)]
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            generate(
                model,
                prompts(1),
                layout=TokenLayout(audio_base=BASE),
                sampling=GREEDY,
                constraints=constraint,
                graphs=False,
            )
            wait(device)
        counts.append(sum(1 for event in seen.events() if event.device_type.name == "CUDA"))
    return (counts[1] - counts[0]) // 20


def measure(sizes: Sizes, device: torch.device) -> list[Row]:
    """Milliseconds of a step by batch, with prompts of their own and with a common one."""
    rows = []
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = build_model(sizes, device, dtype)
    fuse_projections(model)
    if device.type == "cuda":
        rows.append(Row("kernels per step, without graphs", str(kernels_per_step(model, device))))
    for graphs in (False, True) if device.type == "cuda" else (False,):
        for name, given in (
            ("one item", prompts(1)),
            ("16 prompts", prompts(16)),
            ("16 answers to one prompt", prompts(1) * 16),
        ):
            took = median_seconds(lambda g=given, b=graphs: answers(model, g, b), device)  # type: ignore[misc]
            kind = "graphs" if graphs else "steps"
            value = f"{1000 * took / (5 * GROUPS):.2f} ms a step with prefill"
            rows.append(Row(f"{name}, {kind}", value))
    release_graphs(model)
    return rows


def check_decoder(sizes: Sizes, device: torch.device) -> list[Row]:
    """Flow and vocoder against the CPU's; the flow in float32."""
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(150, 80, generator=generator).numpy()
    speaker = torch.randn(192, generator=generator).numpy()
    codes = torch.tensor(
        [[*range(one, one + 2), *range(2000 + one, 2003 + one)] for one in range(25)]
    )
    reference = Reference(codes.flatten().numpy(), mel, speaker)
    here, there = (build_decoder(sizes, torch.device(d), fold=True) for d in ("cpu", str(device)))
    expected = here.decode(codes.flatten().numpy(), reference, seed=1)
    given = there.decode(codes.flatten().numpy(), reference, seed=1)
    error = float(abs(given - expected).max())
    took = median_seconds(lambda: there.decode(codes.flatten().numpy(), reference, seed=1), device)
    return [
        Row("3 s decoded: largest difference to the CPU", f"{error:.1e}", error < 0.05),
        Row("3 s decoded, ms", f"{1000 * took:.0f}"),
    ]


def table(rows: Sequence[Row], device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    lines = [f"{name}, torch {torch.__version__}", "", "| what | value | passed |", "|---|---|---|"]
    marks = {True: "yes", False: "**no**", None: ""}
    lines += [f"| {row.what} | {row.value} | {marks[row.passed]} |" for row in rows]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    device, sizes = torch.device(options.device), SIZES[options.size]
    rows = check_answers(SIZES["small"], device)
    if device.type == "cuda":
        rows += check_threads(SIZES["small"], device) + check_batch_sizes(SIZES["small"], device)
        for index in range(1, torch.cuda.device_count()):  # the current device is another one
            other = check_answers(SIZES["small"], torch.device(f"cuda:{index}"))
            rows += [Row(f"cuda:{index}: {row.what}", row.value, row.passed) for row in other]
    rows += measure(sizes, device) + check_decoder(SIZES["small"], device)
    text = table(rows, device)
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    return int(any(row.passed is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
