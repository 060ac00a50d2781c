"""Word errors of the draw that is chosen, by who chooses, for judges that chose nothing.

python choose.py DRAWS.jsonl

DRAWS.jsonl: of ``draws.py``. Of the draws whose codes read best so many are compared by the sum of
their ranks; differences from those that ship so far, the best of four read again, with 95 % over
requests.
"""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Row = dict[str, Any]
EARS, JUDGES = ("again", "hama", "tiny"), ("whisper", "sphinx")
UNHEARD = -99.0


def chosen(row: Row, ears: tuple[str, ...], most: int) -> int:
    """Return the draw with the best sum of ranks by some ears, of so many that read best."""
    best = np.argsort(-np.array(row["codes"]), kind="stable")[:most]
    heard = (np.array([UNHEARD if one is None else one for one in row[ear]]) for ear in ears)
    ranks = np.sum([rankdata(values[best]) for values in heard], axis=0)
    return int(best[np.argmax(ranks)])


def main(path: str) -> None:
    """Print a line for each choice."""
    rows: list[Row] = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    words = np.array([len(row["text"].split()) for row in rows], float)
    again = np.random.default_rng(0).integers(len(rows), size=(4000, len(rows)))

    def errors(places: list[int], judge: str) -> npt.NDArray[np.float64]:
        return np.array([row[judge][at] for row, at in zip(rows, places, strict=True)])

    known = [chosen(row, ("again",), 4) for row in rows]
    print(f"{len(rows)} requests")
    for judge in JUDGES:
        for name, pick in (("any", np.mean), ("best", np.min)):
            values = [float(pick(row[judge])) for row in rows]
            print(f"{name:24} {judge} {np.average(values, weights=words):.1%}")
    sets = [one for count in (1, 2, 3) for one in combinations(EARS, count)]
    for ears, most in [(("codes",), 1), *((one, n) for n in (4, 8, 12) for one in sets)]:
        places, line = [chosen(row, ears, most) for row in rows], f"{most:2} by {'+'.join(ears):18}"
        for judge in JUDGES:
            own, gain = errors(places, judge), errors(places, judge) - errors(known, judge)
            change = [np.average(gain[i], weights=words[i]) for i in again]
            low, high = np.quantile(change, (0.025, 0.975))
            line += f" {judge} {np.average(own, weights=words):.1%} ({low:+.1%} to {high:+.1%})"
        print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
