"""Hook implementations of the bench: commands, judges, the public benchmark as a suite."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stepedit_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from stepedit_core.edit import Edit
    from stepedit_core.scoring import Case, Judge, Measures


@hookimpl
def stepedit_commands(cli: click.Group) -> None:
    """Add ``stepedit bench``."""
    from stepedit_bench.commands import bench

    cli.add_command(bench)


@hookimpl
def stepedit_judges() -> Sequence[type[Judge]]:
    """Return the judges that come with the bench."""
    from stepedit_bench.judges import JUDGES

    return JUDGES


@hookimpl(trylast=True)
def stepedit_measures() -> Measures | None:
    """Return the measurements of the bench, so that edits are accepted by what it counts.

    DNSMOS hears one window, as in ``stepedit bench figures``: moving ones take up to eight times as
    long, most of what a denoised recording cost.
    """
    from stepedit_bench.measuring import MeasureConfig, StandardMeasures

    return StandardMeasures(MeasureConfig(dnsmos="one"))


@hookimpl
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Return the public benchmark's rows for an edit class, or cases of one's own."""
    from stepedit_bench.own_cases import OWN, read_own
    from stepedit_bench.step_audio_edit import SUITE, read_suite
    from stepedit_bench.suites import SUITE_PATH_VARIABLE
    from stepedit_core.errors import StepeditError

    if suite not in (SUITE, OWN):
        return None
    folder = os.environ.get(SUITE_PATH_VARIABLE)
    if suite == OWN:
        if not folder:
            raise StepeditError(f"suite {OWN!r} reads a folder with cases.jsonl: give --suite-path")
        return read_own(edit, folder)
    if not folder:
        raise StepeditError(
            f"suite {SUITE!r} reads a folder: give --suite-path, a copy of "
            "stepfun-ai/Step-Audio-Edit-Benchmark"
        )
    return read_suite(edit, folder)
