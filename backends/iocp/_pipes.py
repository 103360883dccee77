"""Pipes, and whatever else was opened with FILE_FLAG_OVERLAPPED."""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from netcore.backends.iocp import _abi
from netcore.backends.iocp._abi import (
    ERROR_BROKEN_PIPE,
    ERROR_HANDLE_EOF,
    ERROR_INVALID_PARAMETER,
    ERROR_IO_PENDING,
    ERROR_MORE_DATA,
    ERROR_NO_DATA,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_BUSY,
    ERROR_PIPE_CONNECTED,
    ERROR_PIPE_NOT_CONNECTED,
)
from netcore.backends.iocp._attachment import Attachments
from netcore.backends.iocp._errors import error
from netcore.backends.iocp._flight import Flight, Way
from netcore.backends.iocp._flights import Flights
from netcore.backends.iocp._transfer import MOST

_ENDS: Final = (ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_PIPE_NOT_CONNECTED)
#: How long to wait until a busy pipe is tried again, in seconds: at first, and at most.
_SOON, _LATE = 0.001, 0.1


class OnHandle(Way):
    """An operation on a handle, which is a number: it serves for one ``submit``."""

    reusable = False

    def __init__(self, flights: Flights, attachments: Attachments) -> None:
        super().__init__(flights)
        self._attachments = attachments
        self.kernel32 = flights.windows.kernel32

    def takes(self, operation: Any) -> bool:
        """Raises OSError for a handle of which no packet would come."""
        with self.flights.lock:
            code = self._attachments.add_handle(operation.fd)
        if code == ERROR_INVALID_PARAMETER:
            reason = "not opened with FILE_FLAG_OVERLAPPED, or it belongs to another port"
            raise error(code, f"{reason}: {operation!r}")
        if code:
            raise error(*self.windows.ffi.getwinerror(code))
        return True

    def handle(self, flight: Flight) -> Any:
        return self.windows.ffi.cast("HANDLE", flight.fd)


class Read(OnHandle):
    def board(self, flight: Flight, operation: Any) -> None:
        flight.buffer = self.windows.ffi.new("char[]", min(operation.size, MOST))

    def start(self, flight: Flight) -> int:
        null, size = self.windows.ffi.NULL, len(flight.buffer)
        if self.kernel32.ReadFile(self.handle(flight), flight.buffer, size, null, flight.pointer):
            return 0
        code: int = self.last_error()
        if code == ERROR_MORE_DATA:  # A warning, with a packet.
            return 0
        if code in _ENDS:
            self.flights.end(flight, code)
            return 0
        return code

    def finish(self, flight: Flight, count: int) -> Any:
        return self.windows.ffi.buffer(flight.buffer, count)[:]

    def failed(self, flight: Flight, code: int, count: int) -> Any:
        if code == ERROR_MORE_DATA:
            return self.finish(flight, count)
        if code in _ENDS:
            return b""
        raise self.reason(flight, code)


class Write(OnHandle):
    def board(self, flight: Flight, operation: Any) -> None:
        flight.buffer = self.windows.ffi.from_buffer("char[]", operation._view)

    def start(self, flight: Flight) -> int:
        null, size = self.windows.ffi.NULL, min(len(flight.buffer), MOST)
        if self.kernel32.WriteFile(self.handle(flight), flight.buffer, size, null, flight.pointer):
            return 0
        return self.last_error()  # type: ignore[no-any-return]

    def finish(self, flight: Flight, count: int) -> Any:
        return count

    def leave(self, flight: Flight) -> None:
        self.release(flight)


class AcceptPipe(OnHandle):
    """Of a client that has come and left already the next Read tells."""

    def start(self, flight: Flight) -> int:
        if self.kernel32.ConnectNamedPipe(self.handle(flight), flight.pointer):
            return 0
        code: int = self.last_error()
        if code in (ERROR_PIPE_CONNECTED, ERROR_NO_DATA):
            self.flights.end(flight)
            return 0
        return code

    def finish(self, flight: Flight, count: int) -> Any:
        return flight.operation.subject


class ConnectPipe(Way):
    """Opens it at once, or tries again later while it is busy: in ``try_again``, by ``wait``."""

    reusable = False

    def __init__(self, flights: Flights) -> None:
        super().__init__(flights)
        #: Who wants to try again -> how long it has been told to wait, and until when.
        self.busy: dict[Flight, tuple[float, float]] = {}

    def start(self, flight: Flight) -> int:
        code = self._open(flight)
        if code == ERROR_PIPE_BUSY:
            self.busy[flight] = _SOON, monotonic() + _SOON
            self.flights.port.post()  # A wait that is running has to look after it.
            return ERROR_IO_PENDING
        if not code:
            self.flights.end(flight)
        return code

    def _open(self, flight: Flight) -> int:
        windows = self.windows
        ffi = windows.ffi
        name = flight.operation.address.encode("utf-16-le") + b"\0\0"
        handle = windows.kernel32.CreateFileW(
            ffi.cast("WCHAR *", ffi.from_buffer(name)),
            _abi.GENERIC_READ | _abi.GENERIC_WRITE,
            0,
            ffi.NULL,
            _abi.OPEN_EXISTING,
            _abi.FILE_FLAG_OVERLAPPED,
            ffi.NULL,
        )
        if handle == ffi.cast("HANDLE", _abi.INVALID_HANDLE_VALUE):
            return self.last_error()  # type: ignore[no-any-return]
        flight.extra = int(ffi.cast("uintptr_t", handle))
        return 0

    def next_try(self) -> float:
        """How many seconds from now, while something is busy."""
        return max(min(until for _, until in self.busy.values()) - monotonic(), 0.0)

    def try_again(self) -> None:
        """What can be opened now, or will never be, comes out."""
        with self.flights.lock:
            for flight, (pause, until) in list(self.busy.items()):
                if until > monotonic():
                    continue
                code = self._open(flight)
                if code == ERROR_PIPE_BUSY:
                    pause = min(2 * pause, _LATE)
                    self.busy[flight] = pause, monotonic() + pause
                else:
                    del self.busy[flight]
                    self.flights.end(flight, code)

    def finish(self, flight: Flight, count: int) -> Any:
        handle, flight.extra = flight.extra, None
        return handle

    def cancel(self, flight: Flight) -> None:
        if self.busy.pop(flight, None):
            self.flights.end(flight, ERROR_OPERATION_ABORTED)
