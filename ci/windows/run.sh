#!/bin/sh
# Run a command in a real Windows Python under Wine, with netcore's wheel installed, starting from
# a bare Debian 12 if need be.
#
#   ci/windows/run.sh [-3.N] [--wheel FILE] ARGUMENTS...
#   ci/windows/run.sh -3.13 -m pytest -n 2 tests
#
# Without --wheel a wheel is built from the checkout.  See winpy.py for what the command gets.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
minor= wheel=
while [ $# -gt 0 ]; do
    case $1 in
        -3.*) minor=${1#-}; shift ;;
        --wheel) wheel=$2; shift 2 ;;
        *) break ;;
    esac
done

missing=
command -v python3 >/dev/null || missing="$missing python3"
python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip ca-certificates"
command -v wineserver >/dev/null && command -v wine >/dev/null || missing="$missing wine wine64"
if [ -n "$missing" ]; then
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    echo "run.sh: installing$missing" >&2  # apt says on stderr what goes wrong
    $as_root apt-get -qq update >/dev/null
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends $missing >/dev/null
fi

[ -n "$minor" ] || minor=$(python3 -c 'import sys; print("3.%d" % sys.version_info[1])')
python3 "$here/make_python.py" "$minor" >&2
python3 "$here/install.py" "$minor" ${wheel:+"$wheel"} >&2
# `-m pytest` would put the current folder, perhaps the checkout, before the installed wheel.
export PYTHONSAFEPATH="${PYTHONSAFEPATH-1}"
exec python3 "$here/winpy.py" "-$minor" "$@"
