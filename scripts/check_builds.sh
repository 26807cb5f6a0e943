#!/usr/bin/env bash
# Compiles the CUDA back-end for all GPUs that it is meant for, warnings being errors: bash scripts/check_builds.sh 13.0
# Arguments: versions of CUDA from 13.0 on, which come from PyPI, and folders of toolkits (/usr/local/cuda-12.8).
# Needs no GPU. ARCHS chooses other GPUs. Uses $PYTHON, else .venv, which is made where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

if [ $# = 0 ]; then
    echo "error: no toolkit is named; give versions from 13.0 on, or folders that hold bin/nvcc" >&2
    exit 2
fi
if [ -z "${PYTHON:-}" ]; then
    ensure_environment requirements.txt
    PYTHON=.venv/bin/python
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH="$PWD/submodules/diff-gaussian-rasterization${PYTHONPATH:+:$PYTHONPATH}"
export MOEGS_RASTERIZER_CUDA_FLAGS="${MOEGS_RASTERIZER_CUDA_FLAGS:-} -Werror=all-warnings"
archs=${ARCHS:-80;86;89;90;100;120}

# The folder of a toolkit, which is fetched where a version is named.
folder_of() {
    if [ -x "$1/bin/nvcc" ]; then
        echo "$1"
        return
    fi
    if [[ ! $1 =~ ^[0-9]+\.[0-9]+$ ]]; then
        echo "error: $1/bin/nvcc: no such program; give the folder of a toolkit, or a version such as 13.0" >&2
        return 1
    fi
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --target "$scratch/$1" \
        "cuda-toolkit[nvcc,cudart,cccl]==$1.*" >&2 || return 1
    if [ ! -x "$scratch/$1/nvidia/cu${1%%.*}/bin/nvcc" ]; then
        echo "error: PyPI has no nvcc of CUDA $1, but those from 13.0 on; install the toolkit and give its folder" >&2
        return 1
    fi
    echo "$scratch/$1/nvidia/cu${1%%.*}"
}

# Compiles with the toolkit of a folder; another one that is found in its place does not count.
check() {
    local version said library seconds
    version=$("$1/bin/nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p') || return 1
    said=$(CUDA_HOME=$1 "$PYTHON" -m moegs_rasterizer.build --cuda --cuda_archs "$archs") || return 1
    library=${said##*: }
    [[ $library == */cuda$version-sm* ]] || return 1
    seconds=$(grep -o '[0-9.]* s:' <<< "$said" | tr : ,)
    echo "CUDA $version, $archs: compiled without warnings in $seconds $(du -m "$library" | cut -f1) MB"
}

failed=0
for toolkit in "$@"; do
    export MOEGS_RASTERIZER_CACHE="$scratch/cache-${toolkit//\//_}"
    if folder=$(folder_of "$toolkit"); then
        check "$folder" || { echo "error: $toolkit: does not compile without warnings for $archs" >&2; failed=1; }
    else
        failed=1
    fi
    rm -rf "$MOEGS_RASTERIZER_CACHE"
done
exit $failed
