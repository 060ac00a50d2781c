"""Call the command line inside the test's process."""

from __future__ import annotations

import os

from click.testing import CliRunner, Result

from stepedit_core.cli.root import cli

__all__ = ["call", "refused"]


def call(*args: object, input: str | bytes | None = None) -> Result:
    """Run ``stepedit`` with arguments; tables get room so that words are not broken."""
    runner = CliRunner(
        env={"COLUMNS": "200", "STEPEDIT_DISABLE": os.environ.get("STEPEDIT_DISABLE")}
    )
    return runner.invoke(cli, [str(arg) for arg in args], input=input, prog_name="stepedit")


def refused(result: Result, code: int = 2) -> str:
    """Hold that a call failed with one line and no traceback; return that line."""
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.output
    return lines[0]
