"""``stepedit bench engine``, ``stepedit bench memory`` and ``stepedit bench recording``."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepedit_bench.store import write_text
from stepedit_core.errors import counted

if TYPE_CHECKING:
    from stepedit_bench.speed.timing import Measurement, Settings

__all__ = ["engine", "memory", "recording"]


@click.command("engine", short_help="Time every stage of the engine against the plain way.")
@click.option(
    "--size",
    type=click.Choice(["full", "small"]),
    default="small",
    show_default=True,
    help="full: the published sizes (14 GB in float32); small: what a laptop runs.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="Arithmetic of the language model.",
)
@click.option("--seconds", default=10.0, show_default=True, help="Audio per utterance.")
@click.option("--new-tokens", default=200, show_default=True, help="Tokens to generate.")
@click.option("--prompt-tokens", default=600, show_default=True, help="Tokens of the prompt.")
@click.option("--batch", default=8, show_default=True, help="Items of the batched stages.")
@click.option("--repeats", default=3, show_default=True, help="Runs; their median counts.")
@click.option("--threads", type=int, help="CPU threads of torch.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the table as JSON.")
def engine(
    size: str,
    device: str,
    dtype: str,
    seconds: float,
    new_tokens: int,
    prompt_tokens: int,
    batch: int,
    repeats: int,
    threads: int | None,
    out: Path | None,
) -> None:
    """Time every stage of the engine against the plain way of doing the same work.

    Builds the architecture with random weights, so nothing is downloaded. Both ways take turns;
    seconds are medians, of processor time on one thread of a CPU, else by the clock. Ratios above 1
    mean that stepedit is faster;
    the floor is what moving the weights takes at the bandwidth of a large copy. The semantic
    tokenizer and the speaker model are ONNX graphs that ship with a checkpoint; they are not part
    of this table.
    """
    import torch

    from stepedit_bench.speed.measure import measure_all
    from stepedit_bench.speed.sizes import SIZES
    from stepedit_bench.speed.timing import Settings
    from stepedit_core.models.checkpoint.load import pick_device, pick_dtype

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = pick_device(device)
    settings = Settings(
        chosen, pick_dtype(dtype, chosen), seconds, prompt_tokens, new_tokens, batch, repeats
    )
    found = measure_all(SIZES[size], settings, lambda name: click.echo(f"... {name}", err=True))
    facts = _facts(size, settings)
    _print(found, facts)
    if out is not None:
        lines = [item.data() for item in found]
        write_text(out, json.dumps({"machine": facts, "stages": lines}, indent=2) + "\n")


@click.command("memory", short_help="Watch an engine's memory over many edits.")
@click.option("--engine", "name", required=True, help="Folder, hub id or name.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--edits", default=200, show_default=True, type=click.IntRange(80), help="How many.")
def memory(name: str, device: str, edits: int) -> None:
    """Carry out many edits with one engine and print how the process's memory grows."""
    from rich.progress import Progress

    from stepedit_bench.speed.memory import measure_memory

    with Progress() as progress:
        task = progress.add_task("edits", total=edits)
        found = measure_memory(
            name, device, edits, lambda done: progress.update(task, completed=done)
        )
    click.echo(
        f"loaded {found.loaded:.0f} MB, after 70 edits {found.warm:.0f} MB, after {edits} "
        f"{found.end:.0f} MB: growth {found.growth:+.1f} MB over {edits - 70} edits"
    )


@click.command("recording", short_help="Time the editing of a long recording; watch its memory.")
@click.argument("clips", nargs=-1, metavar="[CLIP...]", type=click.Path(path_type=Path))
@click.option("--seconds", default=1200.0, show_default=True, help="Duration of the recording.")
@click.option("--rate", default=16_000, show_default=True, help="Its sample rate in Hz.")
@click.option(
    "-e",
    "--edit",
    "edits",
    multiple=True,
    default=("denoise:backend=noisereduce", "trim_silence", "speed:factor=1.1"),
    show_default=True,
    help="An edit; may be repeated.",
)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option(
    "--out",
    "kept",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep recording and finished pieces there; a call that was cut off goes on.",
)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def recording(
    clips: tuple[Path, ...],
    seconds: float,
    rate: int,
    edits: tuple[str, ...],
    workers: int,
    kept: Path | None,
    out: Path | None,
) -> None:
    """Join clips to a long recording, edit it by signal processing, and print time and memory.

    Without clips, the packaged recordings are joined. The time is that of the whole command; with
    --out, that of all calls together where some were cut off.
    """
    import contextlib
    import dataclasses
    import tempfile

    from stepedit_bench.speed.long import measure_long, recording_of

    with contextlib.ExitStack() as stack:
        folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        joined, count = recording_of(folder, clips, seconds, rate, edits)
        found = measure_long(joined, edits, workers)
    click.echo(
        f"{found.seconds:.0f} s of speech ({counted(count, 'clip')}, {rate} "
        f"Hz) -> {found.output_seconds:.0f} "
        f"s by {', '.join(edits)}: {found.wall:.1f} s with {counted(workers, 'worker')}, "
        f"{found.times_real_time:.1f} x real time ({found.cpu:.1f} s of processor time), peak "
        f"{found.peak:.0f} MB in all processes"
        f"{f', in {found.attempts} calls' if found.attempts > 1 else ''}"
    )
    if out is not None:
        facts = {"edits": list(edits), "workers": workers, "rate": rate, "clips": count}
        facts |= {"x_real_time": round(found.times_real_time, 2), **dataclasses.asdict(found)}
        write_text(out, json.dumps(facts, indent=2) + "\n")


def _facts(size: str, settings: Settings) -> dict[str, Any]:
    """Return the conditions of the measurement: model, machine, settings."""
    import torch

    name = platform.processor() or platform.machine()
    if settings.device.type == "cuda":
        name = torch.cuda.get_device_name(settings.device)
    return {
        "size": size,
        "device": f"{settings.device} ({name})",
        "dtype": str(settings.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _print(found: list[Measurement], facts: dict[str, Any]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    title = ", ".join(f"{key} {value}" for key, value in facts.items())
    table = Table("stage", "ours, s", "plain, s", "ratio", "x floor", "x real time", "plain way")
    table.title = title
    for item in found:
        line = item.data()
        numbers = (line["ours"], line["plain"], line["ratio"], line["times_floor"])
        shown = ["" if number is None else f"{number:.3g}" for number in numbers]
        table.add_row(item.stage, *shown, f"{line['times_real_time']:.3g}", item.note)
    Console().print(table)
