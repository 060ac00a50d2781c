"""Seeded mutations of stores and tables through the real entry points.

Whatever a file holds: exit code 0, 1 or 2, one line under 400 characters that names the cause
and is no raw error, nothing partial left, bounded time and memory. More of them:
``STEPEDIT_MUTATIONS=2000 pytest tests/test_mutations.py``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from stepedit_bench import plugin as bench_plugin
from stepedit_bench.runner import BenchConfig, run_bench
from stepedit_pairs import plugin as pairs_plugin
from stepedit_train import plugin as train_plugin

from stepedit_core.cli.root import cli
from stepedit_core.pair_rows import shard_paths
from stepedit_core.registry.registry import Registry, set_registry
from tests.bench.bench_kit import LightMeasures, cases
from tests.bench.bench_kit import plugin as gain_plugin
from tests.pairs.making import TOY, make_corpus, run_toy

COUNT = int(os.environ.get("STEPEDIT_MUTATIONS", "300"))
RAW = re.compile(r"\b\w*(?:Error|Exception)\b: |Traceback|--debug shows where")
NASTY = (
    b"NaN", b"1e999", b"-1", b"999999999999999999999", b'"', b"\x00", b"\xff\xfe", b"\x1b[2J",
    b"=1+1", b"#", b"{", b"[" * 3000, b"}", b",", b"\t", b"|", b"null", b"true", b"\n", b"\r",
    "\u2028".encode(), b"../../x", b"'" * 50, b"x" * 70_000, b'"a":', b"$\\nope$",
)  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a content with one to three changes."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(data) + 1)
        stop = min(len(data), start + rng.choice((1, 1, 4, 20, 200)))
        way = rng.randrange(6)
        if way == 0 and start < len(data):
            data[start] ^= 1 << rng.randrange(8)
        elif way == 1:
            del data[start:stop]
        elif way == 2:
            data[start:start] = data[start:stop]
        elif way == 3:
            data[start:start] = rng.choice(NASTY)
        elif way == 4:
            data[start:stop] = rng.randbytes(stop - start)
        else:
            del data[start : len(data) if rng.random() < 0.3 else stop]
    return bytes(data)


def revalued(content: bytes, rng: random.Random) -> bytes:
    """Return JSON lines, or a JSON file, with one value changed for a value of another kind."""
    whole = content.count(b"\n}") == 1
    lines = [content] if whole else content.splitlines()
    number = rng.randrange(len(lines))
    data = json.loads(lines[number])
    place = data
    while isinstance(place, dict) and place:
        key = rng.choice(sorted(place))
        if isinstance(place[key], dict) and place[key] and rng.random() < 0.6:
            place = place[key]
            continue
        if rng.random() < 0.3:
            del place[key]
        else:
            place[key] = rng.choice((None, 3, -1.5, "x", "", [], {}, [1], {"a": 1}, True, 10**30))
        break
    lines[number] = json.dumps(data).encode()
    return b"\n".join(lines) + b"\n"


def call(*args: str) -> tuple[int, str]:
    """Run a command line; return its exit code and what it wrote to standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(list(args))
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return code, err.getvalue()


def problem(code: int, err: str) -> str | None:
    """Say what is wrong with how a command ended, or return None."""
    if code not in (0, 1, 2):
        return f"exit code {code}"
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    if RAW.search(err):
        return "raw error"
    if code == 0:
        return None
    if len(lines) != 1 or len(lines[0]) >= 400 or not lines[0].isprintable():
        return "not one printable line under 400 characters"
    return None


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make one of each store, with small plugins registered."""
    root = tmp_path_factory.mktemp("stores")
    registry = Registry(disabled=())
    for module, name in ((pairs_plugin, "pairs"), (bench_plugin, "bench"), (train_plugin, "train")):
        registry.register(module, name)
    registry.register_file(TOY)
    gain = gain_plugin(cases(2))
    del type(gain).stepedit_judges  # its name is taken by the toy's judge
    registry.register(gain, "gain")
    set_registry(registry)
    manifest, _ = make_corpus(root / "corpus", 3)
    run_toy(root / "run", manifest, min_margin=1.0)
    run_bench(BenchConfig(edits=("gain",)), root / "bench", measures=LightMeasures())
    yield root
    set_registry(None)


def manifest_case(stores: Path, folder: Path, rng: random.Random) -> tuple[str, ...]:
    """Mutate a manifest of three rows and build pairs from it."""
    header, rows = "path,text,speaker", [f"000{n}.wav,words {n},s{n}" for n in range(3)]
    kind = rng.choice(("csv", "tsv", "jsonl", "semicolon"))
    mark = {"tsv": "\t", "semicolon": ";"}.get(kind, ",")
    text = "\n".join((header, *rows)).replace(",", mark) + "\n"
    if kind == "jsonl":
        names = header.split(",")
        text = "".join(
            json.dumps(dict(zip(names, row.split(","), strict=True))) + "\n" for row in rows
        )
    for path in (stores / "corpus").glob("*.wav"):
        shutil.copyfile(path, folder / path.name)
    file = folder / f"m.{'csv' if kind == 'semicolon' else kind}"
    encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"))
    content = text.encode(encoding)
    change = revalued if kind == "jsonl" and encoding == "utf-8" and rng.random() < 0.5 else mutated
    file.write_bytes(change(content, rng))
    return ("pairs", "quieter", "--corpus", str(file), "--out", str(folder / "out"),
            "--set", "copies=1", "--min-margin", "1")  # fmt: skip


def shard_case(stores: Path, folder: Path, rng: random.Random) -> tuple[str, ...]:
    """Mutate a shard, with its checksum or as older releases wrote it, and export it."""
    shutil.copytree(stores / "run", folder / "run")
    (shard,) = shard_paths(folder / "run")
    if rng.random() < 0.5:
        pq.write_table(pq.read_table(shard), shard)
    shard.write_bytes(mutated(shard.read_bytes(), rng))
    return "pairs-export", str(folder / "run"), str(folder / "out.jsonl")


def run_case(stores: Path, folder: Path, rng: random.Random) -> tuple[str, ...]:
    """Mutate a plan, block or settings file of a run, and go on with it."""
    shutil.copytree(stores / "run", folder / "run")
    files = [path for path in (folder / "run").rglob("*.json*") if path.stat().st_size]
    file = rng.choice(sorted(files))
    content = file.read_bytes()
    change = revalued if not content.startswith(b"[") and rng.random() < 0.6 else mutated
    file.write_bytes(change(content, rng))
    return "pairs-export", str(folder / "run"), str(folder / "out.jsonl")


def resumed_case(stores: Path, folder: Path, rng: random.Random) -> tuple[str, ...]:
    """Mutate a file of a run, and call the command that made it."""
    run_case(stores, folder, rng)
    corpus = stores / "corpus" / "speech.csv"
    return ("pairs", "quieter", "--corpus", str(corpus), "--out", str(folder / "run"),
            "--min-margin", "1")  # fmt: skip


def bench_case(stores: Path, folder: Path, rng: random.Random) -> tuple[str, ...]:
    """Mutate settings or results of the bench, and read them."""
    shutil.copytree(stores / "bench", folder / "bench")
    file = folder / "bench" / rng.choice(("run.json", "results.jsonl", "results.jsonl"))
    change = revalued if rng.random() < 0.7 else mutated
    file.write_bytes(change(file.read_bytes(), rng))
    if rng.random() < 0.5:
        return "bench", "compare", str(stores / "bench"), str(folder / "bench")
    return "bench", "report", str(folder / "bench"), "--no-players"


def toml_case(stores: Path, folder: Path, rng: random.Random) -> tuple[str, ...]:
    """Mutate the settings of a training stage whose model does not exist."""
    text = (
        'model = "no-such-model"\nout = "out"\nepochs = 1.0\ntokens = 16384\n'
        'learning_rate = 1e-5\nprecision = "auto"\n\n'
        '[[data]]\npath = "pairs/emotion"\nshare = 1.0\n'
    )
    assert tomllib.loads(text)
    (folder / "s.toml").write_bytes(mutated(text.encode(), rng))
    return "train", "sft", "--config", str(folder / "s.toml")


CASES: dict[Callable[[Path, Path, random.Random], tuple[str, ...]], int] = {
    manifest_case: 30, shard_case: 25, run_case: 10, resumed_case: 5, bench_case: 15, toml_case: 15,
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_mutations(stores: Path, tmp_path: Path, kind: Callable[..., tuple[str, ...]]) -> None:
    share = CASES[kind] / sum(CASES.values())
    wrong, before = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(round(COUNT * share)):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        args = kind(stores, folder, random.Random(f"{kind.__name__}/{seed}"))
        begun = time.process_time()
        code, err = call(*args)
        found = problem(code, err)
        if time.process_time() - begun > 10:
            found = "more than 10 s"
        left = [str(path) for path in folder.rglob(".*")]
        left += [str(path) for path in folder.glob("out*")] if code == 2 else []
        if found or left:
            wrong.append(f"seed {seed}: {found} {left} {code} {err.strip()[-300:]}")
        shutil.rmtree(folder)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    assert grown < 1, f"{grown:.2f} GB more"
    assert not wrong, "\n".join(wrong)
