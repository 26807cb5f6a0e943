#!/usr/bin/env bash
# Makes .venv, then a small scene, four experts for it, a router, videos and a table: bash scripts/demo.sh [FOLDER]
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
show python moegs.py demo-experts "$out/playroom" "$out/experts" --cache_path "$out/cache"
show python train_E4.py --source_path "$out/playroom" --cache_path "$out/cache" --save_path "$out/run" --overwrite \
    --model_path "$out/experts/Ex4DGS" --emb_path "$out/experts/E-D3DGS" \
    --stg_path "$out/experts/STG" --fgaussian_path "$out/experts/4DGaussians" \
    --iterations 250 --test_iterations 250 --test_frames 5
show python render_E4.py --save_path "$out/run" --skip_train
show python moegs.py demo-figure "$out/run" "$out/figure.png"
show python moegs.py demo-report "$out/run"
