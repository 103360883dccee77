"""The benchmark runs and writes what the plot reads; no time is asserted here."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench" / "selectors_bench.py"
TINY = ["--quick", "--rounds", "2", "--block", "0.00001", "--most", "120"]

ECHO_BENCH = BENCH.with_name("echo_bench.py")
# The name of each server, and what it needs.
SERVERS = {
    **dict.fromkeys(["floor", "again", "selectors", "asyncio", "asyncio-streams"], "socket"),
    **dict.fromkeys(["readiness", "completion", "completion-fresh"], "netcore"),
    "uvloop": "uvloop",
    "trio": "trio",
}

pytestmark = [
    pytest.mark.skipif(not hasattr(select, "epoll"), reason="select.epoll is needed"),
    pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not part of the installed package"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What ``--json`` writes."""
    path = tmp_path_factory.mktemp("bench") / "report.json"
    command = [sys.executable, str(BENCH), *TINY, "--json", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=50, env={**os.environ, "COLUMNS": "200"}
    )
    assert done.returncode == 0, done.stderr
    assert "again" in done.stdout
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_report_says_what_was_measured_where(report):
    """A figure without its Python is worth nothing; the machine's name is nobody's business."""
    assert report["python"].keys() == {"implementation", "version", "platform"}
    assert report["rounds"] == 2
    assert report["most_descriptors"] <= 120


def test_every_case_has_times_and_ratios(report):
    """Ratios are quartiles, in order; each case states its noise."""
    for case in report["cases"]:
        assert {"stdlib", "again", "netcore"} <= case["nanoseconds"].keys()
        assert all(spent > 0 for spent in case["nanoseconds"].values())
        assert any(name.startswith("again/") for name in case["ratios"])
        for low, median, high in case["ratios"].values():
            assert 0 < low <= median <= high


def test_every_shape_and_every_change_is_there(report):
    """The README's plot needs them; sets that are too large are lowered, and it is said."""
    cases = [case for case in report["cases"] if case["backend"] == "epoll"]
    shapes = [c for c in cases if c["operation"] == "select(0)"]
    assert [c["asked"] for c in shapes] == [1, 1000, 1000, 1000, 20000]
    assert all(c["registered"] == min(c["asked"], report["most_descriptors"]) for c in shapes)
    assert {"register", "modify", "unregister"} <= {c["operation"] for c in cases}


def test_a_target_says_which_ratio_it_limits(report):
    """And whether the median keeps to it."""
    targets = [(case, case["target"]) for case in report["cases"] if case["target"]]
    assert targets or report["python"]["implementation"] != "CPython"
    for case, target in targets:
        median = case["ratios"][target["ratio"]][1]
        assert target["reached"] == (median <= target["limit"])


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_echoes(name):
    """Short and long messages on two connections, in turn; it ends with the last of them."""
    if importlib.util.find_spec(SERVERS[name]) is None:
        pytest.skip(f"{SERVERS[name]} is not installed")
    command = [sys.executable, str(BENCH.with_name("echo_servers.py")), name, "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            socks = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(2)]
            for message in (b"short", b"long" * 10_000, b"short again"):
                for sock in socks:
                    sock.sendall(message)
                for sock in socks:
                    assert _receive(sock, len(message)) == message
            for sock in socks:
                sock.close()
            assert server.wait(10) == 0
        finally:
            server.kill()


def _receive(sock, size):
    parts = bytearray()
    while len(parts) < size and (part := sock.recv(size - len(parts))):
        parts += part
    return bytes(parts)


@pytest.mark.parametrize("load", ["compiled", "in Python"])
def test_the_echo_report(load, tmp_path):
    """Times, ratios and the noise of every server, with either generator of load."""
    path = tmp_path / "report.json"
    tiny = ["--rounds", "2", "--seconds", "0.02", "--slice", "0.01", "--connections", "3"]
    only = ["--only", "floor,again,readiness", "--sizes", "64,16384", "--json", str(path)]
    environment = {**os.environ, **({} if load == "compiled" else {"PATH": ""})}
    done = subprocess.run(
        [sys.executable, str(ECHO_BENCH), *tiny, *only],
        capture_output=True,
        text=True,
        timeout=50,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text(encoding="utf-8"))
    assert [(case["connections"], case["size"]) for case in report["cases"]] == [
        (3, 64),
        (3, 16384),
    ]
    for case in report["cases"]:
        assert case["ratios"]["floor"] == [1, 1, 1]
        assert case["nanoseconds_per_echo"].keys() == {"floor", "again", "readiness"}
        assert all(rate > 0 for rate in case["echoes_per_second"].values())
