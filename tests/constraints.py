"""Print the versions that this environment has of all that stepedit's tests need.

    .venv/bin/python tests/constraints.py > tests/constraints.txt

Run it where the whole suite has just passed. The file pins every package that the `test` extra
brings, so that an installation of today is an installation of then.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHON = ".".join(map(str, sys.version_info[:2]))
HEADER = f"""\
# The versions that the whole suite passes with, on Python {PYTHON}.
# Written by `python tests/constraints.py`; used by `pip install -c tests/constraints.txt .`,
# tests/run.sh and .ci/run. `tests/run.sh --newest` and `--lowest` go without it.
"""


def versions(root: str, extras: tuple[str, ...]) -> dict[str, str]:
    """Return the installed versions of all that a distribution needs, by canonical name.

    Local labels are left out ("2.13.0+cpu" is "2.13.0"): a constraint without one allows both.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(root, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        found[canonicalize_name(name)] = re.sub(r"\+.*", "", package.version)
        for text in package.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(needed.name), also) for also in ("", *needed.extras)]
    found.pop(canonicalize_name(root), None)
    return found


def main() -> None:
    """Print the constraints file."""
    pinned = versions("stepedit", ("test",))
    print(
        HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(pinned.items())), end=""
    )


if __name__ == "__main__":
    main()
