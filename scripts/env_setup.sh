#!/usr/bin/env bash
# Makes the virtual environment .venv with all that is needed, and checks it: bash scripts/env_setup.sh
# TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu takes the small CPU build of PyTorch; PYTHON chooses the Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
ensure_environment requirements.txt

echo "Packages:"
python - <<'CHECK'
import importlib
import sys

failed = []
for name in ("torch", "numpy", "scipy", "PIL", "av", "safetensors", "pycolmap", "tyro", "tqdm", "filelock", "moegs_rasterizer"):
    try:
        module = importlib.import_module(name)
        print(f"  {name} {getattr(module, '__version__', '')}".rstrip())
    except Exception as error:  # a wheel that does not fit the system fails in many ways
        failed.append(name)
        print(f"  {name}: {type(error).__name__}: {error}")
if failed:
    sys.exit(f"error: {', '.join(failed)} cannot be imported; remove .venv and run this again")

from scenes.preparation.sfm.matching import device_for, pycolmap_module

print(f"  COLMAP finds features on the {device_for(pycolmap_module()).name.upper()}")
CHECK

python -m moegs_rasterizer.build || echo "CPU back-end: not compiled; plain PyTorch takes its place, some fifty times slower"
python - <<'CHECK'
from moegs_rasterizer import cuda

reason = cuda.unavailable_reason()
print("GPU back-end: runs" if reason is None else f"GPU back-end: does not run: {reason}")
CHECK
echo "Done. Use it by: source .venv/bin/activate"
