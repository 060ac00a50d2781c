"""The root of the command line: options of all commands, lazy commands, one line per error."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from stepedit_core.cli.interrupting import sigterm_interrupts
from stepedit_core.cli.numbers import take_plain_numbers
from stepedit_core.cli.paths import refuse_empty_paths
from stepedit_core.errors import EditError, StepeditError, printable

__all__ = ["Failure", "Root", "cli"]

DONE, STEP_FAILED, WRONG_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PLACES = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO),
    }
)
"""What is wrong with the place of a file, which its user chose."""
_LONGEST = 390
"""Characters of an error's line."""

# Newer releases of click raise it for `stepedit` alone, whose answer is the help page.
_NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())

# Command to module, and the line that `stepedit --help` shows without importing the module.
_COMMANDS = {
    "demo": ("demo", "Edit a packaged recording through a chain; write WAVs and an HTML page."),
    "edit": ("edit", "Edit recordings by one edit or a chain of them."),
    "edits": ("listing", "List the edits with their parameters, routes and plugins."),
    "plugins": ("listing", "List the plugins, the broken ones with their errors."),
    "doctor": ("doctor", "Check what works on this machine, and what to install for the rest."),
    "new": ("new", "Scaffold a plugin: package, tests, README."),
    "check": ("check", "Run the contract kit on a plugin."),
    "interpret": ("interpreting", "Show the chain that a sentence asks for; run nothing."),
    "align": ("listening", "Write when each word of a recording is said."),
    "transcribe": ("listening", "Write the words of a recording."),
    "verify": ("verifying", "Read and check the marks of a file: sidecar, C2PA, watermark."),
    "encode": ("codes", "Write the dual codes of a recording."),
    "decode": ("codes", "Turn dual codes back into audio."),
}


class Failure(click.ClickException):
    """An error that is shown as one line, with the exit code of the command."""

    def __init__(self, message: str, exit_code: int = WRONG_INPUT) -> None:
        """Take the message and the exit code."""
        super().__init__(" ".join(message.split()))
        self.code = exit_code


class Root(click.Group):
    """The command group: core's commands are imported on use, plugins add theirs by hook."""

    def __init__(self, **options: Any) -> None:
        """Create the group; plugins are asked for commands when one of theirs is needed."""
        super().__init__(**options)
        self._asked: object = None

    def _ask_plugins(self) -> None:
        """Let plugins add their commands, once for each registry."""
        from stepedit_core.registry.registry import get_registry

        registry = get_registry()
        if self._asked is not registry:
            self._asked = registry
            registry.add_commands(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return core's commands in their order, then those of plugins."""
        self._ask_plugins()
        return [*_COMMANDS, *sorted(set(self.commands) - set(_COMMANDS))]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command of a name, or ask the plugins for it."""
        if name in _COMMANDS:
            module = import_module(f"stepedit_core.cli.{_COMMANDS[name][0]}")
            command: click.Command | None = getattr(module, f"{name}_command", None)
            command = command or getattr(module, name)
        else:
            self._ask_plugins()
            command = self.commands.get(name)
        if command is not None:
            take_plain_numbers(command)
            refuse_empty_paths(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with a near miss."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from stepedit_core.errors import suggest

            hint = suggest(name, self.list_commands(ctx)) or "; see stepedit --help"
            raise click.UsageError(f"no command {name!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; core's lines are known without importing them."""
        rows = []
        for name in self.list_commands(ctx):
            command = None if name in _COMMANDS else self.commands[name]
            text = _COMMANDS[name][1] if command is None else command.get_short_help_str(limit=80)
            rows.append((name, text))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command line and exit: 0 done, 2 wrong input, 1 a step failed."""
        options["standalone_mode"] = False
        try:
            with sigterm_interrupts() as terminated:
                code = super().main(*args, **options)
        except (click.exceptions.Abort, KeyboardInterrupt):
            click.echo("terminated" if terminated else "interrupted", err=True)
            sys.exit(TERMINATED if terminated else INTERRUPTED)
        except click.ClickException as error:
            if isinstance(error, _NO_ARGUMENTS):
                click.echo(error.format_message())
                sys.exit(WRONG_INPUT)
            click.echo(f"error: {printable(_one_line(error), _LONGEST)}", err=True)
            sys.exit(error.code if isinstance(error, Failure) else WRONG_INPUT)
        if terminated:  # the command stopped by itself, resumable
            sys.exit(TERMINATED)
        sys.exit(code if isinstance(code, int) else DONE)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn stepedit's errors into one line, and show where with --debug."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.exceptions.Abort):
            raise
        except StepeditError as error:
            _trace(ctx)
            code = STEP_FAILED if isinstance(error, EditError) else WRONG_INPUT
            raise Failure(str(error), code) from error
        except BrokenPipeError:
            raise click.exceptions.Exit(DONE) from None
        except Exception as error:
            _trace(ctx)
            if _is_full(error):
                text = f"{error}; make room on the disk, then call the same command again"
                raise Failure(text, WRONG_INPUT) from error
            if place := _place(error):
                raise Failure(place, WRONG_INPUT) from error
            text = f"{type(error).__name__}: {error}; --debug shows where"
            raise Failure(text, STEP_FAILED) from error


def _is_full(error: Exception) -> bool:
    """Return whether a disk is full: libraries that are not written in Python say so in words."""
    known = isinstance(error, OSError) and error.errno in _FULL
    return known or os.strerror(errno.ENOSPC) in str(error)


def _place(error: Exception) -> str | None:
    """Return what is wrong with a path that a user named, or None where that is not it."""
    if not isinstance(error, OSError) or error.errno not in _PLACES or error.filename is None:
        return None
    return f"{os.fsdecode(error.filename)}: {error.strerror}; choose another place"


def _trace(ctx: click.Context) -> None:
    """Print the traceback of the current error where --debug asks for it."""
    if ctx.params.get("debug"):
        traceback.print_exc()


def _one_line(error: click.ClickException) -> str:
    """Return an error's text in one line; usage errors say where help is."""
    text = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if isinstance(error, click.UsageError) and context is not None and "--help" not in text:
        text = f"{text.rstrip('.')}; see {context.command_path} --help"
    return text


def _load_files(ctx: click.Context, param: click.Parameter, files: tuple[Path, ...]) -> None:
    """Register the plugin files before a command is looked up: they may bring it."""
    if files:
        from stepedit_core.registry.registry import Registry, set_registry

        registry = Registry().load()
        try:
            for file in files:
                registry.register_file(file)
        except StepeditError as error:
            _trace(ctx)
            raise Failure(str(error)) from error
        set_registry(registry)


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, is_eager=True, help="Show tracebacks of errors.")
@click.option(
    "-p",
    "--plugin",
    multiple=True,
    metavar="FILE.py",
    type=click.Path(path_type=Path),
    callback=_load_files,
    expose_value=False,
    help="Load a plugin from a Python file; may be repeated.",
)
@click.version_option(package_name="stepedit", message="stepedit %(version)s")
def cli(debug: bool) -> None:
    """Edit speech with language models and signal processing.

    Edits come from plugins; `stepedit edits` lists them. STEPEDIT_DISABLE=a,b blocks plugins.
    """
    if os.environ.get("STEPEDIT_DISABLE"):
        from stepedit_core.registry.registry import get_registry

        for line in get_registry().blocks_nothing():
            click.echo(f"note: {printable(line, _LONGEST)}", err=True)
