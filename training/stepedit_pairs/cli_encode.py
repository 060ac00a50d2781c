"""The command ``stepedit pairs-encode``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["pairs_encode"]


@click.command("pairs-encode", short_help="Give the pairs of a run codes, resumable.")
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option(
    "--tokenizer",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Step-Audio-Tokenizer folder.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for a copy with codes, with one run; in place if not given.",
)
@click.option("--device", default="auto", show_default=True, help="Device of the tokenizer.")
def pairs_encode(runs: tuple[Path, ...], tokenizer: Path, out: Path | None, device: str) -> None:
    """Give every row of RUNS, folders of `stepedit pairs`, the codes of an audio tokenizer.

    Shards that hold this tokenizer's codes already are left alone, so calling it again goes on
    where it stopped, and another tokenizer's codes are replaced. A row that cannot be encoded
    is listed in encode-failures.jsonl; the others are encoded, and the command ends with 1.
    """
    from time import monotonic

    from stepedit_core.cli.root import STEP_FAILED, Failure
    from stepedit_core.errors import StepeditError, printable
    from stepedit_core.models.tokenizer.identity import tokenizer_hash
    from stepedit_pairs.reencoding import FAILURES, encode_run
    from stepedit_pairs.report import write_card
    from stepedit_pairs.tokenizing import TokenizerEngine

    if out is not None and len(runs) > 1:
        raise StepeditError("--out takes one run at a time")
    fingerprint = tokenizer_hash(tokenizer)
    failed: dict[Path, str] = {}
    encoder = TokenizerEngine(tokenizer, device)
    for folder in runs:
        begun = monotonic()
        done = encode_run(folder, encoder, fingerprint, out=out)
        if not any(name.endswith(".parquet") for name in done.failed):
            write_card(out or folder)
        rate = done.seconds / max(monotonic() - begun, 1e-9)
        said = (
            f"{folder}: {done.fresh} of {done.shards} shards encoded, {done.rows} rows, "
            f"{len(done.failed)} failed, {rate:.0f} x real time (tokenizer {fingerprint})"
        )
        click.echo(printable(said))
        if done.failed:
            name, why = next(iter(done.failed.items()))
            list_of = (out or folder) / FAILURES
            failed[folder] = f"{len(done.failed)} without codes ({list_of}), first {name}: {why}"
    if failed:
        raise Failure(
            "; ".join(f"{folder}: {text}" for folder, text in failed.items()), STEP_FAILED
        )
