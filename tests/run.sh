#!/usr/bin/env bash
# Install stepedit with all that its tests need into .venv, then check and test it.
#   tests/run.sh            the default tier
#   tests/run.sh -m slow    anything after the name goes to pytest
set -euo pipefail
cd "$(dirname "$0")/.."

# Optional programs, for the tests of the routes that use them; tests skip what is absent.
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    need=()
    for package in sox rubberband-cli libsndfile1 python3-venv; do
        dpkg -s "$package" >/dev/null 2>&1 || need+=("$package")
    done
    # Two of the libraries that the tests compare with come as sources alone.
    command -v cc >/dev/null || need+=(gcc g++ python3-dev)
    if [ ${#need[@]} -gt 0 ]; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
    fi
fi

[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]' 2>&1 |
    { grep -v '^WARNING: Location' || true; }

# Two test processes with one thread each use two cores better than one with two threads.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
if [ $# -gt 0 ]; then
    exec .venv/bin/pytest "$@"
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/pytest -n 2 --dist loadfile --durations=10
echo "Not run here: tests marked slow (tests/run.sh -m slow) and gpu (tests/run.sh -m gpu)."
echo "Coverage: tests/run.sh --cov --cov-report=term:skip-covered"
