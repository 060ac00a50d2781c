"""Shared by commands: consoles, engine options, and files that appear when complete."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import AudioError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from stepedit_core.engine import SpeechEngine

__all__ = [
    "WRITABLE",
    "check_folder",
    "check_format",
    "console",
    "echo_json",
    "echo_line",
    "engine_options",
    "language_option",
    "load_named_engine",
    "write_text",
]

WRITABLE = (".wav", ".flac", ".ogg", ".mp3", ".opus")
"""Suffixes of the audio files that commands write."""

F = TypeVar("F", bound=Callable[..., Any])


def console(*, stderr: bool = False) -> Console:
    """Return a rich console on the current standard output or error."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def echo_line(text: str, *, err: bool = False) -> None:
    """Print one line; what a stranger's name or text holds cannot steer the terminal."""
    indent = " " * (len(text) - len(text.lstrip(" ")))
    click.echo(indent + printable(text), err=err)


def language_option(function: F) -> F:
    """Add ``--language``: a tag, or a language's English name; the command receives the tag."""

    def tag(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        from stepedit_core.llm_route.languages import language_tag

        return None if value is None else language_tag(value)

    help_text = "Language of the words, such as en or zh."
    return click.option("--language", metavar="TAG", callback=tag, help=help_text)(function)


def echo_json(data: object) -> None:
    """Print JSON for other programs."""
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))


_SETTINGS = "stepedit.engine"
"""Key of the engine's further settings in a command's context."""


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a setting of the engine for `engine_settings`."""
    if value is not None:
        ctx.meta.setdefault(_SETTINGS, {})[param.name] = value


def _not_empty(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty value, as of a shell's variable that is not set."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty; name one, or leave the option out")
    return value


def engine_options(function: F) -> F:
    """Add ``--engine``, ``--device``, ``--dtype``, ``--quantize`` and ``--best-of``.

    The command receives engine and device; the others are found by `engine_settings`.
    """
    options = [
        click.option(
            "--engine",
            metavar="NAME_OR_PATH",
            callback=_not_empty,
            help="Engine of the llm route: 'embedded', a folder, a hub id, or a plugin's name.",
        ),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="auto, cpu, cuda, cuda:N or mps; needs --engine.",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16", "float16"]),
            expose_value=False,
            callback=_remember,
            help="Arithmetic of the language model; by default what suits device and weights.",
        ),
        click.option(
            "--quantize",
            type=click.Choice(["int8", "int4"]),
            expose_value=False,
            callback=_remember,
            help="Hold the language model's weights in 8 or 4 bits: less memory.",
        ),
        click.option(
            "--best-of",
            type=click.IntRange(1, 64),
            expose_value=False,
            callback=_remember,
            help="Answers to draw where the words are known; the best read is kept.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def engine_settings() -> dict[str, Any]:
    """Return the engine's settings on the command line, beside its name and device."""
    context = click.get_current_context(silent=True)
    chosen = dict(context.meta.get(_SETTINGS, {})) if context is not None else {}
    best_of = chosen.pop("best_of", None)
    if best_of is not None:
        chosen["generation"] = {"best_of": best_of}
    return chosen


def load_named_engine(name: str | None, device: str = "auto") -> SpeechEngine | None:
    """Load an engine by name, or return None where none is asked for.

    Raises:
        StepeditError: if it cannot be loaded, or a device is named without an engine.
    """
    settings = engine_settings()
    if name is None:
        if device != "auto" or settings:
            raise click.UsageError(
                "--device, --dtype, --quantize and --best-of say how an engine runs; give "
                "--engine too"
            )
        return None
    from stepedit_core.config import engine_config
    from stepedit_core.registry.registry import load_engine

    if sys.stderr.isatty():
        click.echo(f"loading engine {name} ...", err=True)
    return load_engine(engine_config(name_or_path=name, device=device, **settings))


def check_format(target: Path) -> None:
    """Refuse an audio file's suffix before any work is done.

    Raises:
        AudioError: naming the target and the suffixes that can be written.
    """
    from stepedit_core.storage.blocks import unknown_format

    if target.suffix.lower() not in WRITABLE:
        raise AudioError(f"{target}: {unknown_format(target)}; use one of {' '.join(WRITABLE)}")


def check_folder(folder: Path) -> None:
    """Refuse a folder that could not be written to, before any work is done.

    Raises:
        AudioError: naming the folder or the file that stands in its way.
    """
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise AudioError(f"{folder}: {place} is a file, not a folder; choose another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise AudioError(f"{folder}: no permission to write in {place}; choose another folder")
    try:  # the superuser has every permission, and still cannot write everywhere
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise AudioError(
            f"{folder}: cannot write in {place} ({error.strerror}); choose another folder"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears under its name when complete.

    Raises:
        StepeditError: if the folder cannot be written.
    """
    write_atomically(path, text)
