"""The Windows backend: a completion port, to which AFD's polls come back."""

from __future__ import annotations

from netcore._timeouts import LONGEST, milliseconds
from netcore.backends.iocp import _winsock
from netcore.backends.iocp._afd import Afd
from netcore.backends.iocp._interrupt import CTRL_C, CtrlC
from netcore.backends.iocp._port import MOST, CompletionPort
from netcore.backends.iocp._sockets import check_socket
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
        self._room = 64  # Packets asked for at once: grows with the longest answer.

    def check(self, fd: int) -> None:
        check_socket(self._windows, fd)

    def submit(self, operation: Operation) -> None:
        if not isinstance(operation, Poll):
            raise TypeError(f"not an operation of this backend: {operation!r}")
        self._afd.submit(operation)

    def cancel(self, operation: Operation) -> None:
        if isinstance(operation, Poll):
            self._afd.cancel(operation)

    def wait(self, timeout: float | None, limit: int | None = None) -> list[Operation]:
        done: list[Operation] = []
        if timeout is None:
            time = self._ctrl_c.limit(None)
        else:
            time = self._ctrl_c.limit(milliseconds(min(timeout, LONGEST)))
        while True:
            room = self._room if limit is None else min(self._room, limit - len(done))
            count = self._port.dequeue(time, room)
            for key, address in self._port.packets(count):
                poll = self._afd.finish(address)
                if poll is not None:
                    done.append(poll)
                elif key == CTRL_C:
                    self._ctrl_c.came()
            self._port.done_with_them()
            if count < room or len(done) == limit:
                return done
            self._room, time = min(4 * self._room, MOST), 0

    def wake(self) -> None:
        self._port.post()

    def close(self) -> None:
        if self._port.handle is not None:
            self._afd.close()
            self._ctrl_c.close()
            self._port.close()
