"""One select with one of N sockets ready: the iocp backend against Windows' own ``select.select``.

Ratios only: under Wine every system call is a round trip to another process. What is to be seen is
that the cost does not grow with idle sockets, and how it compares where select.select can go.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable

import netcore

COUNTS = (64, 512, 2000, 5000)
# FD_SETSIZE of CPython on Windows is 512, of which the socket that is ready takes one.
SELECT_LIMIT = 512


def sockets(count: int) -> list[socket.socket]:
    """Bound datagram sockets; the first has a datagram to read, and keeps it."""
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for sock in made:
        sock.bind(("127.0.0.1", 0))
    made[0].sendto(b"x", made[0].getsockname())
    return made


def seconds(call: Callable[[], object], rounds: int) -> float:
    """The median time of ``call``."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure(count: int, rounds: int) -> dict[str, float]:
    made = sockets(count)
    result = {}
    with netcore.Selector("iocp") as selector:
        for sock in made:
            selector.register(sock, netcore.EVENT_READ)
        while len(selector.select(5)) != 1:
            pass
        result["iocp"] = seconds(lambda: selector.select(5), rounds)
    if count <= SELECT_LIMIT:
        result["select"] = seconds(lambda: select.select(made, [], [], 5), rounds)
    for sock in made:
        sock.close()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if sys.platform != "win32":
        sys.exit("needs Windows; ci/windows/run.sh runs it under Wine")
    results = {count: measure(count, options.rounds) for count in COUNTS}
    alone = results[COUNTS[0]]["iocp"]
    print(f"{'sockets':>8} {'iocp / iocp with 64':>20} {'iocp / select.select':>21}")
    for count, result in results.items():
        against = f"{result['iocp'] / result['select']:.2f}" if "select" in result else "-"
        print(f"{count:>8} {result['iocp'] / alone:>20.2f} {against:>21}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
