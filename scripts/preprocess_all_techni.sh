#!/usr/bin/env bash
# Prepares every Technicolor scene in a folder: bash scripts/preprocess_all_techni.sh <path> [flags of moegs.py prepare]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/prepare_scenes.sh"
prepare_scenes technicolor "cameras_parameters.txt *_undist_*" "$@"
