#!/usr/bin/env bash
# Makes .venv, then runs style, types and all tests. Further arguments go to pytest: bash scripts/test.sh -k router
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
ensure_environment requirements.txt requirements-dev.txt

ruff check .
ruff format --check .
mypy
python -m moegs_rasterizer.build
OMP_NUM_THREADS=1 python -m pytest -n 2 --dist worksteal -m "not cuda" -q "$@"
