"""The kernel's side of kqueue(2): one queue, its changes and the wait for its events.

As in the kernels, something that happens to a descriptor only *activates* a knote; whether its
condition holds is asked when it is about to be delivered (FreeBSD kern_event.c kqueue_scan, XNU
kern_event.c knote_process). What is not EV_CLEAR goes back to the end of the queue.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Sequence
from typing import Callable, TypeVar

from .edges import OUT, Edges
from .files import PipeView, Seen
from .knote import Entry, Knote
from .numbers import EV_CLEAR, EV_DISPATCH, EV_EOF, EV_ERROR, EV_ONESHOT, EV_RECEIPT, Flavour
from .table import Table

_RECHECK = 20_000_000  # ns between looks at knotes whose descriptor never wakes anybody

T = TypeVar("T")


class Queue:
    """What one kqueue(2) descriptor stands for."""

    def __init__(self, flavour: Flavour, is_queue: Callable[[int], bool]) -> None:
        self.flavour = flavour
        self._edges = Edges()
        self.number = self._edges.public.fileno()
        self._table = Table(flavour, self._edges, self.number, is_queue)
        # Reentrant: a signal handler may use the queue that it interrupted.
        self._lock = threading.RLock()
        self._torn = False  # a raising signal handler broke off a step; activations may be lost
        self._waiting = 0
        self._closed = False

    def control(
        self, changes: Sequence[Entry], max_events: int, timeout: int | None
    ) -> list[Entry]:
        """kevent(2): apply the changes, then wait up to timeout ns; both for once."""
        deadline = None if timeout is None else time.monotonic_ns() + timeout
        answers, error = self._atomically(lambda: self._change(changes, max_events))
        if error:
            raise OSError(error, os.strerror(error))
        if answers or not max_events:
            return answers
        return self._wait(max_events, deadline)

    def close(self) -> None:
        """Take the descriptor away. Who is waiting is told, or keeps waiting, by flavour."""
        with self._lock:
            self._closed = True
            with contextlib.suppress(OSError):  # close(2) on its number came first
                self._edges.public.close()
            if not self._waiting:
                self._edges.close()
            elif self.flavour.close_ends_waits:
                self._edges.ring(True)

    def abandon(self) -> None:
        """In a forked child: close without the lock, whose owner may not exist here."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._edges.public.close()
        self._edges.close()

    def _atomically(self, step: Callable[[], T]) -> T:
        """Run step as the kernel would: undisturbed by threads, and without losing a knote's
        event to a signal handler that raises in the middle."""
        with self._lock:
            if self._torn:
                self._torn = False
                for knote in list(self._table.knotes.values()):
                    self._table.activate(knote)
            try:
                return step()
            except BaseException:
                self._torn = True
                raise
            finally:
                if not self._closed:
                    self._edges.ring(bool(self._table.active))

    # Changes

    def _change(self, changes: Sequence[Entry], max_events: int) -> tuple[list[Entry], int]:
        if self._closed:
            return [], errno.EBADF
        answers: list[Entry] = []
        for change in changes:
            error = self._table.register(change)
            if not error and not change.flags & EV_RECEIPT:
                continue
            if len(answers) < max_events:
                answers.append(self._answer(change, error))
            elif error or self.flavour.receipt_needs_room:
                return [], error
        return answers, 0

    def _answer(self, change: Entry, error: int) -> Entry:
        flags = EV_ERROR | (change.flags if self.flavour.error_keeps_flags else 0)
        return Entry(change.ident, change.filter, flags, change.fflags, error, change.udata)

    # Events

    def _wait(self, max_events: int, deadline: int | None) -> list[Entry]:
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._waiting += 1
        try:
            while True:
                events = self._atomically(lambda: self._scan(max_events))
                if events:
                    return events
                if self._closed and self.flavour.close_ends_waits:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                left = None if deadline is None else deadline - time.monotonic_ns()
                if left is not None and left <= 0:
                    return []
                if self._table.rechecked:
                    left = _RECHECK if left is None else min(left, _RECHECK)
                # A signal ends this too: its handler runs now, then the wait goes on (PEP 475).
                self._edges.sleep(left)
        finally:
            with self._lock:
                self._waiting -= 1
                if self._closed and not self._waiting:
                    self._edges.close()

    def _scan(self, max_events: int) -> list[Entry]:
        for fd, side in self._edges.collect():
            for key in self._table.keys(fd, side):
                if key in self._table.knotes:
                    self._table.activate(self._table.knotes[key])
        for knote in list(self._table.rechecked.values()):
            if not knote.flags & EV_CLEAR or knote.look() != knote.fired:
                self._table.activate(knote)
        events: list[Entry] = []
        for _ in range(len(self._table.active)):
            if len(events) == max_events or not self._table.active:
                break
            event = self._deliver(self._table.active.popitem(last=False)[1])
            if event is not None:
                events.append(event)
        return events

    def _deliver(self, knote: Knote) -> Entry | None:
        """The event of an active knote; None when its condition holds no longer."""
        if self._table.knotes.get(knote.key) is not knote or not self._table.is_same_file(knote):
            self._table.drop(knote)
            return None
        seen = knote.look()
        if self.flavour.oneshot_is_not_rechecked and knote.flags & EV_ONESHOT:
            seen = knote.fired or seen
        knote.fired = seen
        if seen is None:
            return None
        ends = self.flavour.pipe_write_eof_is_last and seen.eof and knote.side == OUT
        if ends and isinstance(knote.view, PipeView):
            knote.flags |= EV_ONESHOT
        return self._fill_and_requeue(knote, seen)

    def _fill_and_requeue(self, knote: Knote, seen: Seen) -> Entry:
        fflags = seen.fflags if seen.eof or knote.view is None else knote.fflags | seen.fflags
        flags = knote.flags | (EV_EOF if seen.eof else 0)
        event = Entry(*knote.key, flags, fflags, seen.data, knote.udata)
        if knote.flags & EV_CLEAR:
            knote.fflags = 0
            knote.triggered = False
        else:
            knote.fflags = fflags
        if knote.flags & EV_ONESHOT:
            self._table.drop(knote)
        elif knote.flags & EV_DISPATCH:
            knote.disabled = True
        elif not knote.flags & EV_CLEAR:
            self._table.activate(knote)
        return event
