#!/usr/bin/env bash
# Install stepedit with all that its tests need, and test it. Linting is .ci/run's.
#   tests/run.sh             the default tier, with the versions of tests/constraints.txt (.venv)
#   tests/run.sh --light     core, chains, registry, dsp plugins, command line: no torch (.venv-light)
#   tests/run.sh --newest    the newest versions that pyproject.toml allows (.venv-newest)
#   tests/run.sh --lowest    the lowest versions that it allows (.venv-lowest)
#   tests/run.sh --install   install alone
# What follows goes to pytest: tests/run.sh -m slow, tests/run.sh --lowest tests/core.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=tested
case "${1:-}" in
    --light | --newest | --lowest | --install)
        mode="${1#--}"
        shift
        ;;
esac
home=.venv
case "$mode" in light | newest | lowest) home=".venv-$mode" ;; esac

# Optional programs, for the tests of the routes that use them; tests skip what is absent.
system_packages() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 0
    local need=() package
    for package in sox rubberband-cli libsndfile1 python3-venv; do
        dpkg -s "$package" >/dev/null 2>&1 || need+=("$package")
    done
    # Two of the libraries that the tests compare with come as sources alone.
    [ "$mode" = light ] || command -v cc >/dev/null || need+=(gcc g++ python3-dev)
    [ ${#need[@]} -gt 0 ] || return 0
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
}

pip_install() {
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check "$@" 2>&1 |
        { grep -v '^WARNING: Location' || true; }
}

# uv finds versions that fit together and fetches them in a minute; pip takes five for the tested
# ones, which are given, and most of an hour where it has to look for the lowest.
uv_install() {
    pip_install uv &&
        UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}" "$home/bin/uv" pip install --quiet \
            --python "$home/bin/python" "$@" -e '.[test]'
}

packages() {
    case "$mode" in
        light)
            pip_install -c tests/constraints.txt -r tests/light.txt
            pip_install -c tests/constraints.txt --no-deps silero-vad
            pip_install --no-deps -e .
            ;;
        newest) uv_install --upgrade ;;
        lowest) uv_install --resolution lowest-direct ;;
        # Where uv is not to be had, or pip alone is told of an index, pip brings the same versions.
        *) uv_install -c tests/constraints.txt ||
            pip_install -c tests/constraints.txt -e '.[test]' ;;
    esac
}

system_packages
[ -x "$home/bin/python" ] || python3 -m venv "$home"
packages
[ "$mode" != install ] || exit 0

# Two test processes with one thread each use two cores better than one with two threads.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# What the author of a plugin needs to see pass: the contract and what stands under it, edits by dsp,
# the command line. Left to the default tier: figures of voices, noises and instruments, pair
# builders and scorers of the plugins that ship, recognisers, interpreters, marks, the demo page,
# and the contract of the edits whose dsp takes long.
light_tests=(
    -k 'not (test_builtin_edits and (emotion or masked or paralinguistic or pitch or style))'
    tests/{core,chain,registry,llm_route,contract}
    tests/dsp/test_{acoustics,active_level,alignment,channels,loudness,pauses,splicing,vad,words}.py
    tests/cli/test_{accepting,bad_input,codes,edit_command,engine_options,interrupting,listing}.py
    tests/cli/test_{new_and_check,recordings,streams_and_resuming,tables}.py
    tests/plugins/test_{clone,denoise,emotion,masked,pause,redact,speed,text,trim_silence,volume}.py
)
if [ "$mode" = light ] && [[ " $* " != *" tests"* ]]; then
    set -- -n 2 --dist loadfile "$@" "${light_tests[@]}"
fi
if [ $# -gt 0 ]; then
    exec "$home/bin/python" -m pytest "$@"
fi
exec "$home/bin/python" -m pytest -n 2 --dist loadfile --durations=10
