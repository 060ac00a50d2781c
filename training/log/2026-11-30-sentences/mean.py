"""mean.py OUT FILE WEIGHT [FILE WEIGHT ...]: the weighted mean of language models' weights."""

import sys

from safetensors.torch import load_file, save_file

out, *rest = sys.argv[1:]
total = None
for path, weight in zip(rest[::2], map(float, rest[1::2]), strict=True):
    own = {name: weight * value.float() for name, value in load_file(path).items()}
    total = own if total is None else {name: total[name] + own[name] for name in own}
save_file(total, out, metadata={"format": "pt"})
