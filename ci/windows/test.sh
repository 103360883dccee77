#!/bin/sh
# Hold netcore to its rules in real Windows Pythons under Wine, starting from a bare Debian 12 if
# need be, and leave no Wine process behind.
#
#   ci/windows/test.sh [3.N...]        default: the host's minor version, and 3.13
#
# The wheel is what is tested.  pytest-timeout can only end the process on Windows: with -n that is
# one "worker crashed", and the rest goes on.  A run in which Wine's server died, by an assertion of
# its own, is printed as such and done once more: no program of Windows can end its kernel.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
"$here/run.sh" -c 'import sys; print(sys.version)'  # installs what is missing

host=$(python3 -c 'import sys; print("3.%d" % sys.version_info[1])')
if [ $# -eq 0 ]; then
    set -- "$host"
    [ "$host" = 3.13 ] || set -- "$host" 3.13
fi
if ! python3 -c 'import test.test_selectors' 2>/dev/null; then
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    echo "test.sh: installing the tests of CPython" >&2
    $as_root apt-get -qq update >/dev/null
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends "libpython$host-testsuite" >/dev/null
fi

# From an empty folder: nothing of the checkout is imported but the tests themselves.
export WINPY_TIMEOUT=600  # seconds, of each run: mostly it takes less than two minutes
server_died=125  # winpy.py
run() {  # MINOR ARGUMENTS...
    minor=$1
    shift
    set -- "$here/run.sh" "-$minor" -m pytest -p no:cacheprovider -q -rs -n 2 --timeout 120 "$@"
    "$@" && return
    [ $? -eq $server_died ] || return 1
    echo "test.sh: once more, because Wine's server died"
    "$@"
}

elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
cd "$elsewhere"
failed=
for minor in "$@"; do
    python3 "$here/make_python.py" --tests "$minor" >&2
    echo "== Windows Python $minor: the conformance suite"
    run "$minor" --netcore-report --pyargs netcore.conformance || failed="$failed $minor:conformance"
    echo "== Windows Python $minor: CPython's tests of selectors and asyncio, and our own"
    tests=
    for name in stdlib asyncio abi drivers churn iocp iocp_operations docs \
        completion_examples completion_model; do
        tests="$tests $root/tests/test_$name.py"
    done
    run "$minor" -c "$root/pyproject.toml" --rootdir "$root" $tests || failed="$failed $minor:tests"
done

# Somebody else may be using the same Wine; else nothing of it may be left.
prefix=$root/.cache/windows/prefix
if flock --nonblock "$prefix/in-use" true && WINEPREFIX=$prefix wineserver -k0 2>/dev/null; then
    failed="$failed wine-still-runs"
fi
if [ -n "$failed" ]; then
    echo "test.sh: failed:$failed" >&2
    exit 1
fi
