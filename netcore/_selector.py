"""The Selector: one wait over everything that is registered.

Threads. Changes hold ``_lock``; a wait does not, so that both go on side by side. One thread waits
at a time. A change goes to the kernel first, then into ``_touched`` if somebody waits, then into
the tables. So a wait that finds every row in its place, and then ``_touched`` empty, has seen no
change in between; any other takes ``_resolve``, which looks everything up again under the lock.
"""

from __future__ import annotations

from operator import index
from selectors import SelectorKey
from time import monotonic

from netcore import _fork, _loader
from netcore._attached import Pairs
from netcore._registry import any_stale, is_stale
from netcore._single import wait_for
from netcore._submission import Submission
from netcore._threads import other_threads
from netcore._timeouts import LONGEST, seconds
from netcore._waker import new_waker
from netcore.contract import (
    CLOSED,
    CONDITIONS,
    EDGE,
    EVENT_HANGUP,
    EVENT_READ,
    FAILED,
    ONESHOT,
    Backend,
)

# The most entries that the kernel can be asked for at once (a C int of bytes, at 16 each).
_MOST = 2**26
# Long results whose objects are believed to be open before one is looked at.
_LOOK_EVERY = 64

Rows = list[tuple[SelectorKey, int]]


class Selector(Submission):
    """Waits until one of many descriptors is ready; a ``selectors.BaseSelector``, and more.

    ``backend`` is a name out of ``available_backends()``, a Backend class, or ``"module:Class"``;
    by default the best one here, or what the environment variable NETCORE_BACKEND says. Raises
    ValueError if there is no such backend or it cannot run here.

    Every method may be called from any thread, also while another thread waits, and takes effect in
    that wait. After ``close`` every method raises RuntimeError. In a forked child the selector
    works on a private copy of the registrations; the parent notices nothing.
    """

    def __init__(self, backend: str | type[Backend] | None = None) -> None:
        make = _loader.load(backend)
        super().__init__(make)
        self._woken = False  # wakeup() was called, and no wait has ended for it yet.
        self._masks = {}
        self._read_mask, self._write_mask = make.read_mask, make.write_mask
        self._batch = make.batch  # Grows with the longest answer.
        self._unlooked = 1
        self._driver = None
        native = make()
        try:
            self._adopt(new_waker(make), native)
            self._closed = False
            self._attach(native)
        except BaseException:
            self._closed = True
            native.close()
            raise
        _fork.remember(self)

    @property
    def timeout_granularity(self) -> float:
        """How late a wait may end because the kernel counts in such steps, in seconds."""
        return self._make.timeout_granularity

    @property
    def max_descriptors(self) -> int | None:
        """How many descriptors the kernel interface can hold, or None."""
        return self._make.max_descriptors

    def select(self, timeout: float | None = None, max_events: int | None = None) -> Rows:
        """Wait for at most ``timeout`` seconds; return ``(key, events)`` for what is ready.

        None waits for ever, a number <= 0 not at all. Never early, and late by no more than
        ``timeout_granularity``. The list is empty after the timeout and after ``wakeup``. At most
        ``max_events`` entries (>= 1) if given; the others get their turn in later calls.

        Raises RuntimeError if another thread is waiting already, and when the selector is closed. A
        signal does not end the wait unless its handler raises (PEP 475).
        """
        if self._waiting and other_threads():
            raise RuntimeError(f"another thread is waiting on {self!r}")
        try:
            # A flag and not a lock: a signal handler may raise between acquire() and try. Nothing
            # is called between the test and here, so that CPython does not switch threads.
            self._waiting = True
            # The hot path: no work but for what is ready, and no loop. The rest is in _go_on.
            deadline = None
            if timeout:
                timeout, deadline = _until(timeout)
            elif timeout is not None:
                timeout = 0  # Whatever kind of number it was.
            room = self._batch if max_events is None else _positive(max_events)
            pairs = self._wait(timeout, room)
            if len(pairs) == 1:
                fd, mask = pairs[0]
                if mask == self._read_mask:
                    row = self._readable[fd]
                elif mask == self._write_mask:
                    row = self._writable[fd]
                else:
                    row = self._row(fd, mask)
                if row is not None and not self._touched:
                    try:
                        fileobj = row[0][0]
                        if fileobj.__class__ is int or fileobj.fileno() == fd:
                            pairs[0] = row  # Cheaper than a new list.
                            return pairs  # type: ignore[return-value]
                    except ValueError:
                        pass  # A closed file.
            elif pairs:
                if len(pairs) == room and max_events is None:
                    pairs = self._all_of(pairs)
                rows = self._rows(pairs)
                if all(rows) and not self._touched and not self._stale(rows):
                    return rows
            return self._go_on(pairs, timeout, deadline, max_events)
        finally:
            self._waiting = False
            if self._closed:
                self._dispose()

    def _go_on(
        self,
        pairs: Pairs,
        timeout: float | None,
        deadline: float | None,
        max_events: int | None,
    ) -> Rows:
        """Look at an answer that is not plain; wait again, with the time that is left, until there
        is a result.
        """
        while True:
            if pairs:
                rows, woken, again = self._resolve(pairs)
                if rows or woken or (timeout == 0 and not again):
                    return rows
            elif timeout == 0:
                return []
            driver = self._driver
            if driver and driver.has_news():
                return []
            if deadline is not None:
                timeout = min(max(deadline - monotonic(), 0.0), LONGEST)
                if not pairs and not timeout:
                    return []
            room = self._batch if max_events is None else _positive(max_events)
            pairs = self._wait(timeout, room)
            if len(pairs) == room and max_events is None:
                pairs = self._all_of(pairs)

    def _deliver(self, pairs: Pairs, deadline: float | None) -> Rows:
        """The rows of an answer that may be plain, or of the next one before ``deadline``."""
        rows = self._rows(pairs)
        if all(rows) and not self._touched and not self._stale(rows):
            return rows
        return self._go_on(pairs, None, deadline, None)

    def _all_of(self, pairs: Pairs) -> Pairs:
        """``pairs`` filled the room: ask again, with more of it, until it does not.

        What is level-triggered is reported again, what is one-shot or edge-triggered is not.
        """
        merged = dict(pairs)
        while self._batch and len(pairs) == self._batch:
            self._batch *= 4
            pairs = self._wait(0, self._batch)
            for fd, mask in pairs:
                merged[fd] = merged.get(fd, 0) | mask
        return list(merged.items())

    def _rows(self, pairs: Pairs) -> Rows:
        """The row of each pair, or None.

        Not a part of select(): before 3.12 every name that a comprehension uses is a cell, made
        anew in each call of the function around it, also where the comprehension is not reached.
        """
        read_mask, write_mask = self._read_mask, self._write_mask
        readable, writable, row_of = self._readable, self._writable, self._row
        return [
            readable[fd]
            if mask == read_mask
            else writable[fd]
            if mask == write_mask
            else row_of(fd, mask)  # type: ignore[misc]  # None: all() tells.
            for fd, mask in pairs
        ]

    def _stale(self, rows: Rows) -> bool:
        """Whether an object in ``rows`` is closed, as far as it is worth looking.

        A kernel that tracks files leaves only ghosts to be found; they come again and again.
        """
        self._unlooked -= 1
        if self._unlooked > 0:
            return False
        self._unlooked = _LOOK_EVERY if self._make.tracks_files else 1
        return any_stale(rows)

    def _row(self, fd: int, mask: int) -> tuple[SelectorKey, int] | None:
        """The row for any other mask; None for what has to be looked at."""
        key = self._fd_to_key.get(fd)
        if key is None or fd in self._suspects:
            return None
        events = self._events_of(mask) & key.events
        if not events:
            return None
        if key.events & ONESHOT:
            if self._emulates_oneshot:
                return None
            self._fired[fd] = key
        return key, events

    def _resolve(self, pairs: Pairs) -> tuple[Rows, bool, bool]:
        """Look ``pairs`` up with care: the rows, whether somebody called ``wakeup``, and whether
        something that is ready was left for another look.
        """
        found: dict[int, tuple[SelectorKey, int]] = {}
        woken = again = ghosts = False
        with self._lock:
            self._check_open()
            touched, self._touched = self._touched, set()
            for fd, mask in pairs:
                if fd == self._waker.fileno():
                    # A signal handler may call wakeup() in between, or raise.
                    woken = woken or self._woken
                    self._woken = False
                    self._drain()
                    woken = woken or self._woken
                    self._woken = False
                    continue
                key = self._fd_to_key.get(fd)
                if key is None or fd in self._silent:
                    # Not even the change that is under way explains it.
                    ghosts = ghosts or fd not in touched
                    continue
                bits = self._events_of(mask)
                if fd in touched and (bits & CLOSED or not key.events & (ONESHOT | EDGE)):
                    # It may tell of the time before the change. What still holds is told again.
                    again = True
                elif bits & CLOSED or is_stale(key):
                    self._silence(key)
                    ghosts = ghosts or fd in self._suspects
                elif fd in self._suspects and not _is_ready(fd, key.events):
                    ghosts = True
                else:
                    # No interest can keep an error away: rather than spin, say what was asked.
                    events = bits & key.events or (bits & FAILED and key.events & CONDITIONS)
                    if events:
                        before = found.get(fd, (key, 0))[1]
                        found[fd] = (key, before | events)
            for key, _ in found.values():
                if key.events & ONESHOT:
                    if self._emulates_oneshot:
                        self._silence(key)
                    else:
                        self._fired[key.fd] = key
            if ghosts or len(self._suspects) > max(16, len(self._fd_to_key) // 4):
                self._move(self._waker).close()
        return list(found.values()), woken, again


def _is_ready(fd: int, events: int) -> bool:
    if events & EVENT_HANGUP:
        events |= EVENT_READ  # That is how a hang-up shows.
    return bool(wait_for(fd, events & CONDITIONS & ~EVENT_HANGUP, 0))


def _until(timeout: float) -> tuple[float, float | None]:
    """How long to wait at first, and the deadline; None for a timeout that has passed already."""
    timeout = seconds(timeout)
    # A nanosecond more, because the sum is rounded: `now - start` must not be less than asked.
    return min(timeout, LONGEST), monotonic() + timeout + 1e-9 if timeout else None


def _positive(max_events: int) -> int:
    if index(max_events) < 1:
        raise ValueError(f"max_events must be at least 1, not {max_events!r}")
    return min(max_events, _MOST)
