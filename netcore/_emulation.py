"""Completion from a readiness backend: non-blocking calls when the kernel says that they can work.

An operation is attempted when its turn in the queue of its descriptor has come and the descriptor
is believed to be ready: a send at once, a receive when the kernel has said so.

* A descriptor is told to the kernel once, edge-triggered where the kernel can, and what it said is
  remembered. So there is no system call per operation but the one that carries it out. A stream
  that gave less than was asked for is empty, until the kernel says more.
* Elsewhere, and for what the user has registered as well, the kernel is told before each wait what
  is waited for.
* Each wait reads no more than ``BUDGET`` bytes before it hands out what it has: whole batches of
  large messages would leave the processor's cache before anybody looks at them.

Threads. ``submit`` and ``cancel`` take note, ``wait`` does the work, under the lock; the hot paths
of ``submit`` are in ``_submission.py``.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from netcore import _attempts
from netcore._progress import LOOK, PATIENCE, Pairs, Progress
from netcore._registry import fileno_of, number_of
from netcore._threads import give_back, other_threads
from netcore.contract import (
    ReadinessBackend,
    event_names,
)
from netcore.operations import (
    NEVER,
    READING,
    WRITING,
    Batch,
    Operation,
    OperationCancelled,
    Poll,
    Post,
)


class CompletionOverReadiness(Progress):
    """Carries out operations over a native backend, and passes on what is not about them."""

    # -- the readiness backend, for everything else

    @classmethod
    def available(cls) -> bool:
        return True

    def watch(self, fd: int, old: int, new: int) -> None:
        channel = self._channels.by_fd.get(fd)
        if channel is not None:
            with self._lock:
                if (channel.reset or not channel.is_idle()) and not channel.is_closed():
                    before, channel.theirs = channel.theirs, new
                    channel.leave_hot_paths()
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
            pairs = self._native_wait(timeout, limit)
            self.owed = False
            idle = not pairs and timeout != 0
            lock = self._lock if other_threads() else None
            try:
                if lock:
                    lock.acquire()
                if self._cancels:
                    self._end_cancelled()
                if self._below and self._below.others:
                    self._fetch()
                if pairs:
                    self._patience = PATIENCE
                    pairs = self._take(pairs)
                if self._deadlines:
                    self._expire()
                if self.submitted:  # By another thread, meanwhile.
                    for operation in self._not_begun():
                        self.keep_order(operation)
                if idle or monotonic() - self._looked > LOOK:
                    self._find_closed()
            finally:
                if lock:
                    give_back(lock)
            return pairs
        except BaseException:
            self._interrupted = True
            raise

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
        """Nothing may overtake ``operation``, which is submitted."""
        channel = self._channels.by_fd.get(operation.fd)
        if channel is not None:
            if operation.direction == READING:
                channel.last_recv = None
            elif operation.direction == WRITING:
                channel.last_send = None

    def sent(self, operation: Any, sent: int) -> None:
        """``submit`` has attempted ``operation`` already, and sent so many bytes, not all."""
        channel = operation._channel
        operation._sent, operation._left = 0, len(operation.buffer)
        operation._argument = operation.buffer
        if sent:
            _attempts.send_rest(operation, sent)
        self._stopped[channel] = None  # To be gone on with by the next wait.

    def not_sent(self, operation: Any, error: BaseException) -> None:
        """As ``sent``, but the attempt has failed. Raises what no attempt fails with."""
        channel = operation._channel
        operation._sent = 0
        if isinstance(error, BlockingIOError):
            self.sent(operation, 0)
        elif isinstance(error, OSError):
            self._not_sent(channel, operation, error)
        else:  # A signal handler has raised: it is not submitted, and who knows what was sent.
            channel.writer, operation._owner = None, NEVER
            raise error

    def has_news(self) -> bool:
        """Whether something was finished since this was asked last."""
        before, self.announced = self.announced, len(self.finished)
        return self.announced > before

    def cancel(self, operation: Operation) -> bool:
        """Under the lock. False if it is not pending here."""
        if operation._owner is not self:
            return False
        self._cancels.append(operation)
        return True

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
        self._cancels += mine
        return len(mine)

    def pending(self) -> list[Operation]:
        """What was submitted and is not finished."""
        pending = [*self._not_begun(), *self._flying]
        for channel in self._channels.by_fd.values():
            pending += channel.pending()
        return pending

    def hand_out(self, limit: int | None) -> list[Operation]:
        """What is finished, oldest first; at most ``limit``."""
        done, batch = self.finished, self.due
        try:
            self.finished, self.due, self.announced = [], Batch(), 0
            if limit is not None and len(done) > limit:
                done, self.finished = done[:limit], done[limit:]
                self.announced = len(self.finished)
                for operation in self.finished:
                    operation._owner = self.due
            if self._pinned:
                self._pinned = len(self.finished) > 0
                for operation in done:
                    operation._forget()
            batch.over = True
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
                name = self.native.name
                raise ValueError(f"the {name} backend cannot watch {event_names(missing)}")
        else:
            _attempts.prepare(operation, type(self.native))
        if operation.fd not in self._channels.by_fd and not (
            self.native.max_descriptors is None and operation.on_socket
        ):
            with self._lock:
                if not self._channels.interest_of(operation.fd):
                    try:
                        self.native.watch(operation.fd, 0, 0)  # Could it be watched?
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
        self._lock = lock
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
