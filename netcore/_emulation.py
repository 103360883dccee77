"""Completion from a readiness backend: non-blocking calls when the kernel says that they can work.

An operation is attempted when its turn in the queue of its descriptor has come and the descriptor
is believed to be ready: a send at once, a receive when the kernel has said so.

* A descriptor is told to the kernel once, edge-triggered where the kernel can, and what it said is
  remembered. So there is no system call per operation but the one that carries it out. A stream
  that gave less than was asked for is empty, until the kernel says more.
* Elsewhere, and for what the user has registered as well, the kernel is told before each wait what
  is waited for.
* What is received is to be in the processor's cache when it is handed out: a wait asks the kernel
  for fewer events if they bring a lot (``ROOM_BYTES``), and one descriptor is not read for ever
  (``BUDGET``).

Threads. ``submit`` and ``cancel`` take note, ``wait`` does the work, under the lock; the hot paths
are in ``_submission.py`` and ``_hot_paths.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from netcore import _attempts
from netcore._agenda import LOOK, PATIENCE, Agenda
from netcore._loader import cannot_watch
from netcore._progress import Pairs
from netcore._registry import fileno_of, number_of
from netcore._threads import give_back, other_threads
from netcore.contract import ReadinessBackend
from netcore.operations import (
    READING,
    WRITING,
    Batch,
    Operation,
    OperationCancelled,
    Poll,
    Post,
)


class CompletionOverReadiness(Agenda):
    """Carries out operations over a native backend, and passes on what is not about them."""

    def __init__(
        self,
        native: ReadinessBackend,
        interest_of: Callable[[int], int],
        events_of: Callable[[int], int],
        lock: Any,
    ) -> None:
        super().__init__(native, interest_of, lock)
        self._events_of = events_of
        #: So many finished ones have ended a wait already.
        self.announced = 0
        #: The last wait has not asked the kernel.
        self.owed = False

    # -- the readiness backend, for everything else

    @classmethod
    def available(cls) -> bool:
        return True

    def watch(self, fd: int, old: int, new: int) -> None:
        channel = self._channels.by_fd.get(fd)
        if channel is not None:
            with self._lock:
                self.plain = 0
                channel.leave_hot_paths()  # From here on nothing is submitted but to ``submitted``.
                if (channel.reset or not channel.is_idle()) and not channel.is_closed():
                    before, channel.theirs = channel.theirs, new
                    try:
                        self._channels.tell(channel, afresh=True)
                    except BaseException:
                        channel.theirs = before
                        raise
                    return
                channel.theirs = old
                self._drop(channel)
        self.native.watch(fd, old, new)

    def wait(self, timeout: float | None, limit: int | None = None) -> Pairs:
        try:
            if self.submitted or self._stopped or self._cancels or self._interrupted:
                with self._lock:
                    self._advance()
            if len(self.finished) > self.announced:
                if not self.owed:
                    self.owed = True
                    return []
                timeout = 0
            elif timeout != 0:
                timeout = self._at_most(timeout)
            if self._channels.dirty:
                with self._lock:
                    self._tell_all()
            pairs = self.native_wait(timeout, limit)
            self.owed = False
            return self.after(pairs, idle=not pairs and timeout != 0)
        except BaseException:
            self.interrupt()
            raise

    def after(self, pairs: Pairs, idle: bool = False) -> Pairs:
        """What is to be done after the kernel was asked; returns those that are the user's."""
        lock = self._lock if other_threads() else None
        try:
            if lock:
                lock.acquire()
            if self._cancels:
                self._end_cancelled()
            if self._below and self._below.others:
                self._fetch()
            if pairs:
                self.patience = PATIENCE
                pairs = self.take(pairs)
            if self._deadlines:
                self._expire()
            if self.submitted:  # By another thread, meanwhile.
                self.keep_order_of_new()
            if idle or monotonic() - self._looked > LOOK:
                self._find_closed()
            self._find_plain()
            return pairs
        finally:
            if lock:
                give_back(lock)

    def interrupt(self) -> None:
        """An exception has come in the middle of something."""
        self._interrupted = True
        self.plain = 0

    def wake(self) -> None:
        self.native.wake()

    def close(self) -> None:
        pending = self.pending()
        self.native.close()
        for operation in pending:
            self._end(operation, OperationCancelled("the selector was closed"))
        self.hand_out(None)
        self._clear()

    def abandon(self) -> None:
        self.native.abandon()
        self.hand_out(None)

    # -- operations

    def keep_order(self, operation: Operation) -> None:
        """Nothing may overtake ``operation``, which is submitted with care."""
        channel = self._channels.by_fd.get(operation.fd)
        if channel is not None:
            if operation.direction == WRITING:
                channel.hot_send = None
            elif operation.direction == READING:
                channel.let_go_of_recv()

    def keep_order_of_new(self) -> None:
        """As ``keep_order``, of what was submitted by somebody else while an operation came in
        that stands in ``hot_recv``.
        """
        for operation in list(self.submitted):
            if operation.direction == READING:
                self.keep_order(operation)

    def has_news(self) -> bool:
        """Whether something was finished since this was asked last."""
        before, self.announced = self.announced, len(self.finished)
        return self.announced > before

    def cancel(self, operation: Operation) -> bool:
        """Under the lock. False if it is not pending here."""
        if operation._owner is not self:
            return False
        self._cancel(operation)
        return True

    def _cancel(self, operation: Operation) -> None:
        self.plain = 0
        self._cancels.append(operation)  # First: after an exception it is called back once more.
        self._call_back(operation)  # At once: it may be closed next.

    def cancel_all(self, file: Any) -> int:
        """Under the lock: cancel what is pending on ``file``; how much that is."""
        try:
            fd = fileno_of(file)
        except ValueError:
            fd = -2  # Closed: only its identity is left.
        mine = [
            op
            for op in self.pending()
            if op.subject is file or (op.fd == fd and number_of(op.subject) == fd)
        ]
        for operation in mine:
            self._cancel(operation)
        return len(mine)

    def pending(self) -> list[Operation]:
        """What was submitted and is not finished."""
        pending = [*self.submitted, *self._flying]
        for channel in list(self._channels.by_fd.values()):
            pending += channel.pending()
        return pending

    def hand_out(self, limit: int | None) -> list[Operation]:
        """What is finished, oldest first; at most ``limit``."""
        due = Batch()
        done, batch = self.finished, self.due
        try:
            self.finished, self.due, self.announced = [], due, 0
            for operation in list(self._cancels):
                if operation._owner is not self:  # It was faster.
                    self._cancels.remove(operation)
            if limit is not None and len(done) > limit:
                done, self.finished = done[:limit], done[limit:]
                self.announced = len(self.finished)
                self.plain = 0
                for operation in self.finished:
                    operation._owner = self.due
            if self._pinned:
                self._pinned = len(self.finished) > 0
                for operation in done:
                    operation._forget()
            batch.over = self
            return done
        except BaseException:  # Of a signal handler: the next one gets them.
            self.finished = done + self.finished
            self._pinned = True
            for operation in self.finished:
                operation._owner = self.due
            raise

    def look_at(self, operation: Operation) -> None:
        """Find out how ``operation``, which was not submitted before, is done; refuse it if it
        cannot.
        """
        if isinstance(operation, Post) or (self._carrier and self._carrier.takes(operation)):
            return
        if isinstance(operation, Poll):
            missing = operation.events & ~self.native.supports
            if missing:
                raise cannot_watch(self.native.name, missing)
        else:
            _attempts.prepare(operation, type(self.native))
        if self.native.max_descriptors is None and operation.on_socket:
            return
        fd = operation.fd
        with self._lock:
            if fd not in self._channels.by_fd and not self._channels.interest_of(fd):
                try:
                    self.native.watch(fd, 0, 0)  # Could it be watched?
                except FileExistsError:
                    pass  # It is, and a one-shot interest in it was delivered.

    # -- a new backend below

    def move(self, native: ReadinessBackend) -> None:
        """Go on over ``native``, which knows of the user's interests."""
        for operation in self._flying:
            self._end(operation, OperationCancelled("its backend was replaced"))
        self._flying.clear()
        self._work_on(native)
        self._channels.work_on(native)

    def orphan(self, lock: Any) -> None:
        """In a forked child: what is pending is the parent's."""
        self._lock, self.plain = lock, 0
        for operation in self.pending():
            self._end(operation, OperationCancelled("it was left to the parent process"))
        self._clear()

    def _clear(self) -> None:
        for these in (
            self.submitted,
            self._channels,
            self._deadlines,
            self._stopped,
            self._flying,
        ):
            these.clear()
