#!/bin/sh
# Make a virtual environment and install this project into it. Needs Python 3.11 or newer, pip and a package index.
#
#   scripts/venv.sh DIRECTORY [PIP ARGUMENTS...]
#
# uv does the work, because it is many times faster than pip. It is taken from the PATH, and otherwise installed into DIRECTORY.
# Settings: PYTHON (an interpreter), UV (a uv binary).
set -eu

venv=$1
shift

fail() {
    echo "error: $*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or newer"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python"
}

# Installed modules without bytecode make every Airflow process start twice as slowly.
unset PYTHONDONTWRITEBYTECODE

python=$(find_python)

# uv does not read pip's settings, so what pip was told about the index and its certificate is handed on.
pip_setting() {
    # `list`, because `get` looks at one of pip's files only.
    "$python" -m pip config list 2>/dev/null | sed -n "s/^global\.$1='\(.*\)'\$/\1/p" || true
}
index=${PIP_INDEX_URL:-$(pip_setting index-url)}
cert=${PIP_CERT:-$(pip_setting cert)}
if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$index"; fi
if [ -n "$cert" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE="$cert"; fi

uv=${UV:-$(command -v uv || true)}
if [ ! -x "$venv/bin/python" ]; then
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --no-config --python "$python" "$venv"
    else
        "$python" -m venv "$venv" || fail "cannot make a virtual environment; on Debian, install python3-venv"
    fi
fi
if [ -z "$uv" ]; then
    uv=$venv/bin/uv
    [ -x "$uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
fi
if [ $# -gt 0 ]; then
    "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" "$@"
fi
