"""The ``stepedit train`` command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from stepedit_train.stages import STAGES, run_stage, settings_of

__all__ = ["train"]


_WIDTH = max(map(len, STAGES))
_LIST = "\n".join(f"{name:{_WIDTH}}  {stage.what}" for name, stage in STAGES.items())


def _add_to_model(measured: int, *asked: Any) -> Iterator[str]:
    from stepedit_train.adding import adding_settings
    from stepedit_train.lm.sft import train_sft
    from stepedit_train.measuring import measure_routes

    settings = adding_settings(*asked)
    yield from train_sft(settings)
    if measured and settings.is_finished():
        yield from measure_routes(settings.out / "model", asked[0], measured)


def _add_to_decoder(measured: int, *asked: Any) -> Iterator[str]:
    from stepedit_train.adding import add_to_decoder

    # What the edit reaches is known once the language model was taught it, too.
    return add_to_decoder(*asked)


_ADDING = {"sft": _add_to_model, "mel": _add_to_decoder}


@click.command(short_help="Train one stage of a model, resumable.", epilog=f"\b\nStages:\n{_LIST}")
@click.argument("stage", type=click.Choice(tuple(STAGES)), metavar="STAGE")
@click.option("--explain", is_flag=True, help="Print the stage's settings as commented TOML.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings of the stage, as TOML.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Change a setting.")
@click.option(
    "--edits", metavar="NAME[,NAME]", help="sft, mel: add these edits to a trained model."
)
@click.option("--base", default="embedded", help="With --edits: the model, a folder or a name.")
@click.option(
    "--pairs",
    default=Path("pairs"),
    type=click.Path(path_type=Path),
    help="With --edits: folder around the folders of `stepedit pairs`, one named as each edit.",
)
@click.option("--out", type=click.Path(path_type=Path), help="With --edits: folder of the run.")
@click.option(
    "--replay",
    default=1.0,
    type=click.FloatRange(min=0),
    help="With --edits: rows of the old edits for each row of the new ones.",
)
@click.option(
    "--measure",
    "measured",
    default=12,
    show_default=True,
    type=click.IntRange(0),
    help="With sft --edits: bench the new edits by so many cases, for routes.json; 0: do not.",
)
def train(
    stage: str,
    explain: bool,
    config: Path | None,
    given: tuple[str, ...],
    edits: str | None,
    base: str,
    pairs: Path,
    out: Path | None,
    replay: float,
    measured: int,
) -> None:
    """Train STAGE with the settings of a file, or add edits to a trained model.

    Calling it again with the same settings goes on from the last checkpoint, onto the same
    loss curve; a run that has finished says so and does nothing.

    \b
    stepedit train data --config training/configs/embedded/data.toml
    stepedit train sft --config training/configs/sft.toml --set steps=500
    stepedit train mel --edits my_edit --base embedded --pairs pairs --out my-voice
    stepedit train sft --edits my_edit --base my-voice/model --pairs pairs --out my-model
    stepedit train flow --explain > flow.toml      # all settings of a stage, with comments
    """  # noqa: D301 -- click reads the backspace as "keep these lines"
    if explain:
        from stepedit_train.settings import explain as lines_of

        lines = lines_of(settings_of(stage))
    elif edits is None:
        if config is None:
            raise click.UsageError("give --config FILE (or, for sft and mel, --edits NAME)")
        lines = run_stage(stage, config, given)
    elif stage not in _ADDING or config is not None or out is None:
        raise click.UsageError(
            "--edits goes with the stages sft and mel and with --out DIR, without --config"
        )
    else:
        names = [name.strip() for name in edits.split(",")]
        lines = _ADDING[stage](measured, names, base, pairs, out, given, replay)
    for line in lines:
        click.echo(line)
