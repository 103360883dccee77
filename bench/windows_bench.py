"""One select with one of N sockets ready: the iocp backend, the two system calls that it cannot do
without, and Windows' own ``select.select``.

Ratios only: under Wine every system call is a round trip to another process. The two calls, made by
hand on the port of the same selector with the same polls in flight, are the floor: what they cost
more with more sockets is the system's. What is left is netcore's own, and must not grow. The last
column has nothing of netcore: select.select of one socket that no selector knows, meanwhile.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import netcore
from netcore.backends.iocp import _abi
from netcore.backends.iocp._afd import Native, afd_events

COUNTS = (64, 512, 2000, 5000)
# FD_SETSIZE of CPython on Windows is 512, of which the socket that is ready takes one.
SELECT_LIMIT = 512
TIMEOUT = 5


def sockets(count: int) -> list[socket.socket]:
    """Bound datagram sockets; the first has a datagram to read, and keeps it."""
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for sock in made:
        sock.bind(("127.0.0.1", 0))
    made[0].sendto(b"x", made[0].getsockname())
    return made


def two_calls(selector: netcore.Selector, ready: socket.socket) -> Callable[[], None]:
    """Submits one poll of ``ready`` and takes its packet from the port of ``selector``."""
    backend: Any = selector._backend  # type: ignore[attr-defined]
    windows, port, afd = (getattr(backend._native, name) for name in ("_windows", "_port", "_afd"))
    poll, helper = Native(windows, ready.fileno()), afd._with_room[0]
    poll.info.NumberOfHandles = 1
    poll.target.Events = afd_events(netcore.EVENT_READ)
    ioctl, dequeue = afd._call, windows.kernel32.GetQueuedCompletionStatusEx
    null, size = windows.ffi.NULL, windows.ffi.sizeof("AFD_POLL_INFO")
    entries, count = windows.ffi.new("OVERLAPPED_ENTRY[]", 64), windows.ffi.new("ULONG *")
    ours = windows.ffi.cast("OVERLAPPED *", poll.memory)
    whole = (helper.handle, null, null, poll.memory, poll.block, _abi.IOCTL_AFD_POLL)
    request = (*whole, poll.info, size, poll.info, size)
    answer = (port.handle, entries, 64, count, 1000 * TIMEOUT, 0)

    def calls() -> None:
        ioctl(*request)
        dequeue(*answer)

    calls()
    if (count[0], entries[0].lpOverlapped) != (1, ours):
        raise RuntimeError("not the packet of the poll")
    return calls


def measured(rounds: int, **calls: Callable[[], object]) -> dict[str, list[float]]:
    """The seconds that each took; one after the other in each round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return times


def measure(count: int, rounds: int) -> dict[str, float]:
    """The median time of each way with ``count`` sockets."""
    other, *made = sockets(1) + sockets(count)
    with netcore.Selector("iocp") as selector:
        for sock in made:
            selector.register(sock, netcore.EVENT_READ)
        while len(selector.select(TIMEOUT)) != 1:
            pass
        calls = two_calls(selector, made[0])
        times = measured(rounds, iocp=lambda: selector.select(TIMEOUT), calls=calls)
        times["rest"] = [whole - part for whole, part in zip(times["iocp"], times["calls"])]
        times |= measured(rounds, other=lambda: select.select([other], [], [], TIMEOUT))
    if count <= SELECT_LIMIT:  # With no poll in flight but its own.
        times |= measured(rounds, select=lambda: select.select(made, [], [], TIMEOUT))
    for sock in (other, *made):
        sock.close()
    return {name: statistics.median(taken) for name, taken in times.items()}


def table(results: dict[int, dict[str, float]]) -> Iterator[str]:
    """The ratios, a line for each number of sockets."""
    first = results[COUNTS[0]]
    yield "           of what it is with 64 sockets:"
    yield "  sockets     iocp    calls     rest    other   iocp/calls   iocp/select.select"
    for count, result in results.items():
        grown = [result[name] / first[name] for name in ("iocp", "calls", "rest", "other")]
        against = f"{result['iocp'] / result['select']:.2f}" if "select" in result else "-"
        columns = "".join(f"{ratio:>9.2f}" for ratio in grown)
        yield f"{count:>9}{columns}{result['iocp'] / result['calls']:>13.2f}{against:>21}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if sys.platform != "win32":
        sys.exit("needs Windows; ci/windows/run.sh runs it under Wine")
    results = {count: measure(count, options.rounds) for count in COUNTS}
    print(*table(results), sep="\n")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
