from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.hyperyaml import Component, build, read_hyperyaml


class Box:
    def __init__(self, size: int, inner: Any = None) -> None:
        self.size, self.inner = size, inner


TABLE = {"lib.Box": Box}


def read(tmp_path: Path, text: str) -> dict[str, Any]:
    file = tmp_path / "model.yaml"
    file.write_text(text)
    return read_hyperyaml(file)


def built(tmp_path: Path, text: str) -> dict[str, Any]:
    data = read(tmp_path, text)
    return {key: build(value, TABLE, data) for key, value in data.items()}


def test_builds_nested_components_and_follows_references(tmp_path: Path) -> None:
    data = built(
        tmp_path,
        "n: 3\nbox: !new:lib.Box\n  size: !ref <n>\n  inner: !new:lib.Box\n    size: 4\n"
        "again: !ref <box[size]>\nmaker: !name:lib.Box\n  size: 9\npair: !tuple [1, 2]\n"
        "seed: !apply:torch.manual_seed [1986]\nplain: [1, {a: 2.5}]\n",
    )
    assert (data["box"].size, data["box"].inner.size, data["again"]) == (3, 4, 3)
    assert isinstance(data["maker"], functools.partial) and data["maker"]().size == 9
    assert data["pair"] == (1, 2) and data["seed"] is None and data["plain"] == [1, {"a": 2.5}]


def test_reading_builds_nothing(tmp_path: Path) -> None:
    data = read(tmp_path, "box: !new:os.system\n  command: 'true'\n")
    assert isinstance(data["box"], Component) and data["box"].where.endswith("line 1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object/apply:os.system ['id']", "!!python/object/apply:os.system"),
        ("a: !!python/name:os.system", "!!python/name:os.system"),
        ("x: 1\na: !new:os.system\n  command: id", "line 2: !new:os.system"),
        ("a: !name:os.system", "!name:os.system"),
        ("a: !apply:os.system [id]", "!apply:os.system"),
        ("a: !apply:lib.Box [1]", "!apply:lib.Box"),
        ("a: !include:other.yaml", "!include:other.yaml"),
        ("a: 1\nb: !ref <a> * 2", "not evaluated"),
        ("b: !ref <gone>", "gone"),
        ("a: !ref <b>\nb: !ref <a>", "reference to itself"),
        ("a: !new:lib.Box\n  size: 1\n  colour: red", "colour"),
        ("a: !new:lib.Box", "size"),
        ("a: !new:lib.Box 3", "takes a mapping"),
        ("a: 1\na: 2", "given twice"),
        ("a: [1, 2", "not valid YAML"),
        ("- 1", "no mapping"),
        ("a: &x [1]\nb: [*x, *x]", "alias"),
        ("[" * 500, "nested deeper"),
    ],
)
def test_refuses_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        built(tmp_path, text)
    assert said in str(caught.value) and "model.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_chained_references_share_and_do_not_multiply(tmp_path: Path) -> None:
    lines = ["a0: [1]"]
    lines += [f"a{i}: [{', '.join([f'!ref <a{i - 1}>'] * 10)}]" for i in range(1, 40)]
    value = built(tmp_path, "\n".join(lines))["a39"]
    for _ in range(39):
        assert len(value) == 10 and value[0] is value[9]
        value = value[0]


def test_refuses_a_missing_and_an_oversized_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_hyperyaml(tmp_path / "gone.yaml")
    (tmp_path / "big.yaml").write_text("a: " + "x" * (2 << 20))
    with pytest.raises(CheckpointError, match="too large"):
        read_hyperyaml(tmp_path / "big.yaml")
