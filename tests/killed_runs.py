"""Kill a command at many moments, go on, and compare what comes out with a run left alone.

    python -m tests.killed_runs edit|pairs|bench|train|sft FOLDER --random 12 --aimed 5 --seed 1

Everything is imported once; each attempt is a fork of this process that gets SIGKILL: after a
drawn share of the time that the whole run takes, or, aimed, at a drawn write: with half of a
file written, just before the file gets its name, and just after.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stepedit_core.testing import speech_like

AIMS = ("half", "before", "after")
Run = Callable[[Path], object]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def aim(moment: str, number: int) -> None:
    """Make this process kill itself at the given moment of the write with that number."""
    real = {"fsync": os.fsync, "replace": os.replace, "rename": os.rename}
    left = number

    def now() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").resolve()
        if moment == "half" and ".stepedit-" in path.name and now():
            os.truncate(path, path.stat().st_size // 2)
            _die()
        real["fsync"](handle)

    def naming(name: str) -> Callable[..., None]:
        def replace(*given: object, **options: object) -> None:
            counted = moment in ("before", "after") and now()
            if counted and moment == "before":
                _die()
            real[name](*given, **options)
            if counted:
                _die()

        return replace

    os.fsync = fsync  # type: ignore[assignment]
    os.replace, os.rename = naming("replace"), naming("rename")  # type: ignore[assignment]


def forked(run: Run, out: Path, before: Callable[[], None] = lambda: None) -> int:
    """Start a run in a fork that prints to ``OUT.log``; return its process number."""
    out.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        log = os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.setpgid(0, 0)
        before()
        run(out)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a process; return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def content(folder: Path) -> dict[str, bytes]:
    """Return the lasting files of a folder by name, without what names times or processes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.endswith((".log", ".html")) and path.name not in PASSING:
            found[name] = _reader(path.name)(path)
    return found


def _without_times(path: Path) -> bytes:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return json.dumps([{k: v for k, v in one.items() if k != "seconds"} for one in lines]).encode()


def _without_cost(path: Path) -> bytes:
    return json.dumps(json.loads(path.read_text()) | {"cpu_seconds": 0}).encode()


def _without_clock(path: Path) -> bytes:
    from stepedit_train.checkpoints import read_checkpoint

    return repr(_plain(read_checkpoint(path) | {"seconds": 0.0})).encode()


def _plain(value: object) -> object:
    """Return a checkpoint's values; its pickled bytes depend on which objects were one, too."""
    if isinstance(value, dict):
        return {
            str(key): _plain(one) for key, one in sorted(value.items(), key=lambda one: str(one[0]))
        }
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _losses(path: Path) -> bytes:
    history = json.loads(path.read_text())["log_history"]
    return json.dumps([entry.get("loss") for entry in history]).encode()


STABLE: dict[str, Callable[[Path], bytes]] = {
    "log.jsonl": _without_times,
    "trainer_state.json": _losses,
}


def _reader(name: str) -> Callable[[Path], bytes]:
    """Return how the lasting content of a file of that name is read."""
    if name.startswith("step-") and name.endswith(".pt"):
        return _without_clock
    is_report = name.startswith("block-") and name.endswith(".json")  # plans are JSON lines
    return STABLE.get(name, _without_cost if is_report else Path.read_bytes)


PASSING = {"training_args.bin", "timings.jsonl", "run.json", "journal.jsonl", "README.md"}
"""Files that hold times, paths or the order of arrival: their readers are tested elsewhere."""


def _corpus(folder: Path, count: int, seconds: float) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        speech_like(seconds, 16_000, seed=at).write(folder / f"{at:02}.wav") for at in range(count)
    ]


def _edit(folder: Path) -> Run:
    from stepedit_core.cli.root import cli

    inputs = [str(path) for path in _corpus(folder / "in", 16, 1.0)]
    chain = ["-e", "speed:factor=1.25", "-e", "style:to=whisper", "--route", "dsp", "--seed", "7"]
    return lambda out: cli.main(["edit", *inputs, "-o", str(out), *chain])


def _pairs(folder: Path) -> Run:
    from stepedit_core.cli.root import cli
    from tests.pairs.making import TOY, make_corpus

    manifest, _ = make_corpus(folder / "in", 40, broken=3)
    given = ["-p", str(TOY), "pairs", "quieter", "--corpus", str(manifest), "--block-size", "3"]
    return lambda out: cli.main([*given, "--min-margin", "1", "--out", str(out)])


def _bench(folder: Path) -> Run:
    from tests.bench.bench_kit import main

    return lambda out: main(str(out), "dsp", "0.02")


def _train(folder: Path) -> Run:
    from tests.train.small_run import run

    return lambda out: run(out, steps=60)


def _sft(folder: Path) -> Run:
    from stepedit_train.lm.sft import train_sft

    from stepedit_core.registry.registry import Registry, set_registry
    from tests import toy_edits
    from tests.toy_edits import Hiss
    from tests.train.lm.test_sft import make_model, settings
    from tests.train.making import make_pairs

    registry = Registry(disabled=())
    registry.register(toy_edits, "toys")
    set_registry(registry)
    make_model(folder / "base")
    make_pairs(folder / "pairs", [Hiss()] + [Hiss(amount="much")] * 6)
    return lambda out: list(train_sft(settings(folder, out=out, save_every=2, steps=10)))


COMMANDS: dict[str, Callable[[Path], Run]] = {
    "edit": _edit, "pairs": _pairs, "bench": _bench, "train": _train, "sft": _sft,
}  # fmt: skip


def differences(run: Run, out: Path, whole: dict[str, bytes]) -> list[str]:
    """Go on with a killed run to its end; say what differs from the run left alone."""
    if code := ended(forked(run, out)):
        return [f"exit code {code}: {out.with_suffix('.log').read_text()[-300:]}"]
    found = content(out)
    names = sorted({*found, *whole})
    return [name for name in names if found.get(name) != whole.get(name)]


def tear(out: Path, draw: random.Random) -> None:
    """Leave the beginning of a line in the journals of a killed run, as a kill in a write does."""
    for journal in [*out.glob("*journal*.jsonl"), *out.glob(".stepedit-edit*")]:
        if journal.is_file() and draw.random() < 0.5:
            with journal.open("ab") as file:
                file.write(b'{"unit": "torn')


def kill(run: Run, folder: Path, moments: int, aims: int, seed: int) -> dict[str, object]:
    """Kill runs at drawn moments, one or two to a run; return what was done and what is wrong."""
    draw = random.Random(seed)
    begun = time.monotonic()
    assert ended(forked(run, folder / "whole" / "run")) == 0, (
        folder / "whole" / "run.log"
    ).read_text()
    seconds, whole = time.monotonic() - begun, content(folder / "whole" / "run")
    plans = ["random"] * moments + [AIMS[n % len(AIMS)] for n in range(aims)]
    draw.shuffle(plans)
    wrong: list[str] = []
    done = {"random": 0, "aimed": 0}
    out, number = folder / "killed" / "run", 0
    for plan in [*plans, "finish"]:
        if plan == "finish" or (out.exists() and draw.random() < 0.5):
            wrong += [f"{number} {plan}: {one}" for one in differences(run, out, whole)]
            shutil.rmtree(out, ignore_errors=True)
        if plan == "finish":
            break
        for _ in range(20):  # a run that had ended before its moment is no kill
            number += 1
            if plan == "random":
                child = forked(run, out)
                time.sleep(draw.uniform(0, seconds))
                os.kill(child, signal.SIGKILL)
            else:
                at = draw.randrange(6)
                child = forked(run, out, lambda plan=plan, at=at: aim(plan, at))  # type: ignore[misc]
            if ended(child) == -signal.SIGKILL:
                done["random" if plan == "random" else "aimed"] += 1
                tear(out, draw)
                break
            shutil.rmtree(out, ignore_errors=True)
    return {"whole": len(whole), "seconds": seconds, "done": done, "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("folder", type=Path)
    for name in ("random", "aimed", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    run = COMMANDS[given.command](given.folder)
    print(json.dumps(kill(run, given.folder, given.random, given.aimed, given.seed)))


if __name__ == "__main__":
    main()
