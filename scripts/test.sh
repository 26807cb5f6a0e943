#!/usr/bin/env bash
# Makes .venv, then runs style, types and all tests that need no GPU (scripts/test_cuda.sh runs the others).
# Further arguments go to pytest: bash scripts/test.sh -k router
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
unset PYTHONDONTWRITEBYTECODE # without bytecode, each of the tests' processes would compile all sources again
# pip would compile all packages, one after the other: Python compiles the small part of them that is imported.
PIP_COMPILE=no ensure_environment requirements.txt requirements-dev.txt requirements-docs.txt

ruff check .
ruff format --check .
types=$(mktemp)
trap 'rm -f "$types"' EXIT
check_types() { # and then collects the tests once: pytest keeps their bytecode, which each worker would make anew
    local checked=0
    mypy > "$types" 2>&1 || checked=$?
    python -m pytest --collect-only -q > /dev/null 2>&1 || true # the tests' own run tells of errors
    return "$checked"
}
check_types & # beside the compilers, as each of them takes one core
python -m moegs_rasterizer.build
if command -v nvcc > /dev/null; then
    python -m moegs_rasterizer.build --cuda
else
    echo "moegs_rasterizer: CUDA back-end left out, as there is no nvcc on the PATH"
fi
checked=0
wait $! || checked=$?
cat "$types"
[ "$checked" = 0 ] || exit "$checked"
browser=$(command -v chromium chromium-browser google-chrome | head -n 1 || true)
if [ -n "$browser" ]; then
    echo "tests in a browser: $browser"
else
    echo "tests in a browser left out, as there is no chromium on the PATH (apt install chromium)"
fi
OMP_NUM_THREADS=1 python -m pytest -n 2 --dist worksteal -m "not cuda" -q "$@"
