"""Waiting for one descriptor without a selector, as CPython's ``internal_select`` does."""

from __future__ import annotations

import errno
import select
import sys
from time import monotonic
from typing import TYPE_CHECKING

from netcore._poll_masks import event_bits, poll_mask
from netcore._registry import fileno_of
from netcore._timeouts import LONGEST, milliseconds, seconds
from netcore.contract import CLOSED, EVENT_PRIORITY, EVENT_READ, EVENT_WRITE

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

_MOST = 2**63 - 1 if sys.platform == "win32" else 2**31 - 1  # SOCKET or int
_ANY = EVENT_READ | EVENT_WRITE | EVENT_PRIORITY


def wait_for(fileobj: FileDescriptorLike, events: int, timeout: float | None = None) -> int:
    """Wait for at most ``timeout`` seconds until ``fileobj`` is ready; return the events, or 0.

    ``events`` is made of EVENT_READ, EVENT_WRITE and EVENT_PRIORITY. None waits for ever, a number
    <= 0 not at all. An error or a failed connection counts as both readable and writable. Opens no
    descriptor; thread-safe. A signal whose handler returns does not shorten the wait.

    Raises ValueError for bad events or a closed object, OSError (EBADF) for a closed number.
    """
    fd = fileno_of(fileobj)
    if fd > _MOST:
        raise ValueError(f"no open file descriptor in {fileobj!r}: {fd}")
    if not isinstance(events, int) or not events or events & ~_ANY:
        raise ValueError(f"invalid events: {events!r}")
    if timeout is not None:
        timeout = seconds(timeout)
    deadline = None if timeout is None else monotonic() + timeout
    once = _poll_once if hasattr(select, "poll") else _select_once
    while True:
        ready = once(fd, events, None if timeout is None else min(timeout, LONGEST))
        if ready or timeout == 0:
            return ready
        if deadline is not None:
            timeout = max(deadline - monotonic(), 0.0)
            if not timeout:
                return 0


def _poll_once(fd: int, events: int, timeout: float | None) -> int:
    if sys.platform == "win32":
        raise NotImplementedError("Windows has no poll()")
    poll = select.poll()
    poll.register(fd, poll_mask(events))
    for _, mask in poll.poll(milliseconds(timeout)):
        found = event_bits(mask)
        if found & CLOSED:
            raise OSError(errno.EBADF, f"not an open file descriptor: {fd}")
        return found & events or events  # What fails, fails whatever was asked.
    return 0


def _select_once(fd: int, events: int, timeout: float | None) -> int:
    reading = [fd] if events & EVENT_READ else []
    writing = [fd] if events & EVENT_WRITE else []
    # Windows tells of a failed connect only here (select, Winsock reference).
    readable, writable, exceptional = select.select(reading, writing, [fd], timeout)
    found = (
        (EVENT_READ if readable else 0)
        | (EVENT_WRITE if writable else 0)
        | (EVENT_PRIORITY & events if exceptional else 0)
    )
    return found or (events if exceptional else 0)
