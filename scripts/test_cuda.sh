#!/usr/bin/env bash
# Runs every test that needs an NVIDIA GPU: bash scripts/test_cuda.sh. Further arguments go to pytest.
# bash scripts/test_cuda.sh --sanitize instead runs the small ones of test_cuda_sanitize.py under compute-sanitizer.
# Uses $PYTHON, else .venv, else python3, and installs nothing where its PyTorch sees a GPU; else it makes .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

package=submodules/diff-gaussian-rasterization

sees_gpu() {
    "$1" -c 'import torch; raise SystemExit(not torch.cuda.is_available())' 2> /dev/null
}

choose_python() {
    local candidate
    for candidate in "${PYTHON:-.venv/bin/python}" python3; do
        if sees_gpu "$candidate"; then
            python=$candidate
            return
        fi
    done
    ensure_environment requirements.txt requirements-dev.txt
    python=.venv/bin/python
    sees_gpu "$python" && return
    echo "error: PyTorch $("$python" -c 'import torch; print(torch.__version__)') sees no GPU; run this on a machine" \
        "with an NVIDIA GPU and its driver, with a CUDA build of PyTorch, or set PYTHON to a Python that has one" >&2
    return 1
}

# The rest of the project needs more than the rasterizer does.
choose_tests() {
    tests=("$package/tests" tests/benchmarks)
    local missing
    if missing=$("$python" -c 'import av, filelock, PIL, pycolmap, safetensors, tqdm, tyro' 2>&1); then
        tests=("$package/tests" tests)
    else
        echo "Left out: most of tests/, as ${missing##*Error: }; pip install -r requirements.txt" >&2
    fi
}

sanitize() {
    local tool
    if ! command -v compute-sanitizer > /dev/null; then
        echo "error: no compute-sanitizer on the PATH; it is in the bin folder of the CUDA toolkit, and" \
            '`pip install "cuda-toolkit[sanitizer]==13.0.*"` puts it into site-packages/nvidia/cu13/bin' >&2
        return 1
    fi
    # Each tensor as an allocation of its own: what lies outside one is then an error, and so is what was never written.
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    for tool in memcheck racecheck initcheck; do
        echo "compute-sanitizer --tool $tool"
        compute-sanitizer --tool "$tool" --error-exitcode 9 \
            "$python" -m pytest -m cuda -q "$package/tests/cuda/test_cuda_sanitize.py" "$@"
    done
}

choose_python
export PYTHONPATH="$PWD/$package${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$python" -m moegs_rasterizer.build
"$python" -m moegs_rasterizer.build --cuda
if [ "${1:-}" = --sanitize ]; then
    sanitize "${@:2}"
else
    choose_tests
    "$python" -m pytest -m cuda -q "${tests[@]}" "$@"
fi
