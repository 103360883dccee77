#!/bin/sh
# The conformance suite in PyPy: Debian's package, installed if it is missing.
set -eu
cd "$(dirname "$0")/.."
if ! command -v pypy3 >/dev/null; then
    sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends pypy3 pypy3-venv
fi
venv=.venv-pypy
[ -x $venv/bin/python ] || pypy3 -m venv $venv
$venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
$venv/bin/python -m pytest -n 2 -q -rs tests/conformance "$@"
