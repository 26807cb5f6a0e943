#!/usr/bin/env bash
# Trains three experts and the router of every Technicolor scene in a folder, and makes one table:
# bash scripts/run_techni.sh <path> [flags of moegs.py run-all, which beat those below]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/prepare_scenes.sh"
python=$(choose_python "$root")
exec "$python" "$root/moegs.py" run-all --output output/techni --ensemble E3_tech "$@"
