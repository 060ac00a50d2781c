"""A wrong argument is told before torch is imported, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from stepedit_core.testing import speech_like

_HEAVY = ("torch", "transformers", "librosa", "scipy.signal", "pyloudnorm", "onnxruntime")
_LLM = ["edit", "a.wav", "-e", "emotion:to=happy", "--route", "llm", "--text", "You came."]
_CALLS = {
    "train data --config bad.toml": "is not TOML",
    "train sft --config none.toml": "cannot be read",
    "train ppo --config bad.toml --dry-run": "is not TOML",
    "train sft --config good.toml --set steps": "--set takes name=value",
    "train sft --edits nosuch --out x": "unknown edit 'nosuch'",
    "train mel --edits speed --pairs none --out x": "no shards",
    "train grpo --edits nosuch --out x": "unknown edit 'nosuch'",
    "train sft --edits speed --base nosuch --out x": "--base nosuch",
    "pairs speed --corpus none --out x": "no such file or folder",
    "pairs speed --corpus m.csv --out x --set nosuch=1": "no option 'nosuch'",
    "bench run nosuch --out x": "unknown edit 'nosuch'",
    "bench run speed --engine nosuch --out x": "no engine 'nosuch'",
    "transcribe none.wav": "no such file",
    "decode bad.toml --reference a.wav -o x.wav": "not a readable codes file",
    "edit a.wav -e speed:factr=1 -o x.wav": "did you mean 'factor'?",
    "edit a.wav -e speed:factor=1.1 -o x.wav --engine nosuch": "no engine 'nosuch'",
}
_PROGRAM = """
import json, sys
from click.testing import CliRunner
from stepedit_core.cli.root import cli
calls, heavy = json.loads(sys.argv[1])
found = []
for given in calls:
    done = CliRunner().invoke(cli, given, prog_name="stepedit")
    found.append([done.exit_code, done.stderr, [name for name in heavy if name in sys.modules]])
print(json.dumps(found))
"""


def test_wrong_arguments_cost_no_heavy_import(tmp_path: Path) -> None:
    speech_like(0.5, 16_000).write(tmp_path / "a.wav")
    (tmp_path / "bad.toml").write_text("model = [")
    (tmp_path / "good.toml").write_text("model = 'm'\nout = 'o'\n")
    (tmp_path / "m.csv").write_text("path,text\na.wav,You came.\n")
    calls = {tuple(call.split()): why for call, why in _CALLS.items()}
    late = "masked:inner=(emotion:to=sad),spans=[[3,4]]"
    calls["edit", "a.wav", "-o", "x.wav", "-e", late, "--text", "No.", "--route", "llm"] = "ends af"
    calls[*_LLM, "-o", "x.xyz"] = "unknown audio format"
    calls[*_LLM, "-o", "x.wav", "--mark", "nosuch"] = "no mark 'nosuch'"
    calls[*_LLM, "-o", "x.wav", "--accept", "nosuch"] = "--accept nosuch"
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps([list(calls), _HEAVY])],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for (call, why), (code, said, heavy) in zip(
        calls.items(), json.loads(ran.stdout.splitlines()[-1]), strict=True
    ):
        assert code == 2 and why in said and not heavy, (call, code, said, heavy)


def test_help_lists_and_dsp_edits_cost_no_heavy_import(tmp_path: Path) -> None:
    speech_like(0.5, 16_000).write(tmp_path / "a.wav")
    edit = ["edit", "a.wav", "-o", "x.wav", "-e", "speed:factor=1.25"]
    calls = [["--help"], ["train", "--help"], ["bench", "--help"], ["edits"], ["plugins"], edit]
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps([calls, _HEAVY])],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found == [[0, found[n][1], []] for n in range(len(calls))]
