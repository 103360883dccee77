"""The part of the emulation that carries out what servers do all day: receive and send on streams
that are submitted again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from netcore._operation import NOWHERE, closed_meanwhile
from netcore._progress import BUDGET, FAILURES, Pairs, Progress
from netcore._sockets import DO_NOT_WAIT
from netcore.contract import ReadinessBackend
from netcore.operations import SendAll

#: A wait asks the kernel for no more events than amount to so many bytes, as far as can be told
#: from the last ones, but for so many in any case.
ROOM_BYTES: Final = 1024 * 1024
LEAST: Final = 8


class HotPaths(Progress):
    """Carries out the operations that stand in ``hot_recv`` and ``hot_send`` of their channel."""

    def __init__(self, native: ReadinessBackend, interest_of: Callable[[int], int]) -> None:
        super().__init__(native, interest_of)
        #: How many events the kernel is asked for, if there is a choice.
        self.room = 64

    def send(self) -> None:
        """Attempt what was submitted on the hot path, up to the first that needs more care."""
        submitted, finished, batch = self.submitted, self.finished, self.due
        before = len(finished)
        op: Any
        try:
            for op in submitted:
                if type(op) is not SendAll or op._channel.hot_send is not op:
                    break
                buffer: Any = op.buffer
                call: Any = op._call  # Not called at once: CPython cannot specialize that.
                try:
                    sent = call(buffer, DO_NOT_WAIT)
                except BlockingIOError:
                    sent = 0
                except FAILURES as error:
                    self._fail(op, error)
                    continue
                if sent != len(buffer):
                    op._channel.hot_send = None
                    op._take_buffer()
                    op._sent = sent
                    break
                op.value = sent
                op._owner = batch
                finished.append(op)
        finally:
            # There may be more by now: of another thread, or of a signal handler.
            del submitted[: len(finished) - before]

    def _fail(self, operation: Any, error: Exception) -> None:
        if operation.subject._closed:
            error = closed_meanwhile(operation)
        self.not_sent(operation._channel, operation, error)

    def take(self, pairs: Pairs) -> Pairs:
        """Go on with what ``pairs`` are about, and return those that are the user's."""
        rest = []
        table, finished = self.table, self.finished
        spent, read_mask, batch = 0, self._read_mask, self.due
        self._budget = BUDGET
        for fd, mask in pairs:
            try:
                channel: Any = table[fd]
            except IndexError:
                channel = NOWHERE
            operation = channel.hot_recv
            if operation is not None and mask == read_mask and operation._owner is self:
                # As _notice and _read, for the most usual case.
                call: Any = operation._call  # As in send().
                try:
                    value = call(operation._argument)
                except BlockingIOError:
                    pass  # As _read will see.
                except OSError as error:
                    channel.leave_hot_paths()
                    self._not_received(channel, operation, error)
                else:
                    size = len(value)
                    spent += size
                    if size and size < operation._total:
                        operation.value = value
                        operation._owner = batch
                        finished.append(operation)
                    else:
                        channel.leave_hot_paths()
                        self._received(channel, operation, value)
                    continue
            if channel is NOWHERE:
                rest.append((fd, mask))
                continue
            if self._notice(channel, self._events_of(mask)):
                rest.append((fd, mask))
        if spent > ROOM_BYTES or len(pairs) >= self.room:
            self._make_room(len(pairs), spent)
        return rest

    def _make_room(self, count: int, spent: int) -> None:
        """Ask for as many events that they amount to not much more than ROOM_BYTES."""
        fitting = count * ROOM_BYTES // (spent + 1)
        self.room = max(min(fitting, 4 * self.room), LEAST)
