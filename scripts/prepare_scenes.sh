# Sourced by preprocess_all_n3v.sh and preprocess_all_techni.sh: `prepare_scenes KIND "PATTERN ..." PATH FLAGS...`
# prepares every folder in PATH that holds a file by one of the patterns, or PATH itself where it does. A scene that
# fails does not stop the others; the exit code is 1 when one did, 2 when there is no scene or no Python.
# `choose_python ROOT`, also of run_n3v.sh and run_techni.sh, prints the Python of the checkout.

choose_python() {
    local root=$1
    if [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
    elif [ -n "${VIRTUAL_ENV:-}" ]; then
        echo python
    elif [ -x "$root/.venv/bin/python" ]; then
        echo "$root/.venv/bin/python"
    else
        echo "error: no .venv in $root; run bash scripts/env_setup.sh, or set PYTHON=/path/to/python" >&2
        return 2
    fi
}

is_scene() {
    local folder=$1 pattern
    for pattern in "${@:2}"; do
        ! compgen -G "$folder/$pattern" > /dev/null || return 0
    done
    return 1
}

# Fills `scenes`.
find_scenes() {
    local path=$1 folder
    scenes=()
    if is_scene "$path" "${@:2}"; then
        scenes=("$path")
        return
    fi
    for folder in "$path"/*/; do
        if is_scene "${folder%/}" "${@:2}"; then
            scenes+=("${folder%/}")
        elif [ -d "$folder" ]; then
            echo "left out: ${folder%/}: holds none of ${*:2}"
        fi
    done
}

prepare_scenes() {
    local kind=$1 patterns=() path=${3:-} root python scene code failed=()
    read -ra patterns <<< "$2"
    if [ -z "$path" ] || [ ! -d "$path" ]; then
        echo "error: ${path:-nothing given}: no such folder; give the folder that holds the scenes' folders" >&2
        return 2
    fi
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    python=$(choose_python "$root") || return 2
    find_scenes "${path%/}" "${patterns[@]}"
    if [ ${#scenes[@]} = 0 ]; then
        echo "error: $path: no scene found: no folder in it holds any of ${patterns[*]}" >&2
        return 2
    fi
    for scene in "${scenes[@]}"; do
        echo "== $scene"
        code=0
        "$python" "$root/moegs.py" prepare "$kind" "$scene" "${@:4}" || code=$?
        [ "$code" != 130 ] || return 130
        [ "$code" = 0 ] || failed+=("$scene")
    done
    echo "$((${#scenes[@]} - ${#failed[@]})) of ${#scenes[@]} scenes prepared${failed:+; failed: ${failed[*]}}"
    [ ${#failed[@]} = 0 ]
}
