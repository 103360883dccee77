"""An exception of a signal handler at any point: map and kernel agree afterwards, nothing is lost.

CPython looks for signals when a function is entered and when a C function returns. An exception is
raised at each of these points in turn, by a profile function, in the code that the Selector runs.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import netcore
from netcore import EVENT_READ, EVENT_WRITE, ONESHOT, Selector

if sys.implementation.name != "cpython":
    pytest.skip("sets a profile function, as CPython calls it", allow_module_level=True)

HERE = str(Path(netcore.__file__).parent)
Both = EVENT_READ | EVENT_WRITE
Step = Callable[[Selector, socket.socket], Any]


def nothing(selector: Selector, sock: socket.socket) -> None:
    pass


def reads(selector: Selector, sock: socket.socket) -> None:
    selector.register(sock, EVENT_READ, "old")


SCENARIOS: dict[str, tuple[Step, Step]] = {
    "register": (nothing, lambda s, sock: s.register(sock, EVENT_READ)),
    "register parked": (nothing, lambda s, sock: s.register(sock, 0)),
    "register one-shot": (nothing, lambda s, sock: s.register(sock, EVENT_READ | ONESHOT)),
    "modify": (reads, lambda s, sock: s.modify(sock, Both)),
    "modify data": (reads, lambda s, sock: s.modify(sock, EVENT_READ, "new")),
    "park": (reads, lambda s, sock: s.modify(sock, 0)),
    "unpark": (lambda s, sock: s.register(sock, 0), lambda s, sock: s.modify(sock, EVENT_READ)),
    "unregister": (reads, lambda s, sock: s.unregister(sock)),
    "unregister parked": (lambda s, sock: s.register(sock, 0), lambda s, sock: s.unregister(sock)),
    "wakeup": (reads, lambda s, sock: s.wakeup()),
    "select": (reads, lambda s, sock: s.select(0.01)),
    "select woken": (lambda s, sock: s.wakeup(), lambda s, sock: s.select(0.01)),
    "select one-shot": (
        lambda s, sock: s.register(sock, EVENT_READ | ONESHOT),
        lambda s, sock: s.select(0.01),
    ),
}


def interrupted(point: int, step: Callable[[], Any], error: BaseException) -> bool:
    """Run ``step`` with ``error`` raised at its ``point``-th place; False if it has fewer."""
    passed = 0

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal passed
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(HERE):
            passed += 1
            if passed == point:
                sys.setprofile(None)
                raise error

    sys.setprofile(profile)
    try:
        step()
    except type(error):
        pass
    finally:
        sys.setprofile(None)
    return passed >= point


def check(selector: Selector, sock: socket.socket) -> None:
    """What the map says holds, and the socket and ``wakeup`` work as ever."""
    for key, _ in selector.select(0):
        assert selector.get_map()[key.fd] is key
    if sock in selector.get_map():
        selector.unregister(sock)
    assert selector.select(0) == []
    key = selector.register(sock, EVENT_READ, "after")
    assert selector.select(5) == [(key, EVENT_READ)]
    selector.unregister(sock)
    for _ in range(2):
        selector.wakeup()
        started = time.monotonic()
        assert selector.select(5) == []
        assert time.monotonic() - started < 2.5, "the wake-up was lost"


@pytest.mark.parametrize("backend", ["epoll", "poll", "select"])
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [None, 110])
def test_an_exception_at_any_point_leaves_nothing_behind(
    backend: str, scenario: str, number: int | None
) -> None:
    """Also one that looks like an error of the kernel: TimeoutError has an errno or has not."""
    if backend not in netcore.available_backends():
        pytest.skip(f"{backend} is not available here")
    before, step = SCENARIOS[scenario]
    point = 1
    while True:
        ours, theirs = socket.socketpair()
        theirs.send(b"x")
        with ours, theirs, Selector(backend) as selector:
            before(selector, ours)
            error = TimeoutError() if number is None else TimeoutError(number, os.strerror(number))
            if not interrupted(point, lambda: step(selector, ours), error):  # noqa: B023
                break
            check(selector, ours)
        point += 1
    assert point > 3
