"""The part of the emulation that stands around a wait: what is to be done before and after.

See ``_emulation.py`` for how it goes about it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from netcore import _attempts
from netcore._carried import Carried
from netcore._channels import Channel
from netcore._deadlines import Deadlines
from netcore._progress import BUDGET, FAILURES, Pairs, no_memory
from netcore._threads import ATOMIC
from netcore._timeouts import LONGEST
from netcore.contract import ReadinessBackend
from netcore.operations import (
    READING,
    WRITING,
    Operation,
    OperationCancelled,
    Post,
    SendAll,
    closed_meanwhile,
)

#: How long nothing happens, in seconds, until it is worth looking for sockets that were closed
#: while operations were pending, of which Unix tells nobody. It doubles each time, up to LOOK.
PATIENCE: Final = 0.05
#: When a lot happens, they are looked for every so many seconds.
LOOK: Final = 1.0
#: How many waits may be plain until the clock is looked at.
PLAIN: Final = 32


class Agenda(Carried):
    """Takes operations from ``submitted`` to their channel or to the backend below, and ends what
    was cancelled, has taken too long, or was closed. Under the lock.

    ``interest_of(fd)`` says what the user has registered ``fd`` for.
    """

    def __init__(
        self, native: ReadinessBackend, interest_of: Callable[[int], int], lock: Any
    ) -> None:
        super().__init__(native, interest_of)
        self._lock = lock
        self._cancels: list[Operation] = []
        self._deadlines = Deadlines(self)
        #: How long to wait, in seconds, before looking for what was closed.
        self.patience = PATIENCE
        self._looked = monotonic()
        self._interrupted = False
        self._work_on(native)

    def _work_on(self, native: ReadinessBackend) -> None:
        raw = native.raw()
        self.native = native
        self.native_wait: Callable[..., Pairs] = raw.wait if raw else native.wait
        self._read_mask = native.read_mask
        self._carry_by(native)
        self.plain = 0

    def _find_plain(self) -> None:
        # In this order: a signal handler may set it to 0 in between.
        self.plain = PLAIN if ATOMIC else 0
        if (
            self._stopped
            or self._channels.dirty
            or self._cancels
            or self._interrupted
            or self._pinned
            or self._deadlines
            or self._below
        ):
            self.plain = 0

    # -- before

    def _advance(self) -> None:
        """Begin what was submitted, go on with what was stopped, end what was cancelled."""
        if self._interrupted or self._cancels:
            self._reconsider()
        self._budget = BUDGET
        if self._stopped:
            stopped, self._stopped = self._stopped, {}
            for channel in stopped:
                channel.leave_hot_paths()
                if channel.writable:
                    self._write(channel)
                if channel.readable:
                    self._read(channel)
        if not self._cancels:
            self.send()
        submitted, begun = self.submitted, 0
        try:
            while begun < len(submitted):
                self._begin(submitted[begun])
                begun += 1
        finally:
            del submitted[:begun]

    def _begin(self, operation: Operation) -> None:
        if self._cancels and operation in self._cancels:
            self._end(operation, OperationCancelled())
            while operation in self._cancels:  # Others may come meanwhile, and stay.
                self._cancels.remove(operation)
            return
        try:
            self._start(operation)
        except FAILURES as error:
            self._end(operation, error)
        except MemoryError:
            self._end(operation, no_memory(operation))

    def _reconsider(self) -> None:
        """Bring things in order after an exception, and leave alone what was cancelled."""
        if self._interrupted:
            self._repair()
            self._interrupted = False
        self._end_cancelled()

    def _end_cancelled(self) -> None:
        """End what was cancelled, before it may be done and submitted again."""
        cancels, self._cancels = self._cancels, []
        try:
            for operation in cancels:
                if self._call_back(operation):
                    pass
                elif operation in self.submitted:
                    self._cancels.append(operation)  # As soon as those before it were begun.
                else:
                    self._end_early(operation, OperationCancelled())
        except BaseException:  # Of a signal handler.
            self._cancels = cancels + self._cancels
            raise

    def _end_early(self, operation: Operation, error: OSError) -> None:
        """``operation``, which waits for its turn, unless it was faster."""
        if operation._owner is self:
            self._end(operation, error)  # First: _repair finds what is in its queue and done.
            self._remove(operation)

    def _start(self, operation: Operation) -> None:
        if operation._deadline is not None:
            self._deadlines.note(operation)
        if operation.has_lost_its_file():
            raise closed_meanwhile(operation)
        if isinstance(operation, Post):
            self._end(operation)
            return
        if self._carrier and self._fly(operation):
            return
        if type(operation) is SendAll and operation._argument is None:
            operation._take_buffer()
        while True:
            channel = operation._channel
            if channel.owner is not self:
                channel = operation._channel = self._channel_of(operation)
            first = channel.append(operation)
            if channel.owner is self:
                break  # Else a signal handler has registered its file, just before.
        if operation.direction == READING and channel.readable:
            if first:
                self._read(channel)
        elif operation.direction == WRITING and channel.writable:
            if first:
                self._write(channel)
        else:
            self._review(channel, afresh=operation.direction not in (READING, WRITING))

    def _channel_of(self, operation: Operation) -> Channel:
        fd, file = operation.fd, operation.subject
        channel = self._channels.by_fd.get(fd)
        if channel is not None and (channel.owner is not self or not channel.is_of(file)):
            self._drop(channel)
            channel = None
        if channel is None:
            channel = self._channels.make(self, fd, file)
        if operation._call is None and operation.direction in (READING, WRITING):
            # The backend below could do it, but not here.
            _attempts.prepare(operation, type(self.native))
        return channel

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

    def _at_most(self, timeout: float | None) -> float | None:
        """How long to wait at once, with a view to deadlines and to closed sockets."""
        limit = self._deadlines.left() if self._deadlines else None
        if (self._channels.by_fd or self._flying) and (limit is None or limit > self.patience):
            limit = self.patience
        if limit is None or (timeout is not None and timeout < limit):
            return timeout
        return min(limit, LONGEST)

    # -- after

    def _expire(self) -> None:
        for operation in self._deadlines.passed():
            if not self._call_back(operation, _timed_out):
                self._end_early(operation, _timed_out(operation))

    def _find_closed(self) -> None:
        """Look for sockets that were closed, and let go of what has come out."""
        self._looked = monotonic()
        self.patience = min(2 * self.patience, LOOK)
        for operation in list(self._flying):
            if operation.has_lost_its_file():
                self._call_back(operation, closed_meanwhile)
        for channel in list(self._channels.by_fd.values()):
            channel.let_go()
            if channel.is_closed() and not (channel.is_idle() and channel.theirs):
                self._drop(channel)

    def _repair(self) -> None:
        """After an exception in the middle of something: nothing comes out twice, or never."""
        known = set(self.finished)
        for operation in list(self._flying):
            if not operation.in_flight:
                if operation not in known:
                    self._land(operation)
                    known.add(operation)
                self._flying.pop(operation, None)
        for channel in self._channels.by_fd.values():
            channel.mend()
            for operation in channel.pending():
                if operation in known:
                    channel.remove(operation)
            known.update(channel.pending())
            channel.readable = channel.writable = True  # Perhaps: try.
            self._stop(channel)
            self._review(channel, afresh=True)
            self._write(channel)
        known |= self._flying.keys()
        count = len(self.submitted)  # Others may come meanwhile.
        self.submitted[:count] = [op for op in self.submitted[:count] if op not in known]


def _timed_out(operation: Operation) -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, f"not done within {operation.timeout} s: {operation!r}")
