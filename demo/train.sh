#!/usr/bin/env bash
# Makes the experts of demo/experts anew: bash demo/train.sh [FOLDER]. Results go to FOLDER (output/demo_experts).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
ensure_environment requirements.txt

out=${1:-output/demo_experts}
train() { # the expert's name on the command line and in demo/, its folder
    OMP_NUM_THREADS=1 python moegs.py train-expert "$1" --source_path "$out/playroom" \
        --model_path "$out/$2" --device cpu --overwrite --config "demo/$1.json"
}
python moegs.py demo-scene "$out/playroom"
train ex4dgs Ex4DGS
train ed3dgs E-D3DGS
train stg STG
train 4dgaussians 4DGaussians
