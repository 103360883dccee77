"""What the rules of completion are tested with: waiting for what is done, and that nothing is."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from netcore import (
    Accept,
    Connect,
    Operation,
    Recv,
    RecvFrom,
    RecvFromInto,
    RecvInto,
    Selector,
    Send,
    SendAll,
    SendTo,
)

from .tools import LOOKS, SOON, arrived, assert_slept, fill_up, in_thread

PYPY = sys.implementation.name == "pypy"
#: What who sends meets when the connection was reset.
GONE = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)
REFUSED = (ValueError, TypeError, OSError)
#: How long nothing must happen, to be believed that it does not.
A_WHILE = 0.05

#: What is done on any socket.
ON_SOCKETS: dict[str, Callable[[socket.socket], Operation]] = {
    "Recv": lambda sock: Recv(sock, 1),
    "RecvInto": lambda sock: RecvInto(sock, bytearray(1)),
    "RecvFrom": lambda sock: RecvFrom(sock, 1),
    "RecvFromInto": lambda sock: RecvFromInto(sock, bytearray(1)),
    "Send": lambda sock: Send(sock, bytearray(1)),
    "SendAll": lambda sock: SendAll(sock, b"x"),
    "SendTo": lambda sock: SendTo(sock, b"x", ("127.0.0.1", 9)),
    "Accept": Accept,
    "Connect": lambda sock: Connect(sock, ("127.0.0.1", 9)),
}


def finished(selector: Selector, *expected: Operation, timeout: float = SOON) -> list[Operation]:
    """Wait until ``expected`` have come out, in whatever order, and nothing else; in the order in
    which they came.
    """
    deadline = time.monotonic() + timeout
    came: list[Operation] = []
    while len(came) < len(expected):
        ready, done = selector.wait(max(deadline - time.monotonic(), 0))
        assert ready == [], f"nobody asked for readiness: {ready}"
        for operation in done:
            assert operation.done, f"came out and is not done: {operation}"
            assert operation in expected, f"nobody waits for it: {operation}"
            assert operation not in came, f"came out twice: {operation}"
        came += done
        missing = [operation for operation in expected if operation not in came]
        assert not missing or time.monotonic() < deadline, f"never came out: {missing}"
    return came


def outcome(selector: Selector, operation: Operation, timeout: float = SOON) -> Any:
    """What becomes of ``operation``, which is submitted already: its result, or what it raises."""
    assert finished(selector, operation, timeout=timeout) == [operation]
    return operation.result()


def done_by(selector: Selector, operation: Operation, timeout: float = SOON) -> Any:
    """Submit ``operation``; what becomes of it."""
    assert selector.submit(operation) is operation
    assert not operation.done, f"finished inside submit: {operation}"
    return outcome(selector, operation, timeout)


def received(selector: Selector, sock: socket.socket, size: int) -> bytes:
    """``size`` bytes, by one Recv after the other."""
    parts, left = [], size
    while left:
        part = done_by(selector, Recv(sock, min(left, 1 << 20)))
        assert part, f"the stream ended {left} bytes early"
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def assert_nothing_done(selector: Selector, timeout: float = A_WHILE) -> None:
    """Nothing is done nor ready for ``timeout`` seconds, and they are slept away."""
    # To start what was submitted is work, too, but only the first time.
    assert_slept(selector.wait, ([], []), timeout, max(2, LOOKS))


def is_pinned(buffer: bytearray) -> bool:
    """Whether ``buffer`` cannot be resized, because somebody may still write to it."""
    try:
        buffer.append(0)
    except BufferError:
        return True
    del buffer[-1:]
    return False


def _pinning() -> bool:
    buffer = bytearray(1)
    with memoryview(buffer):
        return is_pinned(buffer)


pins = pytest.mark.skipif(not _pinning(), reason="this Python resizes a bytearray that is in use")


@contextlib.contextmanager
def reader_of(sock: socket.socket, pause: float = 0.0) -> Iterator[bytearray]:
    """A thread reads all from ``sock`` meanwhile, ``pause`` seconds apart, until its end, to which
    somebody must come: who forgets to shut the writing side down waits in vain.
    """
    got = bytearray()
    sock.setblocking(True)
    sock.settimeout(4 * SOON)

    def read() -> None:
        with contextlib.suppress(OSError):
            while part := sock.recv(1 << 18):
                got.extend(part)
                if pause:
                    time.sleep(pause)

    with in_thread(read) as out:
        yield got
    assert out == [None]


@contextlib.contextmanager
def hurried_switches() -> Iterator[None]:
    """Threads take turns as often as CPython can have it: more races in less time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def stuffed(end: Any) -> int:
    """Write until nothing more goes in, now or a while later; the number of bytes written."""
    total = fill_up(end)
    if isinstance(end, socket.socket):
        # Less than there is in it: else a few bytes more go in with the next acknowledgement.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return total


@cache
def pattern(size: int) -> bytes:
    """``size`` bytes of which no stretch is like another."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


def pipe_ends() -> tuple[int, int]:
    """The reading and the writing end of a pipe, non-blocking (Unix)."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer


def refused(selector: Selector, operation: Operation, errors: Any = REFUSED) -> str:
    """``submit`` raises one of ``errors``, nothing comes out, nothing has changed; its message."""
    for _ in range(2):
        with pytest.raises(errors) as raised:
            selector.submit(operation)
        assert not operation.done
        assert not selector.cancel(operation)
        assert_nothing_done(selector, 0.01)
    return str(raised.value)


def both(selector: Selector, *operations: Operation, key: Any = None) -> int:
    """Wait until ``operations`` are done, and ``key`` was reported if it is given; its events."""
    left, events = set(operations), 0
    for _ in range(100):
        ready, done = selector.wait(SOON)
        left -= set(done)
        for row in ready:
            assert row[0] is key, f"nobody asked for {row}"
            events |= row[1]
        if not left and (events or key is None):
            return events
    raise AssertionError(f"missing: {left} {key}")


def in_use(
    selector: Selector, pair: tuple[socket.socket, socket.socket], size: int = 100
) -> tuple[Recv, SendAll]:
    """Operations on the first of ``pair`` that have done their work several times, as those of a
    server have.
    """
    a, b = pair
    recv, send = Recv(a, size), SendAll(a, b"pong")
    for _ in range(3):
        selector.submit(recv)
        assert selector.select(0) == []
        b.send(b"ping")
        assert outcome(selector, recv) == b"ping"
        assert done_by(selector, send) == 4
        arrived(b, 4)
        assert b.recv(10) == b"pong"
    return recv, send


def collect() -> None:
    for _ in range(3):
        gc.collect()
