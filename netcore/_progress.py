"""The part of the emulation that attempts operations, and ends them.

See ``_emulation.py`` for how it goes about it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Final

from netcore import _attempts
from netcore._channel_table import Channels
from netcore._channels import Channel
from netcore._operation import NOWHERE, Batch, Operation, closed_meanwhile
from netcore._sockets import DO_NOT_WAIT, is_stream
from netcore.contract import (
    CLOSED,
    CONDITIONS,
    EVENT_HANGUP,
    EVENT_PRIORITY,
    EVENT_READ,
    EVENT_WRITE,
    FAILED,
    ONESHOT,
    ReadinessBackend,
)
from netcore.operations import Connect, Recv, SendAll

#: How many bytes are read by the operations of one descriptor before the others get their turn.
BUDGET: Final = 512 * 1024
_EARLY_ENDS = FAILED | EVENT_HANGUP | EVENT_PRIORITY
_RESET = (errno.ECONNRESET, errno.EPIPE)
# The others: an address, or a file, turns out to be none.
FAILURES = (OSError, TypeError, ValueError, OverflowError)

Pairs = list[tuple[int, int]]


def no_memory(operation: Operation) -> OSError:
    return OSError(errno.ENOMEM, f"{os.strerror(errno.ENOMEM)}: {operation!r}")


class Progress(ReadinessBackend):
    """Takes operations from their channel to ``finished``."""

    native: ReadinessBackend
    #: As of a Batch: what belongs to it is not done.
    over = False
    # The masks of ``native``.
    _events_of: Callable[[int], int]
    _read_mask: int

    def __init__(self, native: ReadinessBackend, interest_of: Callable[[int], int]) -> None:
        #: Submitted by whatever thread, and not yet looked at.
        self.submitted: list[Operation] = []
        #: Done, and not yet handed out.
        self.finished: list[Operation] = []
        #: What they belong to, until they are handed out.
        self.due = Batch()
        #: For how many waits there is nothing to be done but to begin what was submitted, ask the
        #: kernel, and hand out what is finished.
        self.plain = 0
        self._pinned = False  # Something finished has a buffer to be released.
        self._channels = Channels(native, interest_of)
        self.table = self._channels.table
        # Stopped by the budget; to be continued by the next wait.
        self._stopped: dict[Channel, None] = {}
        self._budget = BUDGET

    # -- attempts

    def _read(self, channel: Channel) -> None:
        """Attempt what waits to read, one after the other, until the next would have to wait."""
        while channel.reader is not None and not isinstance(channel.writer, Connect):
            operation: Any = channel.reader
            call = operation._call
            try:
                value = call(operation._argument if operation._direct else operation)
            except BlockingIOError:
                channel.readable = False
                break
            except OSError as error:
                self._not_received(channel, operation, error)
            except (MemoryError, OverflowError):  # For so long a buffer.
                self._not_received(channel, operation, no_memory(operation))
            else:
                self._received(channel, operation, value)
            if not channel.readable:
                break
            if self._budget <= 0:
                self._stop(channel)
                break
        self._review(channel)

    def _received(self, channel: Channel, operation: Any, value: Any) -> None:
        """``value`` was received for ``operation``, the head of the queue."""
        operation.value = value
        error = None
        if operation._direct:
            size = value if value.__class__ is int else len(value)
            self._budget -= size
            channel.readable = channel.eager or size >= operation._total
        if channel.reset and (value[0] if value.__class__ is tuple else value) in (b"", 0):
            error = ConnectionResetError(*channel.reset.args)
        self._end(operation, error)
        channel.next_reader()
        again = channel.reader is None and not channel.readable
        if again and type(operation) is Recv and channel.is_hot(operation):
            channel.hot_recv = operation

    def _not_received(self, channel: Channel, operation: Any, error: OSError) -> None:
        """``operation``, the head of the queue, has failed."""
        if error.errno in _RESET:
            channel.reset = error = ConnectionResetError(errno.ECONNRESET, error.strerror)
        self._end(operation, error)
        channel.next_reader()

    def _write(self, channel: Channel) -> None:
        """Attempt what waits to write, one after the other, until the next would have to wait."""
        while channel.writer is not None:
            operation: Any = channel.writer
            call = operation._call
            try:
                if operation._direct:
                    # What is noted right after a call, a signal handler that raises does not undo.
                    if not operation._sent:
                        operation._sent = call(operation._argument, DO_NOT_WAIT)
                    elif operation._sent < operation._total:
                        operation._sent += call(_attempts.what_is_left(operation), DO_NOT_WAIT)
                    if operation._sent < operation._total:
                        continue
                    operation.value = operation._sent
                else:
                    operation.value = call(operation)
            except BlockingIOError:
                channel.writable = False
                break
            except FAILURES as error:
                self.not_sent(channel, operation, error)
                continue
            self._end(operation)
            channel.next_writer()
            if type(operation) is SendAll and channel.is_hot(operation) and channel.writer is None:
                operation._argument, operation._sent = None, 0  # As submit() leaves it there.
                channel.hot_send = operation
        self._review(channel)

    def not_sent(self, channel: Channel, operation: Any, error: Exception) -> None:
        """``operation``, the head of the queue, has failed."""
        if isinstance(error, ConnectionResetError):
            channel.reset = error
        self._end(operation, error)
        channel.next_writer()
        if isinstance(operation, Connect) and is_stream(operation.sock):
            # Who waits to receive would find the end of a stream there never was.
            while channel.reader is not None:
                self._end(channel.reader, type(error)(*error.args))
                channel.next_reader()

    # -- what the kernel says

    def _notice(self, channel: Channel, events: int) -> bool:
        """Go on with all that ``events`` are about; whether it is the user's, too."""
        if events & CLOSED or channel.is_closed():
            told = bool(channel.theirs) if events & CLOSED else self._is_theirs(channel, events)
            self._drop(channel)
            return told
        channel.leave_hot_paths()
        if events & _EARLY_ENDS:
            channel.eager = channel.readable = True
        if events & EVENT_READ:
            channel.readable = True
        if events & (EVENT_WRITE | FAILED):
            channel.writable = True
        if channel.writable and isinstance(channel.writer, Connect):
            self._write(channel)  # First: a receive would get the reason why it has failed.
        if channel.readable and channel.reader is not None:
            if self._budget > 0:
                self._read(channel)
            else:
                self._stop(channel)
        if channel.writable and channel.writer is not None:
            self._write(channel)
        if channel.polls:
            self._settle(channel, events)
        return self._is_theirs(channel, events)

    def _is_theirs(self, channel: Channel, events: int) -> bool:
        """Whether the user is to be told of ``events``; not once more of a one-shot interest."""
        theirs = channel.theirs & CONDITIONS
        if not events & theirs and not (events & FAILED and theirs):
            return False
        if channel.theirs & ONESHOT:
            channel.theirs = 0
            self._review(channel)
        return True

    def _settle(self, channel: Channel, events: int) -> None:
        """End the polls that waited for ``events``."""
        for poll in list(channel.polls):
            poll.value = poll.events if events & FAILED else events & poll.events
            if poll.value:
                self._end(poll)
                channel.polls.remove(poll)
        self._review(channel)

    # -- what is left

    def _stop(self, channel: Channel) -> None:
        """Enough for now: the next wait goes on with it."""
        self._stopped[channel] = None
        self.plain = 0

    def _review(self, channel: Channel, afresh: bool = False) -> None:
        """Before it is asked, have the kernel told what is waited for; ``afresh``: in any case."""
        if afresh:
            self._channels.dirty[channel] = True
            self.plain = 0
        elif not channel.is_told():
            self._channels.dirty.setdefault(channel, False)
            self.plain = 0

    # -- ends

    def _end(self, operation: Operation, error: BaseException | None = None) -> None:
        if operation._view is not None:
            self._pinned = True
            self.plain = 0
        if error is not None:
            error.bytes_sent = getattr(operation, "bytes_sent", 0)  # type: ignore[attr-defined]
            operation._channel.forget(operation)
            # Nothing is called from here on.
            operation.error, operation.value = error, None
        operation._owner = self.due
        self.finished.append(operation)

    def _remove(self, operation: Operation) -> bool:
        """Take ``operation`` out of its queue; False if it is in none."""
        channel = operation._channel
        if channel is NOWHERE or not channel.remove(operation):
            return False
        if channel.readable and channel.reader is not None:  # It may have waited for a Connect.
            self._stop(channel)
        self._review(channel)
        return True

    def _drop(self, channel: Channel, error: OSError | None = None) -> None:
        """Forget ``channel``; what is pending on it fails."""
        for operation in channel.pending():
            self._end(operation, type(error)(*error.args) if error else closed_meanwhile(operation))
        self._stopped.pop(channel, None)
        self._channels.forget(channel)
