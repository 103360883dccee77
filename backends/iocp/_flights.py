"""What is in flight besides polls: operations with the memory that the kernel reads and writes.

* One operation that was started is one packet, whether it was done at once or later. What ends
  without the kernel puts in its packet itself.
* A flight is in the table from before the call until its packet has come, and with it the
  OVERLAPPED, the buffer, the socket object. What never comes is never freed.
* Sends and receives of a socket are started in the order in which they were submitted, and the
  kernel keeps it. While a socket is being connected, or a file is being sent on it, what comes
  after that waits here; what has failed, in ``_lanes.py``.
"""

from __future__ import annotations

from collections import deque
from threading import RLock
from time import monotonic
from typing import Any, Final

from netcore.backends.iocp import _abi
from netcore.backends.iocp._abi import (
    ERROR_IO_PENDING,
    STATUS_BUFFER_OVERFLOW,
    STATUS_PENDING,
    STATUS_SUCCESS,
)
from netcore.backends.iocp._attachment import OPERATION, Attachment
from netcore.backends.iocp._errors import ENDED, error
from netcore.backends.iocp._flight import AGAIN, Flight, Way, is_open
from netcore.backends.iocp._lanes import Lanes
from netcore.backends.iocp._port import CompletionPort
from netcore.backends.iocp._winsock import Windows
from netcore.operations import (
    WRITING,
    Connect,
    Operation,
    OperationCancelled,
    closed_meanwhile,
)

#: How long the packet of what was cancelled on a closed socket may take, in seconds.
PATIENCE: Final = 0.1
#: In OVERLAPPED.Internal until the call is made: an interrupted ``submit`` leaves it there.
_NOT_STARTED: Final = 0x7FFFFFFF
#: What the kernel may still write to after a port was closed: leaked rather than freed.
_leaked: list[dict[int, Flight]] = []


class Flights:
    """Starts operations, and ends them when their packet has come. Thread-safe."""

    def __init__(self, windows: Windows, port: CompletionPort) -> None:
        self.windows, self.port = windows, port
        self.lock = RLock()
        #: No operation is started any more.
        self.closing = False
        #: Address of the memory -> what is in flight.
        self.table: dict[int, Flight] = {}
        self._lanes = Lanes()
        #: Cancelled on a socket that is closed while a duplicate of it lives: nobody has a handle
        #: to cancel it by.
        self.orphans: dict[int, Flight] = {}
        #: What is done, and not handed out yet, in its order.
        self.done: list[Operation] = []

    def submit(self, operation: Operation, way: Way, attachment: Attachment | None) -> None:
        """Raises OSError for what cannot be started; then it is not in flight."""
        with self.lock:
            flight = operation.native
            if flight.__class__ is not Flight or flight.flights is not self:
                flight = Flight(self, way, operation)
            elif flight.operation is operation:
                # A signal handler has raised in between.
                if flight.overlapped.Internal != _NOT_STARTED:
                    return
            elif not way.reusable:
                flight = Flight(self, way, operation)
            operation.native = flight
            flight.attachment, flight.operation = attachment, operation
            flight.cancelled, flight.code, flight.reason = 0.0, 0, None
            flight.overlapped.Internal, flight.overlapped.InternalHigh = _NOT_STARTED, 0
            self.table[flight.address] = flight
            self._lanes.enter(flight)
            operation.in_flight = True
            try:
                _check_open(flight)
                way.board(flight, operation)
                if attachment is None or not self._waits(flight, attachment):
                    self._start(flight)
            except Exception as reason:
                if not self._lanes.hold(flight, reason):
                    self._land(flight)
                    raise

    def _waits(self, flight: Flight, attachment: Attachment) -> bool:
        """Whether ``flight`` has to wait for another one of its socket; then it is queued."""
        holder = attachment.holder
        if holder is None:
            return False
        if flight.operation.direction != WRITING and not isinstance(holder.operation, Connect):
            return False
        attachment.queue.append(flight)
        return True

    def _start(self, flight: Flight) -> None:
        _check_open(flight)
        flight.overlapped.Internal = STATUS_PENDING
        code = flight.way.start(flight)
        if code and code != ERROR_IO_PENDING:
            raise flight.way.reason(flight, code)

    def cancel(self, operation: Operation) -> None:
        with self.lock:
            flight = operation.native
            if flight.__class__ is not Flight or flight.operation is not operation:
                return
            if flight.flights is not self or flight.code:
                return
            before, now = flight.cancelled, monotonic()
            flight.cancelled = before or now
            attachment = flight.attachment
            if attachment is not None and flight in attachment.queue:
                attachment.queue.remove(flight)
                self.end(flight, _abi.ERROR_OPERATION_ABORTED)
            elif flight in self._lanes.held:
                flight.reason = self.reason(flight, _abi.ERROR_OPERATION_ABORTED)
                self._tell_of(flight)
                self.port.post()
            elif is_open(flight) or (attachment is None and not _is_pending(flight)):
                flight.way.cancel(flight)
            elif before and now - before > PATIENCE:  # Else its packet is on its way.
                self._give_up(flight)

    def _give_up(self, flight: Flight) -> None:
        """Closing should have ended ``flight``, and no packet has come."""
        if _is_pending(flight):
            self._orphan(flight)
        else:  # Wine has lost it.
            self.finish(flight.address)
            self.port.post()

    def _orphan(self, flight: Flight) -> None:
        """End the operation of ``flight``; the kernel keeps the memory."""
        operation = flight.operation
        operation.error = self.reason(flight, _abi.ERROR_OPERATION_ABORTED)
        self.orphans[flight.address] = flight
        _keep(flight)
        self._remove(flight)
        self._come_out(operation)
        self.port.post()

    def end(self, flight: Flight, code: int = 0) -> None:
        """Have ``flight``, which the kernel has nothing of, come out as done or with an error."""
        flight.code = code
        if not code:
            flight.overlapped.InternalHigh = 0
            flight.overlapped.Internal = STATUS_SUCCESS
        self.port.post(OPERATION, flight.pointer)

    def end_in_turn(self, flight: Flight) -> None:
        """As ``end``, after what was submitted before; the operation has its value."""
        if not self._lanes.hold(flight):
            self.end(flight)

    def finish(self, address: int) -> None:
        """A packet has come: its operation is ``done``, unless it is not in flight, or not yet."""
        with self.lock:
            flight = self.table.get(address)
            if flight is None:
                orphan = self.orphans.pop(address, None)
                if orphan is not None:
                    orphan.way.leave(orphan)
                return
            status = _abi.ntstatus(flight.overlapped.Internal)
            if status in (STATUS_PENDING, _NOT_STARTED) and not flight.code:
                return  # An old packet, looked at once more after an exception.
            operation = flight.operation
            try:
                value = self._outcome(flight, status)
                if value is AGAIN:
                    if self.closing or flight.cancelled:
                        raise self.reason(flight, _abi.ERROR_OPERATION_ABORTED)
                    self._start(flight)
                    return
                operation.value = value
            except OSError as reason:
                in_turn = is_open(flight) and not isinstance(reason, OperationCancelled)
                if in_turn and self._lanes.hold(flight, reason):
                    return
                operation.error = reason
            self._land(flight)
            self._come_out(operation)

    def _come_out(self, operation: Operation) -> None:
        """``operation`` has landed; what was held behind it does now."""
        self.done.append(operation)
        while (other := self._lanes.next_due()) is not None:
            self._tell_of(other)

    def _tell_of(self, flight: Flight) -> None:
        """``flight``, which was held, is done."""
        operation = flight.operation
        operation.error = flight.reason
        if flight.reason is not None:
            operation.value = None
        self._land(flight)
        self.done.append(operation)

    def _outcome(self, flight: Flight, status: int) -> Any:
        count = int(flight.overlapped.InternalHigh)
        if flight.reason is not None:
            raise flight.reason
        if flight.code:
            return flight.way.failed(flight, flight.code, count)
        if status >= 0:
            return flight.way.finish(flight, count)
        if status == STATUS_BUFFER_OVERFLOW:
            return flight.way.failed(flight, _abi.ERROR_MORE_DATA, count)
        code = self.windows.ntdll.RtlNtStatusToDosError(status)
        return flight.way.failed(flight, code, count)

    def _land(self, flight: Flight) -> None:
        """It is not in flight any more, and what waited behind it is started."""
        flight.way.leave(flight)
        self._remove(flight)

    def _remove(self, flight: Flight) -> None:
        operation = flight.operation
        self._lanes.leave(flight)
        del self.table[flight.address]
        flight.operation = None
        operation.in_flight = False
        attachment = flight.attachment
        if attachment is not None and attachment.holder is flight:
            attachment.holder = None
            self._go_on(attachment)

    def _go_on(self, attachment: Attachment) -> None:
        """Start what has waited on a socket, until something has to wait again."""
        queue, attachment.queue = attachment.queue, deque()
        for flight in queue:
            if self._waits(flight, attachment):
                continue
            try:
                self._start(flight)
            except OSError as reason:
                if not self._lanes.hold(flight, reason):
                    flight.reason = reason
                    self.end(flight)

    def reason(self, flight: Flight, code: int) -> OSError:
        """Why ``flight`` has failed, as an exception."""
        if code in ENDED:
            if flight.cancelled or self.closing:
                return OperationCancelled()
            if not is_open(flight):
                return closed_meanwhile(flight.operation)
        return error(*self.windows.ffi.getwinerror(code))

    # -- the end of all

    def cancel_all(self) -> None:
        with self.lock:
            self.closing = True
            for flight in list(self.table.values()):
                self.cancel(flight.operation)

    def abandon(self) -> None:
        """What is still in flight is never freed."""
        with self.lock:
            for flight in self.table.values():
                _keep(flight)
                flight.operation.in_flight = False
            kept = {**self.table, **self.orphans}
            if kept:
                _leaked.append(kept)
            self.table, self.orphans = {}, {}
            self._lanes.clear()


def _is_pending(flight: Flight) -> bool:
    return bool(flight.overlapped.Internal == STATUS_PENDING)


def _check_open(flight: Flight) -> None:
    if not is_open(flight):  # The number may be another's.
        raise closed_meanwhile(flight.operation)


def _keep(flight: Flight) -> None:
    """The buffer stays pinned; the operation can be submitted again."""
    operation = flight.operation
    flight.view, operation._view = operation._view, None
    operation.native = None
