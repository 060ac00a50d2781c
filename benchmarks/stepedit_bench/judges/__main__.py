"""Run ``python -m stepedit_bench.judges``."""

from stepedit_bench.judges.commands import main

main()
