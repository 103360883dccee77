#!/usr/bin/env bash
# The tests with whatever Python is there, in an environment of its own; for every OS.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m venv .venv-ci
if [ -d .venv-ci/Scripts ]; then bin=.venv-ci/Scripts; else bin=.venv-ci/bin; fi
"$bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[test]'
"$bin/python" -m netcore
"$bin/python" -m pytest -n 2 -q -rs --netcore-report "$@"
