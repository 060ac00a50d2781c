"""``stepedit encode`` and ``stepedit decode``: dual codes out of audio and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepedit_core.atomic import is_outlet
from stepedit_core.cli.console import (
    check_format,
    echo_json,
    echo_line,
    engine_options,
    load_named_engine,
)
from stepedit_core.cli.plan import check_apart, check_target, goes_to_stdout, text_of
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.storage.sound import is_stream
from stepedit_core.storage.stored_json import parse_json

if TYPE_CHECKING:
    from stepedit_core.codes import DualCodes
    from stepedit_core.engine import SpeechEngine
    from stepedit_core.utterance import Utterance

__all__ = ["codes_data", "codes_from_data", "decode", "encode"]

# Tokenizers pad each stream by themselves; more groups apart than this is another recording's.
MOST_GROUPS_APART = 2


def codes_data(codes: DualCodes, engine: SpeechEngine) -> dict[str, Any]:
    """Return codes as JSON data: both streams, and the ids as the language model reads them."""
    token_ids = getattr(engine, "token_ids", None)
    ids = token_ids(codes) if callable(token_ids) else codes.interleave().tolist()
    return {
        "linguistic": codes.linguistic.tolist(),
        "semantic": codes.semantic.tolist(),
        "ids": list(ids),
        "start_seconds": codes.start,
        "engine": engine.name,
    }


def _numbers(data: Mapping[str, Any], key: str) -> list[int]:
    """Return a list of whole numbers from JSON data.

    Raises:
        StepeditError: if it is anything else.
    """
    values = data.get(key)
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise StepeditError(f"codes: {key!r} must be a list of whole numbers")
    return values


def codes_from_data(data: object) -> DualCodes:
    """Return codes from what ``encode --json`` writes; both streams count, ids are not read.

    Raises:
        StepeditError: if a stream is missing, a code is out of range, or the streams do not
            belong together.
    """
    import numpy as np

    from stepedit_core.codes import LINGUISTIC_PER_GROUP, SEMANTIC_PER_GROUP, DualCodes

    if not isinstance(data, Mapping):
        raise StepeditError("codes: expected a JSON object with 'linguistic' and 'semantic'")
    try:
        linguistic, semantic = (
            np.array(_numbers(data, key), np.int64) for key in ("linguistic", "semantic")
        )
        codes = DualCodes(linguistic, semantic)
    except (ValueError, OverflowError) as error:
        raise StepeditError(f"codes: {error}") from error
    if codes.groups == 0:
        raise StepeditError("codes: there is not one whole group (2 linguistic, 3 semantic)")
    lengths = (
        len(codes.linguistic) // LINGUISTIC_PER_GROUP,
        len(codes.semantic) // SEMANTIC_PER_GROUP,
    )
    if max(lengths) - min(lengths) > MOST_GROUPS_APART:
        raise StepeditError(
            f"codes: the linguistic stream has {lengths[0]} groups, the semantic one {lengths[1]}; "
            "both come from one recording"
        )
    return codes


def _read_codes(file: Path) -> DualCodes:
    """Read a codes file, or standard input (``-``); errors name it."""
    text = text_of(file, "a codes file")
    try:
        return codes_from_data(parse_json(text))
    except (ValueError, RecursionError) as error:
        raise StepeditError(f"{file}: not a readable codes file ({error})") from error
    except StepeditError as error:
        raise StepeditError(f"{file}: {error}") from error


def _heard(speech: Utterance, file: Path) -> Utterance:
    """Return an utterance; raises AudioError where there is nothing to hear in it."""
    if problem := speech.problem():
        raise AudioError(f"{file}: {problem}")
    return speech


def _engine(name: str | None, device: str) -> SpeechEngine:
    """Load the named engine, or the embedded one."""
    from stepedit_core.config import EMBEDDED

    engine = load_named_engine(name or EMBEDDED, device)
    assert engine is not None
    return engine


@click.command(short_help="Write the dual codes of a recording.")
@click.argument("recording", metavar="IN", type=click.Path(path_type=Path))
@engine_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Write the JSON to a file, or '-'."
)
def encode(
    recording: Path, engine: str | None, device: str, as_json: bool, out: Path | None
) -> None:
    """Write the dual codes of the recording IN.

    The JSON has "linguistic" (16.67 per second), "semantic" (25 per second) and "ids", the
    interleaved ids as the language model reads them.

    Example: stepedit encode in.wav --engine models/Step-Audio-EditX --json > codes.json
    """
    from stepedit_core.cli.console import write_text
    from stepedit_core.utterance import Utterance

    speech = _heard(Utterance.read(recording), recording)
    if out is not None:
        check_target(out, "-o")
        check_apart([("-o", out)], [recording])
    loaded = _engine(engine, device)
    codes = loaded.encode([speech])[0]
    data = codes_data(codes, loaded)
    if out is not None:
        write_text(out, json.dumps(data))
    if goes_to_stdout(out):
        as_json = False  # it is there already
    if as_json:
        echo_json(data)
    else:
        echo_line(
            f"{recording}: {len(codes.linguistic)} linguistic and {len(codes.semantic)} semantic "
            f"codes, {codes.groups} groups of 120 ms from {codes.start:.3f} s, by {loaded.name}",
            err=goes_to_stdout(out),
        )


@click.command(short_help="Turn dual codes back into audio.")
@click.argument("codes", type=click.Path(path_type=Path))
@click.option(
    "--reference", required=True, type=click.Path(path_type=Path), help="Whose voice to use."
)
@engine_options
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Audio file to write, or '-'.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Same seed, same audio.",
)
def decode(
    codes: Path, reference: Path, engine: str | None, device: str, out: Path, seed: int
) -> None:
    """Turn the codes file CODES (from `encode --json`) into audio in the reference's voice.

    '-' is standard input as CODES, standard output as -o.

    Example: stepedit decode codes.json --reference in.wav --engine models/EditX -o out.wav
    """
    from stepedit_core.engine import DecodeRequest
    from stepedit_core.utterance import Utterance

    if is_stream(codes) and is_stream(reference):
        raise click.UsageError("CODES and --reference cannot both come through a pipe")
    parsed = _read_codes(codes)
    voice = _heard(Utterance.read(reference), reference)
    if not is_outlet(out):
        check_format(out)
    check_target(out, "-o")
    check_apart([("-o", out)], [codes, reference])
    loaded = _engine(engine, device)
    speech = loaded.decode([DecodeRequest(parsed, voice, seed)])[0]
    speech.write(out)
    said = f"{out}: {speech.seconds:.2f} s at {speech.sample_rate} Hz, by {loaded.name}"
    echo_line(said, err=goes_to_stdout(out))
