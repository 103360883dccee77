"""An exception of a signal handler at any point: map and kernel agree afterwards, nothing is lost.

CPython looks for signals when a function is entered and when a C function returns. An exception is
raised at each of these points in turn, by a profile function, in the code that the Selector runs.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from netcore.conformance.tools import arrived, fill, tcp_pair

import netcore
from netcore import EVENT_READ, EVENT_WRITE, ONESHOT, Operation, Recv, Selector, SendAll

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
    gc.disable()  # Else it might be raised, and be ignored, in a __del__.

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
        gc.enable()
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


# -- operations


class Exchange:
    """Messages by an operation over TCP, which is submitted again for each of them."""

    def __init__(self, backend: str, sends: bool) -> None:
        self.selector = Selector(backend)
        self.ours, self.theirs = tcp_pair()
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.recv, self.send = Recv(self.ours, 10), SendAll(self.ours, b"0")
        self.sends = sends
        self.op: Operation = self.send if sends else self.recv
        #: What has come through.
        self.got = b""

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        for it in (self.selector, self.ours, self.theirs):
            it.close()

    def use(self) -> None:
        """Both operations have done their work several times, as those of a server have."""
        for _ in range(3):
            self.selector.submit(self.recv)
            assert self.selector.select(0) == []
            self.theirs.send(b"0")
            assert self.selector.wait(5.0) == ([], [self.recv])
            self.selector.submit(self.send)
            assert self.selector.wait(5.0) == ([], [self.send])
            arrived(self.theirs)
            assert self.theirs.recv(10) == b"0"

    def give(self, message: bytes) -> None:
        """What there is to be received, or to be sent by the next submit."""
        if self.sends:
            self.send.buffer = message
        else:
            self.theirs.send(message)

    def take(self) -> None:
        """The peer reads what there is; an "x" is only there to fill the buffers."""
        try:
            while True:
                self.got += self.theirs.recv(1 << 20).replace(b"x", b"")
        except BlockingIOError:
            pass

    def finish(self) -> None:
        """The operation, which is pending, comes out, once, and nothing else does."""
        assert not self.op.done, "it is done, and has not come out"
        deadline = time.monotonic() + 5
        came: list[Operation] = []
        while not came and time.monotonic() < deadline:
            self.take()
            ready, came = self.selector.wait(0.2)
            assert ready == []
        assert came == [self.op], "it never came out, or twice"
        assert self.selector.wait(0) == self.selector.wait(0.001) == ([], [])
        self.take()
        if not self.sends:
            self.got += self.op.result()
        else:
            assert self.op.result() == len(self.send.buffer)

    def exchange(self, message: bytes) -> None:
        self.give(message)
        self.selector.submit(self.op)
        self.finish()


def obstruct(it: Exchange) -> None:
    """Nothing more can be sent."""
    while fill(it.ours):
        pass


def submitted(it: Exchange) -> None:
    it.give(b"1")
    it.selector.submit(it.op)


def too_much(it: Exchange) -> None:
    """It does not go at once."""
    it.give(b"1" + b"x" * (it.sends << 18))


def pending(it: Exchange) -> None:
    """The kernel was asked in vain, and has news now."""
    if it.sends:
        obstruct(it)
        it.give(b"1")
    it.selector.submit(it.op)
    assert it.selector.wait(0) == it.selector.wait(0) == ([], [])
    if it.sends:
        it.take()
    else:
        it.give(b"1")


def obstructed(it: Exchange) -> None:
    it.give(b"1")
    obstruct(it)


Act = Callable[[Exchange], Any]

#: What is done before, and what is interrupted.
OPERATION_SCENARIOS: dict[str, tuple[Act, Act]] = {
    "submit": (lambda it: it.give(b"1"), lambda it: it.selector.submit(it.op)),
    "submit obstructed": (obstructed, lambda it: it.selector.submit(it.op)),
    "submit too much": (too_much, lambda it: it.selector.submit(it.op)),
    "wait": (submitted, lambda it: it.selector.wait(5.0)),
    "wait pending": (pending, lambda it: it.selector.wait(5.0)),
}


def behind(it: Exchange) -> list[Operation]:
    """Three that wait for their turn, after the first has come out of a wait."""
    ops: list[Operation] = [Recv(it.ours, 1) for _ in range(3)]
    for op in ops:
        it.selector.submit(op)
    it.selector.wait(0)
    return ops


def cancelled(it: Exchange) -> list[Operation]:
    ops = behind(it)
    for op in ops:
        it.selector.cancel(op)
    return ops


def late(it: Exchange) -> list[Operation]:
    ops: list[Operation] = [Recv(it.ours, 1, timeout=0.0001) for _ in range(3)]
    for op in ops:
        it.selector.submit(op)
    time.sleep(0.0002)
    return ops


def served(it: Exchange) -> list[Operation]:
    ops = behind(it)
    it.theirs.send(b"123")
    return ops


@pytest.mark.parametrize("backend", ["epoll", "poll", "select"])
@pytest.mark.parametrize("prepare", [cancelled, late, served])
def test_an_exception_at_any_point_of_an_end_loses_no_operation(
    backend: str, prepare: Callable[[Exchange], list[Operation]]
) -> None:
    """Those that are cancelled, are late, or take their turn, each come out once."""
    if backend not in netcore.available_backends():
        pytest.skip(f"{backend} is not available here")
    point = 1
    while True:
        with Exchange(backend, sends=False) as it:
            ops = prepare(it)
            if not interrupted(point, lambda: it.selector.wait(5.0), KeyboardInterrupt()):
                break
            came: list[Operation] = []
            it.theirs.send(b"456")  # What an attempt has received may be lost.
            deadline = time.monotonic() + 5
            while len(came) < 3:
                assert time.monotonic() < deadline, f"never came out, at {point}: {ops}"
                came += it.selector.wait(0.2)[1]
            assert came == ops
            assert it.selector.wait(0) == it.selector.wait(0.001) == ([], [])
        point += 1
    assert point > 1


@pytest.mark.parametrize("backend", ["epoll", "poll", "select"])
@pytest.mark.parametrize("scenario", OPERATION_SCENARIOS)
@pytest.mark.parametrize("sends", [False, True], ids=["receive", "send"])
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "again"])
@pytest.mark.parametrize("threads", [False, True], ids=["alone", "threads"])
def test_an_exception_at_any_point_loses_no_operation(
    backend: str,
    scenario: str,
    sends: bool,
    used: bool,
    threads: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes out once, unless submit has raised and it can be submitted again. What an attempt
    has received may be lost, and what it has sent may be sent again.
    """
    if backend not in netcore.available_backends():
        pytest.skip(f"{backend} is not available here")
    for module in (netcore._submission, netcore._emulation, netcore._selector):
        # In C, as the real one: is there one thread beside, or none?
        monkeypatch.setattr(module, "other_threads", [None][: int(threads)].copy)
    before, step = OPERATION_SCENARIOS[scenario]
    point = 1
    while True:
        with Exchange(backend, sends) as it:
            if used:
                it.use()
            before(it)
            if not interrupted(point, lambda: step(it), KeyboardInterrupt()):
                break
            try:
                it.selector.submit(it.op)
            except RuntimeError:
                pass  # It is pending.
            else:
                assert scenario.startswith("submit"), "it is not pending any more"
            if not sends:
                it.give(b"2")
            it.finish()
            it.exchange(b"23" if sends else b"3")
            while not it.got.endswith(b"3"):
                it.take() if sends else it.exchange(b"3")
            odd = b"112" if sends else b"2" if scenario.startswith("wait") else b"12"
            assert it.got.rstrip(b"3") in (b"12", odd)
        point += 1
    assert point > 1
