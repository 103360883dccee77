"""`kqueue` and `kevent` as CPython's `select` has them on macOS and FreeBSD.

One difference: after a signal CPython hands the whole changelist to kevent(2) again
(selectmodule.c, the loop of `control`); here changes are applied once.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import sys
import weakref
from collections.abc import Iterable
from typing import Any, Protocol

from .knote import Entry
from .numbers import EV_ADD, EV_SYSFLAGS, EVFILT_READ, MACOS
from .queue import Queue


class HasFileno(Protocol):
    def fileno(self) -> int: ...


_queues: dict[int, Queue] = {}  # by descriptor, as the kernel finds them
_objects: weakref.WeakSet[kqueue] = weakref.WeakSet()
flavours = [MACOS]  # of the queues that are made; the last one counts


@functools.total_ordering
class kevent:
    """One change or one event."""

    __hash__ = None  # type: ignore[assignment]  # as in CPython

    def __init__(
        self,
        ident: int | HasFileno,
        filter: int = EVFILT_READ,
        flags: int = EV_ADD,
        fflags: int = 0,
        data: int = 0,
        udata: int = 0,
    ) -> None:
        number = ident if isinstance(ident, int) else ident.fileno()
        if not 0 <= number < 1 << 64:
            raise OverflowError("can't convert negative int to unsigned")
        if not -(1 << 15) <= filter < 1 << 15:
            raise OverflowError("filter is out of range of a signed short")
        self.ident = number
        self.filter = filter
        self.flags = flags & 0xFFFF
        self.fflags = fflags & 0xFFFFFFFF
        self.data = data
        self.udata = udata & (1 << 64) - 1

    def _fields(self) -> tuple[int, ...]:
        return (self.ident, self.filter, self.flags, self.fflags, self.data, self.udata)

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, kevent) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._fields() < other._fields() if isinstance(other, kevent) else NotImplemented

    def __repr__(self) -> str:
        return (
            f"<select.kevent ident={self.ident} filter={self.filter} flags={self.flags:#x} "
            f"fflags={self.fflags:#x} data={self.data:#x} udata={self.udata:#x}>"
        )


class kqueue:
    """A kernel event queue."""

    def __init__(self) -> None:
        queue = Queue(flavours[-1], _queues.__contains__)
        _queues[queue.number] = queue
        self._adopt(queue.number)

    def _adopt(self, fd: int) -> None:
        self._fd = fd
        _objects.add(self)

    @classmethod
    def fromfd(cls, fd: int) -> kqueue:
        made = cls.__new__(cls)
        made._adopt(fd)
        return made

    def __del__(self) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return getattr(self, "_fd", -1) < 0

    def close(self) -> None:
        if self.closed:
            return
        fd, self._fd = self._fd, -1
        queue = _queues.pop(fd, None)
        if queue is not None:
            queue.close()
        else:
            # Not ours, or no more since a fork: CPython closes the number all the same.
            with contextlib.suppress(OSError):
                os.close(fd)

    def fileno(self) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed kqueue object")
        return self._fd

    def control(self, *arguments: Any) -> list[kevent]:
        """control(changelist, max_events[, timeout=None]) -> the events; positional only."""
        fd = self.fileno()
        changelist, max_events, timeout = _control_arguments(*arguments)
        if max_events < 0:
            raise ValueError(f"Length of eventlist must be 0 or positive, got {max_events}")
        nanoseconds = _nanoseconds(timeout)
        changes = _entries(changelist)
        queue = _queues.get(fd)
        if queue is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return [
            kevent(e.ident, e.filter, e.flags, e.fflags, e.data, e.udata)
            for e in queue.control(changes, max_events, nanoseconds)
        ]


def _control_arguments(
    changelist: Iterable[kevent] | None, max_events: int, timeout: float | None = None, /
) -> tuple[Iterable[kevent] | None, int, float | None]:
    return changelist, max_events, timeout


def _nanoseconds(timeout: float | None) -> int | None:
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a real number or None, not {type(timeout).__name__}")
    # Rounded away from zero, as _PyTime_ROUND_TIMEOUT does.
    exact = timeout * 1_000_000_000
    rounded = math.ceil(exact) if exact >= 0 else math.floor(exact)
    if rounded >= 1 << 63:
        raise OverflowError("timeout is too large")
    if rounded < 0:
        raise ValueError("timeout must be positive or None")
    return rounded


def _entries(changelist: Iterable[kevent] | None) -> list[Entry]:
    if changelist is None:
        return []
    try:
        changes = list(changelist)
    except TypeError:
        raise TypeError("changelist is not iterable") from None
    if not all(isinstance(change, kevent) for change in changes):
        raise TypeError("changelist must be an iterable of select.kevent objects")
    return [
        Entry(c.ident, c.filter, c.flags & ~EV_SYSFLAGS, c.fflags, c.data, c.udata) for c in changes
    ]


def lose_queues_in_child() -> None:
    """A queue is not inherited over fork(2): its descriptor is gone in the child."""
    for queue in list(_queues.values()):
        queue.abandon()
    _queues.clear()
    # CPython marks its objects closed since 3.12.1; before, control() finds EBADF (gh-110395).
    if sys.version_info >= (3, 12, 1):
        for made in list(_objects):
            made._fd = -1
