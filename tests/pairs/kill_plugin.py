"""Kills its process at a chosen moment of a chosen shard's write (STEPEDIT_KILL=MOMENT:NUMBER)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

_moment, _, _number = os.environ.get("STEPEDIT_KILL", "never:0").partition(":")
_left = int(_number)
_write, _replace = Path.write_bytes, os.replace


def _now() -> bool:
    global _left
    _left -= 1
    return _left < 0


def _write_half(self: Path, content: Any) -> int:
    if _moment == "written-half" and ".parquet" in self.name and _now():
        with self.open("wb") as file:
            file.write(bytes(content)[: len(content) // 2])
            file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return _write(self, content)


def _replace_or_die(source: Any, target: Any) -> None:
    aimed = {"before-rename": ".parquet", "before-report": "block-"}.get(_moment)
    folder = Path(target).parent.name
    wanted = aimed is not None and aimed in Path(target).name and folder in ("shards", "blocks")
    if wanted and _now():
        os.kill(os.getpid(), signal.SIGKILL)
    _replace(source, target)
    if _moment == "after-rename" and ".parquet" in Path(target).name and _now():
        os.kill(os.getpid(), signal.SIGKILL)


Path.write_bytes = _write_half  # type: ignore[method-assign]
os.replace = _replace_or_die
