#!/usr/bin/env bash
# Prepares every Neural 3D Video scene in a folder: bash scripts/preprocess_all_n3v.sh <path> [flags of moegs.py prepare]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/prepare_scenes.sh"
prepare_scenes n3v "poses_bounds.npy cam[0-9]*" "$@"
