"""``stepedit interpret``, and the chain that ``stepedit edit --say`` shows before it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stepedit_core.cli.console import echo_json, echo_line, language_option
from stepedit_core.interpretation import Interpretation, InterpretationError, Setting, interpret
from stepedit_core.storage.sound import is_stream

if TYPE_CHECKING:
    from stepedit_core.chain.chain import Chain
    from stepedit_core.utterance import Utterance

__all__ = ["interpret_command", "interpreter_option", "long_setting", "say_chain"]

Command = TypeVar("Command", bound=Callable[..., Any])


def _lines(found: Interpretation) -> list[str]:
    """Return the edits that were found, one numbered line for each."""
    if not found.readings and not found.alternatives:
        return ["nothing is left to do"]
    return [f"{number}. {line}" for number, line in enumerate(found.explanation, 1)]


def interpreter_option(command: Command) -> Command:
    """Add the option that says who reads sentences."""
    return click.option(
        "--interpreter",
        default="grammar",
        show_default=True,
        metavar="NAME[:MODEL]",
        help="Who reads sentences: grammar (offline), or model:NAME of an endpoint.",
    )(command)


@click.command("interpret")
@click.argument("sentences", nargs=-1, required=True, metavar="SENTENCE...")
@click.option("--text", help="The words of the recording that the sentence is about.")
@click.option(
    "--recording",
    "recording",
    type=click.Path(path_type=Path),
    help="The recording: its length, and when its words are said.",
)
@language_option
@interpreter_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the chain.")
def interpret_command(
    sentences: tuple[str, ...],
    text: str | None,
    recording: Path | None,
    language: str | None,
    interpreter: str,
    as_json: bool,
) -> None:
    """Show the chain that a sentence asks for, and the words that each edit was read from.

    Nothing is run. Later sentences correct earlier ones ("a little less", "no, the third one",
    "undo that"). What no edit does, and what can mean several things, is refused in one line.

    Example: stepedit interpret "take out the hum, then slow it down a little" --json
    """
    setting = Setting(text)
    if recording is not None:
        setting = _setting_of(recording, text, language)
    try:
        found = interpret(sentences, setting, interpreter=interpreter)
        if found.alternatives:
            _ = found.chain  # says what there is to choose from
        data = found.to_data() if as_json else None
    except InterpretationError as error:
        if as_json:
            ways = [way.to_data() for way in error.alternatives]
            echo_json({"chain": None, "explanation": [], "alternatives": ways})
        raise
    if data is not None:
        echo_json(data)
        return
    for line in _lines(found):
        echo_line(line)
    for note in found.notes:
        echo_line(f"note: {note}", err=True)


def _setting_of(recording: Path, text: str | None, language: str | None) -> Setting:
    """Return a recording's setting; words that are given are timed, unless it is a long one's."""
    from stepedit_core.utterance import MAX_SECONDS, Utterance

    if not is_stream(recording):
        setting = long_setting(recording, text)
        if setting.seconds is not None and setting.seconds > MAX_SECONDS:
            return setting
    speech = Utterance.read(recording, text, language)
    return Setting.of(_timed(speech) if text else speech)


def long_setting(recording: Path, text: str | None) -> Setting:
    """Return the setting of a recording that is too long to be held: its length and its words.

    Raises:
        AudioError: if the file cannot be read, or is longer than a day.
    """
    from stepedit_core.recording.recording import MAX_SECONDS
    from stepedit_core.storage.blocks import sound_seconds

    return Setting(text, sound_seconds(recording, max_seconds=MAX_SECONDS))


def _timed(speech: Utterance) -> Utterance:
    """Return an utterance with word times."""
    from stepedit_core.recording.hearing import with_words

    return with_words(speech)[0]


def say_chain(
    sentences: Sequence[str],
    speech: Utterance | Setting,
    *,
    yes: bool,
    interpreter: str = "grammar",
    say: Callable[[str], None] = echo_line,
) -> Chain:
    """Return the chain that sentences ask for, after it was shown and agreed to.

    Words are timed only where a region needs it, and not those of a long recording, of which the
    setting is known alone. Without a terminal, ``yes`` is needed.

    Raises:
        InterpretationError: as `interpret` does.
        click.UsageError: if nobody agrees.
    """
    found = interpret(sentences, speech, interpreter=interpreter)
    try:
        chain = found.chain
    except InterpretationError:
        is_confined = any(one.region for one in found.readings)
        if found.alternatives or not is_confined or isinstance(speech, Setting):
            raise
        timed = _timed(speech)
        if speech.transcript:  # the same reading holds, and a model is not asked twice
            chain = replace(found, setting=Setting.of(timed)).chain
        else:
            chain = interpret(sentences, timed, interpreter=interpreter).chain
    for line in (*_lines(found), *(f"note: {note}" for note in found.notes)):
        say(line)
    if yes:
        return chain
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("--say shows the chain and asks; give --yes to run it unasked")
    if not click.confirm("run this?", default=True, err=True):
        raise click.Abort
    return chain
