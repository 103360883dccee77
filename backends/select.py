"""The backend for everywhere: select(2) through the stdlib, on Windows Winsock's select()."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys

from netcore._descriptors import refuse_files
from netcore._sockets import is_connected
from netcore._turns import Turns
from netcore.contract import (
    CLOSED,
    EVENT_PRIORITY,
    EVENT_READ,
    EVENT_WRITE,
    FAILED,
    ReadinessBackend,
)

_WINDOWS = sys.platform == "win32"
# FD_SETSIZE: on Unix a limit of the number itself, on Windows of how many there are (CPython
# compiles with 512), one of which the wake-up channel takes.
_LIMIT = 511 if _WINDOWS else 1024
_WSAENOTSOCK = 10038
_SLICE = 0.1  # Seconds.


class Select(ReadinessBackend):
    """select(2): the most limited one, and the only one that is everywhere."""

    name = "select"
    supports = EVENT_READ | EVENT_WRITE | EVENT_PRIORITY
    # Unix counts microseconds; Windows waits in ticks of the system timer, 15.6 ms if nobody
    # asked for finer ones (timeBeginPeriod).
    timeout_granularity = 0.016 if _WINDOWS else 0.0001
    max_descriptors = _LIMIT
    sockets_only = _WINDOWS
    dense = not _WINDOWS

    @classmethod
    def available(cls) -> bool:
        return True

    def __init__(self) -> None:
        self._sets: dict[int, set[int]] = {
            EVENT_READ: set(),
            EVENT_WRITE: set(),
            EVENT_PRIORITY: set(),
        }
        # What select.select() is given, until the next change: a list is faster than a set, and no
        # other thread changes its size.
        self._lists: tuple[list[int], list[int], list[int]] | None = None
        self._changes = 0
        self._turns = Turns()
        # Windows: had out-of-band data that nobody asked for. It is connected, so that there is no
        # failed connect to come.
        self._urgent: set[int] = set()

    def watch(self, fd: int, old: int, new: int) -> None:
        if not old:
            (_check_socket if _WINDOWS else refuse_files)(fd)
            self._check_limit(fd)
        self._urgent.discard(fd)
        for bit, members in self._sets.items():
            if new & bit:
                members.add(fd)
            else:
                members.discard(fd)
        self._forget_lists()

    def _forget_lists(self) -> None:
        self._changes += 1
        self._lists = None

    def _check_limit(self, fd: int) -> None:
        if not _WINDOWS:
            if fd >= _LIMIT:
                raise ValueError(f"select() takes descriptors below {_LIMIT}, not {fd}")
        elif len(set().union(*self._sets.values())) > _LIMIT:
            raise ValueError(f"select() takes at most {_LIMIT} sockets here")

    def wait(self, timeout: float | None, limit: int | None = None) -> list[tuple[int, int]]:
        if _WINDOWS:  # Ctrl-C does not end Winsock's select(): its handler runs in between.
            timeout = _SLICE if timeout is None else min(timeout, _SLICE)
        lists = self._lists
        while lists is None:
            changes = self._changes
            self._lists = lists = self._make_lists()
            if changes != self._changes:  # By another thread, meanwhile.
                self._lists = lists = None
        try:
            readable, writable, exceptional = select.select(*lists, timeout)
        except OSError as error:
            if error.errno not in (errno.EBADF, _WSAENOTSOCK):
                raise
            return [(fd, CLOSED) for fd in set().union(*lists) if _is_closed(fd)]
        if writable or exceptional:
            masks = dict.fromkeys(readable, EVENT_READ)
            for fd in writable:
                masks[fd] = masks.get(fd, 0) | EVENT_WRITE
            for fd in exceptional:
                masks[fd] = masks.get(fd, 0) | (self._windows_trouble(fd) or EVENT_PRIORITY)
            ready = list(masks.items())
        else:
            ready = [(fd, EVENT_READ) for fd in readable]
        return ready if limit is None else self._turns.take(ready, limit)

    def _make_lists(self) -> tuple[list[int], list[int], list[int]]:
        reading, writing, urgent = self._sets.values()
        # A failed connect is told as an exception only (select, Winsock reference).
        watched = (reading | writing) - self._urgent | urgent if _WINDOWS else urgent
        return list(reading), list(writing), list(watched)

    def _windows_trouble(self, fd: int) -> int:
        """What an exception says on Windows: a failed connect, or out-of-band data."""
        if not _WINDOWS:
            return 0
        if not _is_connected(fd):
            return EVENT_READ | EVENT_WRITE | FAILED
        if fd not in self._sets[EVENT_PRIORITY]:
            self._urgent.add(fd)
            self._forget_lists()
        return EVENT_PRIORITY

    def close(self) -> None:
        for members in self._sets.values():
            members.clear()
        self._lists = None


def _is_closed(fd: int) -> bool:
    try:
        select.select([fd], [], [], 0) if _WINDOWS else os.fstat(fd)
    except OSError as error:
        if error.errno in (errno.EBADF, _WSAENOTSOCK):
            return True
        raise  # Of a signal handler.
    return False


def _check_socket(fd: int) -> None:
    """Raise OSError (WSAENOTSOCK) for what is no open socket."""
    if _is_closed(fd):
        number, message = _WSAENOTSOCK, "only open sockets can be watched on Windows"
        raise OSError(number, message, None, number)


def _is_connected(fd: int) -> bool:
    sock = socket.socket(fileno=fd)
    try:
        return is_connected(sock)
    finally:
        sock.detach()
