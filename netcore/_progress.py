"""The half of the emulation that makes operations progress, done by the thread that waits.

See ``_emulation.py`` for how it goes about it.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from netcore import _attempts
from netcore._channel_table import Channels
from netcore._channels import Channel
from netcore._deadlines import Deadlines
from netcore._drivers import ReadinessOverCompletion
from netcore._timeouts import LONGEST
from netcore.contract import (
    CLOSED,
    CONDITIONS,
    EDGE,
    EVENT_HANGUP,
    EVENT_PRIORITY,
    EVENT_READ,
    EVENT_WRITE,
    FAILED,
    ONESHOT,
    ReadinessBackend,
)
from netcore.operations import (
    NOWHERE,
    READING,
    WRITING,
    Batch,
    Operation,
    OperationCancelled,
    Post,
    Recv,
    SendAll,
)

#: Bytes.
BUDGET: Final = 512 * 1024
#: How long nothing happens, in seconds, until it is worth looking for sockets that were closed
#: while operations were pending, of which Unix tells nobody. It doubles each time, up to LOOK.
PATIENCE: Final = 0.05
#: When a lot happens, they are looked for every so many seconds.
LOOK: Final = 1.0
_EARLY_ENDS = FAILED | EVENT_HANGUP | EVENT_PRIORITY
_RESET = (errno.ECONNRESET, errno.EPIPE)
# The others: an address, or a file, turns out to be none.
_FAILURES = (OSError, TypeError, ValueError, OverflowError)

Pairs = list[tuple[int, int]]


class Progress(ReadinessBackend):
    """Takes operations from ``submitted`` to ``finished``, under the lock.

    ``interest_of(fd)`` says what the user has registered ``fd`` for.
    """

    native: ReadinessBackend
    #: As of a Batch: what belongs to it is not done.
    over = False

    def __init__(
        self, native: ReadinessBackend, interest_of: Callable[[int], int], lock: Any
    ) -> None:
        #: Submitted by whatever thread, and not yet looked at.
        self.submitted: deque[Operation] = deque()
        #: Done, and not yet handed out; so many of them have ended a wait already.
        self.finished: list[Operation] = []
        #: What they belong to, until they are handed out.
        self.due = Batch()
        self._pinned = False  # Some of them have a buffer to be released.
        self.announced = 0
        self._lock = lock
        self._channels = Channels(native, interest_of)
        # Stopped by the budget; to be continued by the next wait.
        self._stopped: dict[Channel, None] = {}
        self._cancels: list[Operation] = []
        self._deadlines = Deadlines(self)
        # With the completion backend below, and those of them that have taken too long.
        self._flying: dict[Operation, None] = {}
        self._late: set[Operation] = set()
        self._budget = BUDGET
        self._patience = PATIENCE
        self._looked = monotonic()
        self.owed = False  # The last wait has not asked the kernel.
        self._interrupted = False
        self._masks: dict[int, int] = {}
        self._work_on(native)

    def _work_on(self, native: ReadinessBackend) -> None:
        raw = native.raw()
        self.native = native
        self._native_wait: Callable[..., Pairs] = raw.wait if raw else native.wait
        self._read_mask = native.read_mask
        self._below = native if isinstance(native, ReadinessOverCompletion) else None
        self._carrier = self._below.carrier if self._below else None

    def _not_begun(self) -> list[Operation]:
        while True:
            try:
                return list(self.submitted)
            except RuntimeError:
                pass  # Another thread has submitted something meanwhile: once more.

    def _advance(self) -> None:
        """Begin what was submitted, go on with what was stopped, end what was cancelled."""
        if self._interrupted or self._cancels:
            self._reconsider()
        self._budget = BUDGET
        if self._stopped:
            stopped, self._stopped = self._stopped, {}
            for channel in stopped:
                if channel.writable:
                    self._write(channel)
                if channel.readable:
                    self._read(channel)
        submitted = self.submitted
        while submitted:
            operation = submitted[0]
            if self._cancels and operation in self._cancels:
                self._end(operation, OperationCancelled())
            else:
                try:
                    self._start(operation)
                except OSError as error:
                    self._end(operation, error)
            submitted.popleft()
        self._cancels.clear()

    def _reconsider(self) -> None:
        """Bring things in order after an exception, and leave alone what was cancelled."""
        if self._interrupted:
            self._repair()
            self._interrupted = False
        self._end_cancelled()

    def _end_cancelled(self) -> None:
        """End what was cancelled, before it may be done and submitted again."""
        cancels, self._cancels = self._cancels, []
        for operation in cancels:
            if operation in self._flying:
                assert self._carrier is not None
                self._carrier.cancel(operation)
            elif operation in self._not_begun():
                self._cancels.append(operation)  # As soon as those before it were begun.
            elif self._remove(operation):
                self._end(operation, OperationCancelled())

    def _start(self, operation: Operation) -> None:
        if operation._deadline is not None:
            self._deadlines.note(operation)
        channel = operation._channel
        if channel.owner is not self:
            if isinstance(operation, Post):
                self._end(operation)
                return
            if self._carrier and self._fly(operation):
                return
            channel = operation._channel = self._channel_of(operation)
        first = channel.append(operation)
        if operation.direction == READING:
            if channel.readable:
                if first:
                    self._read(channel)
            elif not (channel.told & EDGE and channel.told & EVENT_READ):
                self._channels.dirty.setdefault(channel, False)
        elif operation.direction == WRITING:
            if channel.writable:
                if first:
                    self._write(channel)
            elif not (channel.told & EDGE and channel.told & EVENT_WRITE):
                self._channels.dirty.setdefault(channel, False)
        else:
            self._channels.dirty[channel] = True

    def _fly(self, operation: Operation) -> bool:
        """Give ``operation`` to the completion backend below, if it carries it out itself."""
        channel = self._channels.by_fd.get(operation.fd)
        if channel is not None and not channel.is_idle() and not channel.is_closed():
            return False  # First come, first served.
        assert self._carrier is not None
        if not self._carrier.takes(operation):
            return False
        self._flying[operation] = None
        try:
            self._carrier.submit(operation)
        except BaseException:
            if not operation.in_flight:
                del self._flying[operation]
            raise
        return True

    def _channel_of(self, operation: Operation) -> Channel:
        fd, file = operation.fd, operation.subject
        channel = self._channels.by_fd.get(fd)
        if channel is not None and not channel.is_of(file):
            self._drop(channel)
            channel = None
        if channel is None:
            channel = self._channels.make(self, fd, file)
        if operation._call is None and operation.direction in (READING, WRITING):
            # The backend below could do it, but not here.
            _attempts.prepare(operation, type(self.native))
        return channel

    def _read(self, channel: Channel) -> None:
        """Attempt what waits to read, one after the other, until the next would have to wait."""
        while channel.reader is not None:
            operation: Any = channel.reader
            call = operation._call
            try:
                value = call(operation._argument if operation._direct else operation)
            except BlockingIOError:
                channel.readable = False
                break
            except OSError as error:
                self._not_received(channel, operation, error)
            else:
                self._received(channel, operation, value)
            if not channel.readable:
                break
            if self._budget <= 0:
                self._stopped[channel] = None
                break
        if not (channel.told & EDGE and channel.told & EVENT_READ):
            self._channels.dirty.setdefault(channel, False)

    def _received(self, channel: Channel, operation: Any, value: Any) -> None:
        """``value`` was received for ``operation``, the head of the queue."""
        operation.value = value
        error = None
        if operation._direct:
            size = value if value.__class__ is int else len(value)
            self._budget -= size
            channel.readable = channel.eager or size >= operation._left
        if channel.reset and (value[0] if value.__class__ is tuple else value) in (b"", 0):
            error = ConnectionResetError(*channel.reset.args)
        self._end(operation, error)
        channel.recv = channel.last_recv = None
        channel.reader = channel.readers.popleft() if channel.readers else None
        again = channel.reader is None and not channel.readable
        if again and type(operation) is Recv and channel.is_hot(operation):
            channel.last_recv = operation

    def _not_received(self, channel: Channel, operation: Any, error: OSError) -> None:
        """``operation``, the head of the queue, has failed."""
        if error.errno in _RESET:
            channel.reset = error = ConnectionResetError(errno.ECONNRESET, error.strerror)
        self._end(operation, error)
        channel.recv = channel.last_recv = None
        channel.reader = channel.readers.popleft() if channel.readers else None

    def _write(self, channel: Channel) -> None:
        """Attempt what waits to write, one after the other, until the next would have to wait."""
        while channel.writer is not None:
            operation: Any = channel.writer
            call = operation._call
            try:
                if operation._direct:
                    sent = call(operation._argument)
                    if sent < operation._left:
                        _attempts.send_rest(operation, sent)
                        continue
                    operation.value = operation._sent = operation._sent + sent
                else:
                    operation.value = call(operation)
            except BlockingIOError:
                channel.writable = False
                break
            except _FAILURES as error:
                self._not_sent(channel, operation, error)
                continue
            self._end(operation)
            channel.writer = channel.writers.popleft() if channel.writers else None
            if type(operation) is SendAll and channel.is_hot(operation) and channel.writer is None:
                channel.last_send = operation
        if not (channel.told & EDGE and (channel.writer is None or channel.told & EVENT_WRITE)):
            self._channels.dirty.setdefault(channel, False)

    def _not_sent(self, channel: Channel, operation: Any, error: Exception) -> None:
        """``operation``, the head of the queue, has failed."""
        if isinstance(error, ConnectionResetError):
            channel.reset = error
        self._end(operation, error)
        channel.writer = channel.writers.popleft() if channel.writers else None

    # -- what the kernel says

    def _take(self, pairs: Pairs) -> Pairs:
        """Go on with what ``pairs`` are about, and return those that are the user's."""
        rest = []
        get, append = self._channels.by_fd.get, self.finished.append
        budget, read_mask, batch = BUDGET, self._read_mask, self.due
        for fd, mask in pairs:
            channel: Any = get(fd, NOWHERE)
            operation = channel.recv
            if operation is not None and mask == read_mask and budget > 0:
                # The hot path: as _read and _notice, for the most usual case.
                call: Any = operation._call  # Not called at once: CPython cannot specialize that.
                try:
                    operation.value = value = call(operation._argument)
                except BlockingIOError:
                    pass  # As _read will see.
                except OSError as error:
                    self._not_received(channel, operation, error)
                else:
                    size = len(value)
                    if size and size < operation._left:
                        channel.reader = channel.recv = None
                        channel.last_recv = operation
                        operation._owner = batch
                        append(operation)
                        budget -= size
                        continue
                    self._received(channel, operation, value)
                    budget -= size
                    continue
            if channel is NOWHERE:
                rest.append((fd, mask))
                continue
            self._budget = budget
            if self._notice(channel, self._events_of(mask)):
                rest.append((fd, mask))
            budget = self._budget
        return rest

    def _notice(self, channel: Channel, events: int) -> bool:
        """Go on with all that ``events`` are about; whether it is the user's, too."""
        channel.recv = channel.last_recv = None
        if events & CLOSED or channel.is_closed():
            theirs = channel.theirs
            self._drop(channel)
            return bool(theirs)
        if events & _EARLY_ENDS:
            channel.last_send = None
            channel.eager = channel.readable = True
        if events & EVENT_READ:
            channel.readable = True
        if events & (EVENT_WRITE | FAILED):
            channel.writable = True
        if channel.readable and channel.reader is not None:
            if self._budget > 0:
                self._read(channel)
            else:
                self._stopped[channel] = None
        if channel.writable and channel.writer is not None:
            self._write(channel)
        if channel.polls:
            self._settle(channel, events)
        theirs = channel.theirs & CONDITIONS
        if not events & theirs and not (events & FAILED and theirs):
            return False
        if channel.theirs & ONESHOT:
            channel.theirs = 0
            self._channels.dirty.setdefault(channel, False)
        return True

    def _settle(self, channel: Channel, events: int) -> None:
        """End the polls that waited for ``events``."""
        for poll in list(channel.polls):
            poll.value = poll.events if events & FAILED else events & poll.events
            if poll.value:
                self._end(poll)
                channel.polls.remove(poll)
        if not channel.told & EDGE:
            self._channels.dirty.setdefault(channel, False)

    def _events_of(self, mask: int) -> int:
        try:
            return self._masks[mask]
        except KeyError:
            return self._masks.setdefault(mask, self.native.events_of(mask))

    def _fetch(self) -> None:
        """Take what the completion backend below has done."""
        assert self._below is not None
        others, self._below.others = self._below.others, []
        for operation in others:
            if operation in self._flying:
                late = operation in self._late
                self._late.discard(operation)
                if late and isinstance(operation.error, OperationCancelled):
                    self._end(operation, _timed_out(operation))
                else:
                    self._end(operation, operation.error)
                del self._flying[operation]

    def _tell_all(self) -> None:
        dirty = self._channels.dirty
        for channel, afresh in list(dirty.items()):
            try:
                self._channels.tell(channel, afresh)
            except OSError as error:
                self._drop(channel, error)
            except ValueError as error:
                self._drop(channel, OSError(errno.EINVAL, str(error)))
            dirty.pop(channel, None)

    # -- ends

    def _end(self, operation: Operation, error: BaseException | None = None) -> None:
        if error is not None:
            operation.error, operation.value = error, None
            error.bytes_sent = getattr(operation, "bytes_sent", 0)  # type: ignore[attr-defined]
        if operation._view is not None:
            self._pinned = True
        operation._owner = self.due
        self.finished.append(operation)

    def _remove(self, operation: Operation) -> bool:
        """Take ``operation`` out of its queue; False if it is in none."""
        channel = operation._channel
        if channel is NOWHERE or not channel.remove(operation):
            return False
        self._channels.dirty.setdefault(channel, False)
        return True

    def _drop(self, channel: Channel, error: OSError | None = None) -> None:
        """Forget ``channel``; what is pending on it fails."""
        for operation in channel.pending():
            self._end(operation, type(error)(*error.args) if error else _closed(operation))
        channel.leave_hot_paths()
        channel.reader = channel.writer = None
        for queue in (channel.readers, channel.writers, channel.polls):
            queue.clear()
        self._stopped.pop(channel, None)
        self._channels.forget(channel)

    def _find_closed(self) -> None:
        """Look for sockets that were closed while something was pending."""
        self._looked = monotonic()
        self._patience = min(2 * self._patience, LOOK)
        for operation in list(self._flying):
            if operation.on_socket and operation.subject.fileno() != operation.fd:
                assert self._carrier is not None
                self._carrier.cancel(operation)
        for channel in list(self._channels.by_fd.values()):
            if not channel.is_idle() and channel.is_closed():
                self._drop(channel)

    def _at_most(self, timeout: float | None) -> float | None:
        """How long to wait at once, with a view to deadlines and to closed sockets."""
        limit = self._deadlines.left() if self._deadlines else None
        if (self._channels.by_fd or self._flying) and (limit is None or limit > self._patience):
            limit = self._patience
        if limit is None or (timeout is not None and timeout < limit):
            return timeout
        return min(limit, LONGEST)

    def _expire(self) -> None:
        for operation in self._deadlines.passed():
            if operation in self._flying:
                assert self._carrier is not None
                self._late.add(operation)
                self._carrier.cancel(operation)
            elif self._remove(operation):
                self._end(operation, _timed_out(operation))

    def _repair(self) -> None:
        """After an exception in the middle of something: nothing comes out twice, or never."""
        known = set(self.finished)
        for operation in list(self._flying):
            if not operation.in_flight:
                del self._flying[operation]
                if operation not in known:
                    self._end(operation, operation.error)
                    known.add(operation)
        for channel in self._channels.by_fd.values():
            channel.leave_hot_paths()
            for operation in channel.pending():
                if operation in known:
                    channel.remove(operation)
            known.update(channel.pending())
            channel.readable = channel.writable = True  # Perhaps: try.
            self._stopped[channel] = None
            self._channels.dirty[channel] = True
            self._write(channel)
        while self.submitted and self.submitted[0] in known | self._flying.keys():
            self.submitted.popleft()


def _closed(operation: Operation) -> OSError:
    return OSError(errno.EBADF, f"closed while it was pending: {operation!r}")


def _timed_out(operation: Operation) -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, f"not done within {operation.timeout} s: {operation!r}")
