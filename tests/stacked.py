"""A completion backend on Linux, so that the driver above it is held to every rule there.

Polls are one-shot entries of an epoll set. It has the awkward properties of a completion port:
nothing is done but by ``wait``, a cancelled poll comes out of a later ``wait`` and not out of
``cancel``, and it may have succeeded nevertheless. Two polls of one descriptor are an error of the
driver, and end the test.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from threading import RLock
from typing import TYPE_CHECKING

from netcore._poll_masks import event_bits, poll_mask
from netcore._timeouts import LONGEST
from netcore.backends.epoll import EPOLLONESHOT
from netcore.contract import CONDITIONS, CompletionBackend
from netcore.operations import Operation, Poll

assert not TYPE_CHECKING or sys.platform == "linux"

ROOM = 4096


class Stacked(CompletionBackend):
    """Completion over epoll(7)."""

    name = "stacked"
    supports = CONDITIONS
    needs = "Linux: select.epoll"
    scalable = True

    @classmethod
    def available(cls) -> bool:
        return hasattr(select, "epoll")

    def __init__(self) -> None:
        self._lock = RLock()
        self._epoll = select.epoll()
        self._probe = select.epoll()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._epoll.register(self._reader, select.EPOLLIN)
        self._armed: dict[int, Poll] = {}
        self._cancels: list[Poll] = []
        self._closed = False

    def check(self, fd: int) -> None:
        self._probe.register(fd, 0)
        self._probe.unregister(fd)

    def submit(self, operation: Operation) -> None:
        assert isinstance(operation, Poll)
        assert not operation.in_flight, "submitted while in flight"
        with self._lock:
            assert operation.fd not in self._armed, "two polls of one descriptor"
            operation.in_flight, operation.found = True, 0
            try:
                self._epoll.register(operation.fd, poll_mask(operation.events) | EPOLLONESHOT)
            except OSError:
                operation.in_flight = False
                raise
            self._armed[operation.fd] = operation

    def cancel(self, operation: Operation) -> None:
        with self._lock:
            if isinstance(operation, Poll) and self._armed.get(operation.fd) is operation:
                self._cancels.append(operation)
                self.wake()

    def wait(self, timeout: float | None, limit: int | None = None) -> list[Operation]:
        if timeout is None or timeout > LONGEST:
            timeout = LONGEST
        done: list[Operation] = []
        ready = self._epoll.poll(timeout, ROOM if limit is None else limit)
        with self._lock:
            for fd, mask in ready:
                if fd == self._reader:
                    os.read(self._reader, 4096)
                elif fd in self._armed:
                    poll = self._armed[fd]
                    poll.found = event_bits(mask)
                    done.append(self._finish(poll))
            while self._cancels and (limit is None or len(done) < limit):
                poll = self._cancels.pop(0)
                if self._armed.get(poll.fd) is poll:
                    done.append(self._finish(poll))
            if self._cancels:
                self.wake()
        return done

    def _finish(self, poll: Poll) -> Poll:
        del self._armed[poll.fd]
        try:
            self._epoll.unregister(poll.fd)
        except OSError:
            self._rebuild()
        poll.in_flight = False
        return poll

    def _rebuild(self) -> None:
        """It was closed, and may haunt us while a duplicate lives (epoll(7), Q6): begin afresh.

        The set keeps its number: another thread may be waiting on it.
        """
        fresh = select.epoll()
        os.dup2(fresh.fileno(), self._epoll.fileno(), inheritable=False)
        fresh.close()
        self._epoll.register(self._reader, select.EPOLLIN)
        for poll in self._armed.values():
            with contextlib.suppress(OSError):
                self._epoll.register(poll.fd, poll_mask(poll.events) | EPOLLONESHOT)

    def wake(self) -> None:
        if not self._closed:
            with contextlib.suppress(BlockingIOError):  # Full is awake.
                os.write(self._writer, b"x")

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._epoll.close()
                self._probe.close()
                os.close(self._reader)
                os.close(self._writer)
