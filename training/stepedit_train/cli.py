"""The ``stepedit train`` command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from stepedit_core.storage.locking import sole_run
from stepedit_train.settings import apply_changes
from stepedit_train.stages import STAGES, check_notation, run_stage, settings_of

__all__ = ["train"]


_WIDTH = max(map(len, STAGES))
_LIST = "\n".join(f"{name:{_WIDTH}}  {stage.what}" for name, stage in STAGES.items())


def _add_to_model(measured: int, *asked: Any) -> Iterator[str]:
    from stepedit_train.adding import adding_settings
    from stepedit_train.lm.sft import train_sft
    from stepedit_train.measuring import measure_routes

    settings = adding_settings(*asked)
    with sole_run(settings.folder()):
        yield from train_sft(settings)
    if measured and settings.is_finished():
        yield from measure_routes(settings.out / "model", asked[0], measured)


def _add_to_decoder(measured: int, *asked: Any) -> Iterator[str]:
    from stepedit_train.adding import add_to_decoder

    # What the edit reaches is known once the language model was taught it, too.
    return add_to_decoder(*asked)


_ADDING = {"sft": _add_to_model, "mel": _add_to_decoder}


def _by_scorer(
    edits: list[str],
    base: str,
    pairs: Path,
    corpus: Path | None,
    out: Path,
    given: tuple[str, ...],
) -> Iterator[str]:
    from stepedit_train.rl.adding import scorer_settings
    from stepedit_train.rl.grpo import train_grpo

    return train_grpo(scorer_settings(edits, base, pairs, corpus, out, given))


def _check_adding(edits: list[str], base: str, pairs: Path | None, given: tuple[str, ...]) -> None:
    """Hold that all that is named exists, before torch is imported."""
    from stepedit_core.registry.registry import get_registry
    from stepedit_train.adding_input import base_folder, pair_folders

    for name in edits:
        get_registry().edit_class(name)
    base_folder(base)
    apply_changes({}, given)
    if pairs is not None:
        pair_folders(edits, pairs)


def _dry_run(stage: str, config: Path, given: tuple[str, ...]) -> Iterator[str]:
    check_notation(config, given)
    from stepedit_train.rl.estimate import estimate_lines
    from stepedit_train.rl.settings import RlSettings
    from stepedit_train.settings import load_settings

    kind = settings_of(stage)
    if not issubclass(kind, RlSettings):
        raise click.UsageError("--dry-run goes with the stages reward, dpo, grpo and ppo")
    return estimate_lines(load_settings(kind, config, given))


def _echoed(lines: Iterator[str]) -> None:
    """Print lines as they come; a run that is stopped for its figures is a failed step."""
    from stepedit_core.cli.root import STEP_FAILED, Failure
    from stepedit_train.ending import TrainingStopped

    try:
        for line in lines:
            click.echo(line)
    except TrainingStopped as error:
        raise Failure(str(error), STEP_FAILED) from error


@click.command(short_help="Train one stage of a model, resumable.", epilog=f"\b\nStages:\n{_LIST}")
@click.argument("stage", type=click.Choice(tuple(STAGES)), metavar="STAGE")
@click.option("--explain", is_flag=True, help="Print the stage's settings as commented TOML.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings of the stage, as TOML.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Change a setting.")
@click.option("--dry-run", is_flag=True, help="reward, dpo, grpo, ppo: print memory and cost.")
@click.option(
    "--edits",
    metavar="NAME[,NAME]",
    help="sft, mel: add these edits to a trained model; grpo: train them by their scorers alone.",
)
@click.option("--base", default="embedded", help="With --edits: the model, a folder or a name.")
@click.option(
    "--pairs",
    default=Path("pairs"),
    type=click.Path(path_type=Path),
    help="With --edits: folder around the folders of `stepedit pairs`, one named as each edit.",
)
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, exists=True),
    help="With grpo --edits: plain speech to ask about, in place of --pairs.",
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
    dry_run: bool,
    edits: str | None,
    base: str,
    pairs: Path,
    corpus: Path | None,
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
    stepedit train grpo --edits my_edit --base my-model --corpus speech.csv --out better
    stepedit train ppo --config training/configs/ppo.toml --dry-run
    stepedit train flow --explain > flow.toml      # all settings of a stage, with comments
    """  # noqa: D301 -- click reads the backspace as "keep these lines"
    if explain:
        from stepedit_train.settings import explain as lines_of

        lines = lines_of(settings_of(stage))
    elif edits is None:
        if config is None:
            raise click.UsageError("give --config FILE (or, for sft, mel and grpo, --edits NAME)")
        lines = _dry_run(stage, config, given) if dry_run else run_stage(stage, config, given)
    elif stage not in {*_ADDING, "grpo"} or config is not None or out is None or dry_run:
        raise click.UsageError(
            "--edits goes with the stages sft, mel and grpo and with --out DIR, without --config"
        )
    else:
        names = [name.strip() for name in edits.split(",")]
        _check_adding(names, base, pairs if stage in _ADDING else None, given)
        if stage == "grpo":
            lines = _by_scorer(names, base, pairs, corpus, out, given)
        else:
            lines = _ADDING[stage](measured, names, base, pairs, out, given, replay)
    _echoed(lines)
