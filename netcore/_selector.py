"""The Selector: one wait over everything that is registered.

Threads. Changes hold ``_lock``; a wait does not, so that both go on side by side. One thread waits
at a time. A change goes to the kernel first, then into ``_touched`` if somebody waits, then into
the tables. So a wait that finds every row in its place, and then ``_touched`` empty, has seen no
change in between; any other takes ``_resolve``, which looks everything up again under the lock.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from operator import index
from selectors import SelectorKey
from threading import RLock
from time import monotonic
from typing import NoReturn, SupportsIndex

from netcore import _fork, _loader
from netcore._registration import Registration, _nothing, _other_threads
from netcore._registry import any_stale, is_stale
from netcore._single import wait_for
from netcore._timeouts import LONGEST, seconds
from netcore._waker import NativeWaker, Waker, new_waker
from netcore.contract import (
    CLOSED,
    CONDITIONS,
    EDGE,
    EVENT_READ,
    FAILED,
    ONESHOT,
    Backend,
    ReadinessBackend,
)

# The most entries that the kernel can be asked for at once (a C int of bytes, at 16 each).
_MOST = 2**26
# Long results whose objects are believed to be open before one is looked at.
_LOOK_EVERY = 64

Rows = list[tuple[SelectorKey, int]]
Pairs = list[tuple[int, int]]


class Selector(Registration):
    """Waits until one of many descriptors is ready; a ``selectors.BaseSelector``, and more.

    ``backend`` is a name out of ``available_backends()``, a Backend class, or ``"module:Class"``;
    by default the best one here, or what the environment variable NETCORE_BACKEND says. Raises
    ValueError if there is no such backend or it cannot run here.

    Every method may be called from any thread, also while another thread waits, and takes effect in
    that wait. After ``close`` every method raises RuntimeError. In a forked child the selector
    works on a private copy of the registrations; the parent notices nothing.
    """

    _wait: Callable[..., Pairs]
    _disposed = False

    def __init__(self, backend: str | type[Backend] | None = None) -> None:
        make = _loader.load(backend)
        super().__init__(make)
        self._woken = False  # wakeup() was called, and no wait has ended for it yet.
        self._masks: dict[int, int] = {}  # What events_of() said before.
        self._read_mask, self._write_mask = make.read_mask, make.write_mask
        self._batch = make.batch  # Grows with the longest answer.
        self._look_every = _LOOK_EVERY if make.tracks_files else 1
        self._unlooked = self._look_every
        native = make()
        try:
            self._adopt(new_waker(make), native)
            self._attach(native)
        except BaseException:
            native.close()
            raise
        self._closed = False
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
        if self._waiting and _other_threads():
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
            if deadline is not None:
                timeout = min(max(deadline - monotonic(), 0.0), LONGEST)
                if not pairs and not timeout:
                    return []
            room = self._batch if max_events is None else _positive(max_events)
            pairs = self._wait(timeout, room)
            if len(pairs) == room and max_events is None:
                pairs = self._all_of(pairs)

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
        self._unlooked = self._look_every
        return any_stale(rows)

    def _row(self, fd: int, mask: int) -> tuple[SelectorKey, int] | None:
        """The row for any other mask; None for what has to be looked at."""
        key = self._fd_to_key.get(fd)
        if key is None or fd in self._suspects:
            return None
        if key.events & ONESHOT and self._emulates_oneshot:
            return None
        events = self._events_of(mask) & key.events
        return (key, events) if events else None

    def _events_of(self, mask: int) -> int:
        try:
            return self._masks[mask]
        except KeyError:
            return self._masks.setdefault(mask, self._make.events_of(mask))

    def _resolve(self, pairs: Pairs) -> tuple[Rows, bool, bool]:
        """Look ``pairs`` up with care: the rows, whether somebody called ``wakeup``, and whether
        something that is ready was left for another look.
        """
        found: dict[int, tuple[SelectorKey, int]] = {}
        woken = again = ghosts = False
        with self._lock:
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
                elif fd in self._suspects and not wait_for(fd, key.events & CONDITIONS, 0):
                    ghosts = True
                else:
                    # No interest can keep an error away: rather than spin, say what was asked.
                    events = bits & key.events or (bits & FAILED and key.events & CONDITIONS)
                    if events:
                        before = found.get(fd, (key, 0))[1]
                        found[fd] = (key, before | events)
            if self._emulates_oneshot:
                for key, _ in found.values():
                    if key.events & ONESHOT:
                        self._silence(key)
            if ghosts or len(self._suspects) > max(16, len(self._fd_to_key) // 4):
                self._move(self._waker).close()
        return list(found.values()), woken, again

    # -- waking

    def wakeup(self) -> None:
        """End the wait that is running, or else the next one, without an event.

        Safe from any thread and in a signal handler. Many calls before one wait ends are one.
        """
        with self._lock:  # Else close() might give the channel's number to somebody else.
            self._check_open()
            self._leave_parent()
            if not self._woken:
                try:
                    self._woken = True
                    self._wake()
                except BaseException:  # From a signal handler: once too often is better than never.
                    self._woken = False
                    raise

    def _wake(self) -> None:
        try:
            self._waker.set()
        except OSError:
            self._renew_waker()
            self._waker.set()

    def _drain(self) -> None:
        try:
            self._waker.drain()
        except OSError:
            self._renew_waker()

    def _renew_waker(self) -> None:
        """Replace a channel that was broken by somebody: closed, shut down, lost in a sleep."""
        broken = self._waker
        if broken.fileno() not in self._fd_to_key:  # Else the number is somebody else's by now.
            try:
                self._backend.watch(broken.fileno(), EVENT_READ, 0)
            except (OSError, ValueError):
                pass  # Closed: gone already.
        self._adopt(new_waker(self._make), self._backend)
        broken.close()

    # -- life

    def _adopt(self, waker: Waker, backend: ReadinessBackend) -> None:
        """Have ``backend`` watch ``waker``, or close it and raise."""
        if isinstance(waker, NativeWaker):
            waker.set = backend.wake
            self._waker = waker
            return
        fd = waker.fileno()
        try:
            backend.watch(fd, 0, EVENT_READ)
            if self._make.dense and fd >= len(self._readable):
                self._grow(fd)
            self._readable[fd] = self._writable[fd] = None
        except BaseException:
            if waker is not getattr(self, "_waker", None):
                waker.close()
            raise
        self._waker = waker

    def _attach(self, native: ReadinessBackend) -> None:
        """Work with ``native`` from now on. Calls nothing once it has begun: it is done or not."""
        raw = native.raw()
        interest = self._told
        if raw:
            interest = {events: raw.mask(told) for events, told in self._told.items()}
        watch: Callable[[int, int, int], None] = native.watch
        wait: Callable[..., Pairs] = native.wait
        if raw:
            self._add, self._modify, self._remove, wait = raw.add, raw.modify, raw.remove, raw.wait
        self._backend, self._watch, self._wait, self._interest = native, watch, wait, interest
        self._raw = raw is not None

    def _move(self, waker: Waker) -> ReadinessBackend:
        """Take everything to a fresh backend and return the old one.

        In it there are no ghosts, and nothing that is shared with the process that forked us.
        One-shot interests that were delivered already are armed again.
        """
        old, fresh = self._backend, self._make()
        try:
            self._adopt(waker, fresh)
            for key in list(self._fd_to_key.values()):
                if key.fd not in self._silent:
                    try:
                        fresh.watch(key.fd, 0, self._told[key.events])
                    except OSError:
                        self._silent.add(key.fd)  # Closed meanwhile.
            self._attach(fresh)
        except BaseException:
            if self._backend is not fresh:
                fresh.close()
            raise
        suspects, self._suspects = self._suspects, set()
        for fd in suspects - self._silent:
            if fd in self._fd_to_key:
                self._set_rows(self._fd_to_key[fd])
        return old

    def close(self) -> None:
        """Forget all registrations and end the wait that is running with RuntimeError.

        Idempotent. The registered files stay open. The descriptors of the selector itself are
        closed when the waiting thread has left.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._fd_to_key.clear()
            self._raw, self._wait, self._watch = False, _raise_closed, _raise_closed
            if self._waiting:
                self._wake()
            else:
                self._dispose()

    def _dispose(self) -> None:
        with self._lock:
            if not self._disposed:
                self._disposed = True
                if self._forked:
                    self._backend.abandon()
                else:
                    self._backend.close()
                self._waker.close()
                # The rows hold keys, and these what the user gave.
                self._readable = self._writable = defaultdict(_nothing)

    def _check_open(self) -> None:
        if self._closed:
            _raise_closed()

    @property
    def fileno(self) -> Callable[[], int]:
        """``fileno()``: a descriptor that is readable when something is ready, for nesting.

        Only with a backend that has one: poll and select have not, as in the stdlib. It changes
        when the backend is made afresh: in a forked child, and to be rid of what a registered
        descriptor left behind that was closed while a duplicate lives.
        """
        self._check_open()
        self._leave_parent()
        own: Callable[[], int] | None = getattr(self._backend, "fileno", None)
        if own is None:
            raise AttributeError(f"the {self.backend} backend has no descriptor of its own")
        return own

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"a selector cannot be copied or pickled: {self!r}")

    def __enter__(self) -> Selector:
        self._check_open()
        return self

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):  # True: __init__ has failed.
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._fd_to_key)} registered"
        return f"<netcore.{type(self).__name__} {self.backend}, {state}>"

    # -- fork

    def _after_fork(self) -> None:
        """In the child: let the next call leave the parent's backend alone."""
        if not self._closed:
            self._lock = RLock()  # Another thread may have held the old one.
            self._waiting = self._woken = False
            self._touched = set()
            self._forked = True
            self._raw, self._interest = False, self._told
            self._wait, self._watch = self._wait_in_child, self._watch_in_child

    def _leave_parent(self) -> None:
        if self._forked:
            with self._lock:
                shared = self._waker
                self._move(new_waker(self._make)).abandon()
                self._forked = False
                shared.close()

    def _wait_in_child(self, timeout: float | None, limit: int | None = None) -> Pairs:
        self._leave_parent()
        return self._wait(timeout, limit)

    def _watch_in_child(self, fd: int, old: int, new: int) -> None:
        self._leave_parent()
        self._watch(fd, old, new)


def _until(timeout: float) -> tuple[float, float | None]:
    """How long to wait at first, and the deadline; None for a timeout that has passed already."""
    timeout = seconds(timeout)
    # A nanosecond more, because the sum is rounded: `now - start` must not be less than asked.
    return min(timeout, LONGEST), monotonic() + timeout + 1e-9 if timeout else None


def _positive(max_events: int) -> int:
    if index(max_events) < 1:
        raise ValueError(f"max_events must be at least 1, not {max_events!r}")
    return min(max_events, _MOST)


def _raise_closed(*_: object) -> NoReturn:
    raise RuntimeError("the selector is closed")
