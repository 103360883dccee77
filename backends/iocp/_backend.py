"""The Windows backend: a completion port, to which AFD's polls and other operations come back."""

from __future__ import annotations

from time import monotonic
from typing import ClassVar

from netcore._timeouts import LONGEST, milliseconds
from netcore.backends.iocp import _winsock
from netcore.backends.iocp._afd import Afd
from netcore.backends.iocp._attachment import OPERATION
from netcore.backends.iocp._interrupt import CTRL_C, CtrlC
from netcore.backends.iocp._port import MOST, CompletionPort
from netcore.backends.iocp._sockets import check_socket
from netcore.backends.iocp._ways import CARRIED_OUT, Ways
from netcore.contract import CONDITIONS, CompletionBackend
from netcore.operations import Operation, Poll


class Iocp(CompletionBackend):
    """I/O completion ports: any number of sockets, the cost does not depend on idle ones."""

    name = "iocp"
    supports = CONDITIONS
    needs = "Windows and the package cffi"
    # GetQueuedCompletionStatusEx counts in ticks of the system timer, of 15.6 ms if nobody asked
    # for finer ones (timeBeginPeriod).
    timeout_granularity = 0.016
    sockets_only = True
    scalable = True
    # What a WSASend has sent when it is cancelled, nobody tells.
    exact_cancelled_send = False
    operations: ClassVar[frozenset[type[Operation]]] = CARRIED_OUT

    @classmethod
    def available(cls) -> bool:
        return _winsock.available()

    def __init__(self) -> None:
        self._windows = windows = _winsock.windows()
        self._port = CompletionPort(windows)
        try:
            self._afd = Afd(windows, self._port)
        except BaseException:
            self._port.close()
            raise
        self._ctrl_c = CtrlC(windows, self._port)
        self._ways = Ways(windows, self._port)
        self._flights = self._ways.flights
        self._room = 64  # Packets asked for at once: grows with the longest answer.

    def check(self, fd: int) -> None:
        check_socket(self._windows, fd)

    def takes(self, operation: Operation) -> bool:
        return self._ways.takes(operation)

    def submit(self, operation: Operation) -> None:
        if isinstance(operation, Poll):
            self._afd.submit(operation)
        else:
            self._ways.submit(operation)

    def cancel(self, operation: Operation) -> None:
        if isinstance(operation, Poll):
            self._afd.cancel(operation)
        else:
            self._flights.cancel(operation)

    def wait(self, timeout: float | None, limit: int | None = None) -> list[Operation]:
        done: list[Operation] = []
        if self._flights.done:
            timeout, done = 0, self._take()
        pipes = self._ways.pipes
        try_again = pipes.next_try() if pipes.busy else None
        if try_again is not None and (timeout is None or try_again < timeout):
            timeout = try_again
        if timeout is None:
            time = self._ctrl_c.limit(None)
        else:
            time = self._ctrl_c.limit(milliseconds(min(timeout, LONGEST)))
        while True:
            room = self._room if limit is None else min(self._room, limit - len(done))
            if room <= 0:
                return done
            count = self._port.dequeue(time, room)
            for key, address in self._port.packets(count):
                if key == OPERATION:
                    self._flights.finish(address)
                    continue
                poll = self._afd.finish(address)
                if poll is not None:
                    done.append(poll)
                elif key == CTRL_C:
                    self._ctrl_c.came()
            self._port.done_with_them()
            if self._flights.done:
                done += self._take()
            if try_again is not None:
                pipes.try_again()
            if count < room or len(done) == limit:
                return done
            self._room, time = min(4 * self._room, MOST), 0

    def _take(self) -> list[Operation]:
        with self._flights.lock:
            done, self._flights.done = self._flights.done, []
        return [operation for operation in done if not operation.in_flight]

    def wake(self) -> None:
        self._port.post()

    def close(self) -> None:
        if self._port.handle is not None:
            self._drain()
            self._flights.abandon()
            self._afd.abandon()
            self._ctrl_c.close()
            self._port.close()

    def _drain(self, patience: float = 1.0) -> None:
        """Cancel everything, and take the packets; ``patience`` seconds at most."""
        self._flights.cancel_all()
        self._afd.cancel_all()
        deadline = monotonic() + patience
        while (self._flights.table or self._afd.busy) and monotonic() < deadline:
            count = self._port.dequeue(100, MOST)
            for key, address in self._port.packets(count):
                if key == OPERATION:
                    self._flights.finish(address)
                else:
                    self._afd.finish(address)
            self._port.done_with_them()
