#!/usr/bin/env bash
# Makes .venv, then a small scene, an expert trained for a moment, a router for the four experts in demo/experts,
# videos and a table: bash scripts/demo.sh [FOLDER]
# Results go to FOLDER (output/demo). Ends with an error where the blend is not better than the experts.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
ensure_environment requirements.txt

out=${1:-output/demo}
show() {
    echo
    echo "\$ $*"
    "$@"
}

show python -m moegs_rasterizer.build
show python moegs.py demo-scene "$out/playroom"
echo "
How an expert is trained, cut short:"
show python moegs.py train-expert stg --source_path "$out/playroom" \
    --model_path "$out/trained/STG" --overwrite --iterations 400 --max_gaussians 3000 --test_iterations
echo "
The blend of experts that were trained for longer (demo/README.md):"
show python train_E4.py --source_path "$out/playroom" --save_path "$out/run" --overwrite \
    --model_path demo/experts/Ex4DGS --emb_path demo/experts/E-D3DGS \
    --stg_path demo/experts/STG --fgaussian_path demo/experts/4DGaussians \
    --iterations 250 --test_iterations 250 --test_frames 5
show python render_E4.py --save_path "$out/run" --skip_train
show python moegs.py figure "$out/run" --out "$out/figure.png"
show python moegs.py report "$out/run" --require_win
