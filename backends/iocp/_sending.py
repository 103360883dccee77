"""Sending on sockets: WSASend, WSASendTo and TransmitFile."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from netcore._arguments import open_number
from netcore.backends.iocp._abi import ERROR_HANDLE_EOF
from netcore.backends.iocp._address import FAMILIES
from netcore.backends.iocp._extensions import Extensions
from netcore.backends.iocp._flight import AGAIN, Flight
from netcore.backends.iocp._flights import Flights
from netcore.backends.iocp._transfer import MOST, OnSocket

#: What a Send takes at once. The kernel takes all or waits, where on Unix a part of it goes.
AT_ONCE: Final = 128 * 1024


class Send(OnSocket):
    """Send and SendAll: from memory of the user's, as it is."""

    def __init__(self, flights: Flights, everything: bool) -> None:
        super().__init__(flights)
        self._send, self._send_to = flights.windows.ws2_32.WSASend, flights.windows.ws2_32.WSASendTo
        self._everything = everything

    def board(self, flight: Flight, operation: Any) -> None:
        buffer = operation.buffer if operation._view is None else operation._view
        flight.buffer = self.windows.ffi.from_buffer("char[]", buffer)
        # Nothing may come in between the parts of a long one.
        if self._everything and len(flight.buffer) > MOST:
            flight.extra = True

    def start(self, flight: Flight) -> int:
        operation: Any = flight.operation
        if flight.extra:
            flight.attachment.holder = flight
        sent, total = operation._sent, len(flight.buffer)
        flight.wsabuf.buf = flight.buffer + sent if sent else flight.buffer
        most = MOST if self._everything or not flight.attachment.stream else AT_ONCE
        flight.wsabuf.len = min(total - sent, most)
        return self._call(flight)

    def _call(self, flight: Flight) -> int:
        null = self.null
        if self._send(flight.fd, flight.wsabuf, 1, null, 0, flight.pointer, null):
            return self.last_error()  # type: ignore[no-any-return]
        return 0

    def finish(self, flight: Flight, count: int) -> Any:
        operation: Any = flight.operation
        operation._sent += count
        # A part of it, where Windows takes all: Wine does that when the peer ends its stream.
        if operation._sent < len(flight.buffer) and (self._everything or not count):
            return AGAIN
        return operation._sent

    def failed(self, flight: Flight, code: int, count: int) -> Any:
        flight.operation._sent += count
        raise self.reason(flight, code)

    def leave(self, flight: Flight) -> None:
        flight.extra = None
        self.release(flight)


class SendTo(Send):
    """A datagram to an address, which is copied by the call."""

    def __init__(self, flights: Flights) -> None:
        super().__init__(flights, True)

    def takes(self, operation: Any) -> bool:
        return operation.sock.type == socket.SOCK_DGRAM and operation.sock.family in FAMILIES

    def board(self, flight: Flight, operation: Any) -> None:
        super().board(flight, operation)
        flight.view = None
        self.put_address(flight, operation)

    def _call(self, flight: Flight) -> int:
        null, memory = self.null, flight.memory
        there = self.windows.ffi.addressof(memory, "address")
        if self._send_to(
            flight.fd, flight.wsabuf, 1, null, 0, there, memory.length, flight.pointer, null
        ):
            return self.last_error()  # type: ignore[no-any-return]
        return 0


class SendFile(OnSocket):
    """By TransmitFile, which is given a part of the file at a time."""

    def __init__(self, flights: Flights, extensions: Extensions) -> None:
        super().__init__(flights)
        self._extensions = extensions

    def takes(self, operation: Any) -> bool:
        return operation.sock.family in FAMILIES

    def board(self, flight: Flight, operation: Any) -> None:
        transmit = self._extensions.transmit_file(operation.sock)
        handle = self.windows.ffi.cast("HANDLE", _os_handle(open_number(operation.file)))
        flight.extra = transmit, handle, operation._length()

    def start(self, flight: Flight) -> int:
        operation: Any = flight.operation
        transmit, handle, total = flight.extra
        left = total - operation._sent
        if not left:  # For TransmitFile 0 is everything.
            operation.value = operation._sent
            self.flights.end_in_turn(flight)
            return 0
        # What is sent after it must not come in between.
        flight.attachment.holder = flight
        offset = operation.offset + operation._sent
        flight.overlapped.Offset, flight.overlapped.OffsetHigh = offset & 0xFFFFFFFF, offset >> 32
        null = self.null
        if transmit(flight.fd, handle, min(left, MOST), 0, flight.pointer, null, 0):
            return 0
        return self.last_error()  # type: ignore[no-any-return]

    def finish(self, flight: Flight, count: int) -> Any:
        operation: Any = flight.operation
        operation._sent += count
        if operation._sent < (flight.extra[2] if count else operation._length()):
            return AGAIN
        return operation._sent

    def failed(self, flight: Flight, code: int, count: int) -> Any:
        operation: Any = flight.operation
        operation._sent += count
        if code == ERROR_HANDLE_EOF:
            return operation._sent  # It has become shorter.
        raise self.reason(flight, code)

    def leave(self, flight: Flight) -> None:
        flight.extra = None


def _os_handle(fd: int) -> int:
    """The handle of a descriptor of the C library."""
    import msvcrt  # Only on Windows.

    ask: Callable[[int], int] = vars(msvcrt)["get_osfhandle"]
    return ask(fd)
