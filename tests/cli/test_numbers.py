"""Numbers on the command line are plain digits."""

from __future__ import annotations

import click
import click.testing
import pytest

from stepedit_core.cli.numbers import take_plain_numbers
from tests.cli.calls import call, refused


@click.command()
@click.option("--count", type=click.IntRange(0, 50), default=3, show_default=True)
@click.option("--seed", type=int, default=0)
@click.option("--length", type=click.FloatRange(0, min_open=True), default=1.0)
def command(count: int, seed: int, length: float) -> None:
    click.echo(f"{count} {seed} {length}")


group = click.Group(commands={"one": click.Group(commands={"two": command})})
take_plain_numbers(group)


def run(*args: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(group, ["one", "two", *args])


def test_plain_numbers_are_taken() -> None:
    assert run("--count", "07", "--seed", "-5", "--length", "2.5e-1").stdout == "7 -5 0.25\n"
    assert run("--seed", str(2**63 - 1)).stdout == f"3 {2**63 - 1} 1.0\n"
    assert run().stdout == "3 0 1.0\n"
    assert "0<=x<=50" in run("--help").stdout


@pytest.mark.parametrize(
    "args",
    [
        ("--seed", "1_000"), ("--seed", "١٢"), ("--seed", " 7"), ("--seed", "1e3"),
        ("--seed", "9" * 20), ("--seed", "9" * 5_000), ("--seed", ""), ("--count", "51"),
        ("--length", "nan"), ("--length", "inf"), ("--length", "1_0"), ("--length", "1e999"),
        ("--length", "0"),
    ],
)  # fmt: skip
def test_other_texts_are_refused(args: tuple[str, str]) -> None:
    result = run(*args)
    assert result.exit_code == 2 and f"'{args[0]}'" in result.stderr
    assert len(result.stderr) < 400


@pytest.mark.parametrize(
    "args",
    [
        ("edit", "a.wav", "-o", "b.wav", "-e", "speed:factor=2", "--seed", "1_000"),
        ("edit", "a.wav", "-o", "b.wav", "-e", "speed:factor=2", "--longest", "nan"),
        ("demo", "out", "--seed", "9" * 20),
        ("pairs", "speed", "--corpus", "a", "--out", "b", "--seed", "٣"),
        ("bench", "compare", "a", "b", "--seed", "1_0"),
    ],
)
def test_commands_refuse_them(args: tuple[str, ...]) -> None:
    assert f"'{args[-2]}'" in refused(call(*args))
