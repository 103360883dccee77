"""What the rules are tested with: connected streams, sockets in all states, watches and threads."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netcore import Selector
from netcore.contract import ReadinessBackend

from .rules import WINDOWS, Gate
from .wine import until_gone

# Seconds: "soon" on a machine that has other things to do as well.
SOON = float(os.environ.get("NETCORE_TEST_SOON", "5"))
#: Windows asks three times until it believes that nobody listens, for 2 s in all.
REFUSED_SOON = 10.0


class Subject:
    """The backend under test, and selectors made with it."""

    def __init__(self, backend: type[ReadinessBackend]) -> None:
        self.backend = backend
        self.made: list[Selector] = []

    def new(self) -> Selector:
        """A selector on the backend; closed after the test."""
        selector = Selector(self.backend)
        self.made.append(selector)
        return selector

    def close(self) -> None:
        for selector in self.made:
            selector.close()


def events_for(selector: Selector, fileobj: Any, timeout: float = SOON) -> int:
    """The events of one wait for ``fileobj``, which must be the only one reported; 0 if none."""
    result = selector.select(timeout)
    if not result:
        return 0
    assert len(result) == 1, f"more than one entry: {result}"
    key, events = result[0]
    assert key.fileobj is fileobj or key.fd == fileobj, f"another descriptor: {key}"
    assert events, "an entry without events"
    return events


def wait_until(selector: Selector, fileobj: Any, wanted: int, timeout: float = SOON) -> int:
    """Wait until all of ``wanted`` is reported for ``fileobj``; the events seen, or fail."""
    deadline = time.monotonic() + timeout
    events = 0
    while time.monotonic() < deadline:
        for key, seen in selector.select(max(deadline - time.monotonic(), 0)):
            if key.fileobj is fileobj or key.fd == fileobj:
                events = seen
        if events & wanted == wanted:
            return events
    raise AssertionError(f"not reported within {timeout} s: {wanted}; last seen: {events}")


def reset(sock: socket.socket) -> None:
    """Close ``sock`` with an RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection over loopback, non-blocking."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client = socket.socket()
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    for sock in (client, server):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, server


def fill(sock: socket.socket) -> int:
    """Write until the buffers are full; the number of bytes written."""
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += sock.send(b"x" * 65536)
    return total


def drain(sock: socket.socket, expected: int, timeout: float = SOON) -> None:
    """Read ``expected`` bytes."""
    deadline = time.monotonic() + timeout
    while expected > 0:
        try:
            expected -= len(sock.recv(min(expected, 65536)))
        except BlockingIOError:
            assert time.monotonic() < deadline, f"{expected} bytes never arrived"
            time.sleep(0.001)


@contextlib.contextmanager
def in_thread(function: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run ``function`` in another thread; yields a list that will hold its result or exception."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # Handed to the test.
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield outcome
    thread.join(2 * SOON)
    assert not thread.is_alive(), "the thread hangs"
    until_gone(thread)


def until_waiting(selector: Selector, timeout: float = SOON, pause: float = 0.05) -> None:
    """Return when another thread is inside ``selector.select``, most probably in the kernel.

    ``pause`` is from the flag into the kernel; being too early only makes the test easier.
    """
    deadline = time.monotonic() + timeout
    while not selector._waiting:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.0001)
    time.sleep(pause)


def open_descriptors() -> int:
    """How many descriptors (Windows: handles) this process has."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(folder))
    raise NotImplementedError("no way to count descriptors here")


# Kind of stream -> what a backend must declare for it.
STREAMS = {"tcp": Gate(), "unix": Gate(platform="unix"), "pipe": Gate(pipes=True, platform="unix")}
#: For a test with ``stream`` that pipes have no part in.
sockets = pytest.mark.parametrize("stream", ["tcp", "unix"], indirect=True)
# Seconds of CPU time that a wait without spinning may take. Windows counts in ticks of 15.6 ms;
# PyPy compiles when it sees fit, and begins anew in a forked child.
QUIET_WORK = 0.03 if sys.implementation.name == "pypy" else 0.02 if WINDOWS else 0.01
# How often it is looked: two ticks may fall into one wait.
LOOKS = 3 if WINDOWS else 1


class PipeEnd:
    """One end of a pipe, non-blocking, with the methods of a socket."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)

    def fileno(self) -> int:
        return self._fd

    def recv(self, size: int) -> bytes:
        return os.read(self._fd, size)

    def send(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def shutdown(self, how: int) -> None:
        self.close()

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)


def open_stream(kind: str, backend: type[ReadinessBackend]) -> Iterator[tuple[Any, Any]]:
    """The reading and the writing end of a stream, closed afterwards; skips, with the reason, what
    ``backend`` cannot watch. For a fixture.
    """
    reason = STREAMS[kind].reason(backend)
    if reason:
        pytest.skip(f"{kind}: {reason}")
    ends: tuple[Any, Any]
    if kind == "tcp":
        ends = tcp_pair()
    elif kind == "unix":
        a, b = ends = socket.socketpair()
        a.setblocking(False)
        b.setblocking(False)
    else:
        reader, writer = os.pipe()
        ends = PipeEnd(reader), PipeEnd(writer)
    yield ends
    for end in ends:
        end.close()


def fill_up(end: Any) -> int:
    """``fill`` until nothing more goes in: TCP makes room as the peer acknowledges."""
    total = added = fill(end)
    while added:
        time.sleep(0.02)
        added = fill(end)
        total += added
    return total


def arrived(sock: socket.socket, size: int = 1) -> None:
    """Return when ``size`` bytes, or the end of the stream, can be read; reads nothing."""
    deadline = time.monotonic() + SOON
    sock.settimeout(SOON)
    while 0 < len(sock.recv(size, socket.MSG_PEEK)) < size:
        assert time.monotonic() < deadline, f"{size} bytes never arrived"
    sock.setblocking(False)


def assert_quiet(selector: Selector, timeout: float = 0.05) -> None:
    """Nothing is reported for ``timeout`` seconds, and they are slept away rather than spun."""
    assert_slept(selector.select, [], timeout)


def assert_slept(
    wait: Callable[[float], Any], nothing: Any, timeout: float, looks: int = LOOKS
) -> None:
    """``wait(timeout)`` gives ``nothing``, not early, and does not work until then in one of so
    many ``looks``: one that spins does so every time.
    """
    for _ in range(looks):
        started, worked = time.monotonic(), time.process_time()
        assert wait(timeout) == nothing
        worked = time.process_time() - worked
        assert time.monotonic() - started >= timeout, "came back early"
        if worked < QUIET_WORK:
            return
    raise AssertionError(f"spun: {worked} s of CPU time in a wait of {timeout} s")


def allow_descriptors(number: int) -> None:
    """Raise the limit of open descriptors where there is one; skips if it cannot be raised."""
    try:
        import resource
    except ImportError:  # Windows has none.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        if hard != resource.RLIM_INFINITY and hard < number:
            pytest.skip(f"needs {number} open descriptors; RLIMIT_NOFILE allows {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def assert_same(got: bytes | bytearray, expected: bytes | bytearray) -> None:
    """The same bytes. For long ones: where CI is set, pytest would compare them for minutes."""
    if got != expected:
        where = next((n for n, pair in enumerate(zip(got, expected)) if pair[0] != pair[1]), None)
        pytest.fail(
            f"{len(got)} bytes instead of {len(expected)}, another one at {where}: "
            f"{bytes(got[where:][:9])!r} instead of {bytes(expected[where:][:9])!r}"
        )
