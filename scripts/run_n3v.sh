#!/usr/bin/env bash
# Trains four experts and the router of every Neural 3D Video scene in a folder, 300 frames each, and makes one table:
# bash scripts/run_n3v.sh <path> [flags of moegs.py run-all, which beat those below]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/prepare_scenes.sh"
python=$(choose_python "$root")
exec "$python" "$root/moegs.py" run-all --output output/n3v --ensemble E4 --data_args='--duration 300' "$@"
