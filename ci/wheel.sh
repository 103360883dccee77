#!/bin/sh
# Build the wheel, install it in an environment of its own, and run the conformance suite from it
# in an empty folder: what is tested is what is shipped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --outdir "$work/dist" "$root" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "$work"/dist/*.whl pytest pytest-xdist pytest-timeout

mkdir "$work/elsewhere"
cd "$work/elsewhere"
"$work/venv/bin/python" -c '
import netcore, importlib.util as u
print("netcore from", netcore.__file__)
assert u.find_spec("backends") is None and u.find_spec("tests") is None, "stray top-level packages"
'
"$work/venv/bin/python" -m netcore
"$work/venv/bin/python" -m pytest -q -rs -n 2 --pyargs netcore.conformance "$@"
mkdir -p "$root/dist"
cp "$work"/dist/* "$root/dist/"
