"""Move weights from a model towards, or past, the mean of runs that began with it.

python mean.py START OUT SHARE RUN/model...
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


def main(start: str, out: str, share: float, runs: Sequence[str]) -> None:
    """Write the model folder ``OUT``; share 1 is the mean of the runs."""
    before = load_file(Path(start) / WEIGHTS)
    after = [load_file(Path(run) / WEIGHTS) for run in runs]
    shutil.copytree(runs[0], out)
    with safe_open(Path(runs[0]) / WEIGHTS, "pt") as file:
        metadata = file.metadata()
    made = {
        name: (
            own.double()
            + share * (sum(one[name].double() for one in after) / len(after) - own.double())
        ).to(own.dtype)
        for name, own in before.items()
    }
    save_file(made, Path(out) / WEIGHTS, metadata=metadata)


if __name__ == "__main__":
    main(*sys.argv[1:3], float(sys.argv[3]), sys.argv[4:])
