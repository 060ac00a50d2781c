"""The ``stepedit train`` command."""

from __future__ import annotations

from pathlib import Path

import click

from stepedit_train.stages import STAGES, run_stage

__all__ = ["train"]


@click.command(short_help="Train one stage of a model, resumable.")
@click.argument("stage", type=click.Choice(tuple(STAGES)))
@click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path),
    help="Settings of the stage, as TOML.",
)
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Change a setting.")
def train(stage: str, config: Path, given: tuple[str, ...]) -> None:
    """Train STAGE with the settings of a file.

    Calling it again with the same settings goes on from the last checkpoint, onto the same
    loss curve; a run that has finished says so and does nothing.

    \b
    stepedit train data --config training/configs/embedded/data.toml
    stepedit train sft --config training/configs/sft.toml --set steps=500
    """  # noqa: D301 -- click reads the backspace as "keep these lines"
    for line in run_stage(stage, config, given):
        click.echo(line)
