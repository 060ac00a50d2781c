"""``stepedit redaction``: make spoken secrets, hide them, and listen for them again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stepedit_core import counted

__all__ = ["redaction"]


@click.group(short_help="Measure whether redacted words are heard again.")
def redaction() -> None:
    """Measure whether words that `redact` hides are heard again."""


@redaction.command(short_help="Speak sentences with made-up secrets.")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--n", "count", default=100, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
def speak(out: Path, count: int, seed: int) -> None:
    """Speak sentences with made-up secrets into the folder OUT, with their cases.jsonl.

    Phone and card numbers, e-mail addresses and names, by the voices of hibari-tts and flite, at
    8 to 48 kHz, a fifth of them with noise at 20 dB.
    """
    import numpy as np

    from stepedit_redact.speaking import draw_secrets
    from stepedit_redact.speaking import speak as say

    rows = []
    for number, secret in enumerate(draw_secrets(count, np.random.default_rng(seed))):
        name = f"{number:03d}-{secret.kind}.flac"
        say(secret, seed + number).write(out / name)
        edit = {"edit": "redact", "names": "rules", "by": ("silence", "bleep", "noise")[number % 3]}
        meta = {"private": [secret.private], "kind": secret.kind, "voice": ":".join(secret.voice)}
        case = {"id": f"{number:03d}-{secret.kind}", "edit": edit, "audio": name}
        rows.append({**case, "transcript": secret.text, "language": "en", "meta": meta})
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / "cases.jsonl").write_text(text, encoding="utf-8")
    click.echo(f"wrote {counted(len(rows), 'recording')} and {out / 'cases.jsonl'}")


@redaction.command(short_help="Draw recordings and words of each to hide.")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--n", "count", default=100, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
def choose(manifest: Path, out: Path, count: int, seed: int) -> None:
    """Draw recordings of a CSV and one to three words of each to hide; write cases to OUT.

    The CSV has the columns path, text, language and seconds, paths relative to it; recordings of
    3 to 12 s are drawn, one in five Mandarin where there are any.
    """
    from stepedit_redact.figures import chosen_cases

    rows = chosen_cases(manifest, count, seed)
    out.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / "cases.jsonl").write_text(text, encoding="utf-8")
    click.echo(f"wrote {out / 'cases.jsonl'}: {counted(len(rows), 'recording')}")


@redaction.command(short_help="Hide the secrets and listen again.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--words",
    type=click.Choice(["given", "heard"]),
    default="given",
    show_default=True,
    help="Find secrets in the given transcript, or in what Whisper base hears.",
)
@click.option("--limit", type=click.IntRange(1), help="The first N cases alone.")
@click.option("--before/--no-before", default=True, help="Hear the recordings before, too.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="One JSON row per case; a call that was stopped goes on where it was.",
)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 64))
def measure(
    folder: Path, words: str, limit: int | None, before: bool, out: Path | None, threads: int
) -> None:
    """Hide the secrets of FOLDER/cases.jsonl and listen again, by Whisper base and tiny.en.

    Prints how many secrets were heard before, how many are heard again in part or whole, and how
    well the other words are.
    """
    from stepedit_redact.figures import Listening, measured, stored_rows, summary

    rows = stored_rows(out)
    listening = Listening(given=words == "given", before=before, threads=threads)
    for row in measured(folder, listening, limit, {row["id"] for row in rows}):
        rows.append(row)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                # A torn line of a call that was killed ends here.
                file.write("\n" + json.dumps(row, ensure_ascii=False) + "\n")
        if row["again"] or row["error"]:
            click.echo(f"{row['id']}: {row['error'] or row['again']}")
    for line in summary(rows):
        click.echo(line)
