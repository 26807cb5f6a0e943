# Sourced by the other scripts: `ensure_environment FILE...` makes .venv, installs the requirement files once per change
# of them, and activates it. TORCH_INDEX_URL, when set, is the package index that torch alone is taken from. Where there
# is no C++ compiler, Zig's is installed into .venv too: the rasterizer's PyTorch back-end is about fifty times slower.

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.12 python3.11 python3.10 python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python 3.10, 3.11 or 3.12 with the venv module found; install one or set PYTHON=/path/to/python" >&2
    return 1
}

ensure_environment() {
    local stamp files python
    files=("$@" constraints.txt pyproject.toml)
    stamp=$(cat "${files[@]}" | cksum)
    if [ "$(cat .venv/installed 2>/dev/null)" != "$stamp" ]; then
        python=$(find_python) || return 1
        echo "Installing into .venv with $("$python" --version) ..."
        "$python" -m venv --clear .venv || return 1
        if [ -n "${TORCH_INDEX_URL:-}" ]; then
            .venv/bin/pip install --quiet --disable-pip-version-check --index-url "$TORCH_INDEX_URL" -c constraints.txt torch || return 1
        fi
        local requirements=()
        for file in "$@"; do requirements+=(-r "$file"); done
        .venv/bin/pip install --quiet --disable-pip-version-check "${requirements[@]}" -c constraints.txt || return 1
        .venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-lpips.txt || return 1
        echo "$stamp" > .venv/installed
    fi
    # shellcheck disable=SC1091
    source .venv/bin/activate
    ensure_compiler
}

ensure_compiler() {
    [ -z "${CXX:-}" ] || return 0
    ! command -v g++ clang++ c++ > /dev/null || return 0
    echo "No C++ compiler found; using Zig's, from PyPI."
    python -c 'import ziglang' 2> /dev/null || pip install --quiet --disable-pip-version-check ziglang -c constraints.txt
    export CXX="$PWD/.venv/bin/python -m ziglang c++"
}
