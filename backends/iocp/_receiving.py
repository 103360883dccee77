"""Receiving on sockets: WSARecv and WSARecvFrom."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from netcore._sockets import bind_to_any, is_connected
from netcore.backends.iocp._abi import ERROR_MORE_DATA, WSAEINVAL, WSAEMSGSIZE
from netcore.backends.iocp._address import FAMILIES, unpacked
from netcore.backends.iocp._errors import error, winerror
from netcore.backends.iocp._flight import AGAIN, Flight
from netcore.backends.iocp._flights import Flights
from netcore.backends.iocp._transfer import MOST, OnSocket


class _Receiving(OnSocket):
    """Receives into ``flight.buffer``."""

    def __init__(self, flights: Flights) -> None:
        super().__init__(flights)
        self._recv = flights.windows.ws2_32.WSARecv
        self._recv_from = flights.windows.ws2_32.WSARecvFrom

    def start(self, flight: Flight) -> int:
        code = self._receive(flight)
        if code == WSAEINVAL and not flight.attachment.stream:
            bind_to_any(flight.operation.sock)
            code = self._receive(flight)
        # A part of a datagram: that is a warning, with a packet.
        return 0 if code in (WSAEMSGSIZE, ERROR_MORE_DATA) else code

    def _receive(self, flight: Flight) -> int:
        flight.flags[0] = 0
        null, wsabuf = self.null, flight.wsabuf
        if self._recv(flight.fd, wsabuf, 1, null, flight.flags, flight.pointer, null):
            return self.last_error()  # type: ignore[no-any-return]
        return 0

    def finish(self, flight: Flight, count: int) -> Any:
        operation: Any = flight.operation
        operation.truncated = False
        reset = flight.attachment.reset
        if reset is not None and not count:
            raise error(winerror(reset), reset.strerror)
        return self.received(flight, count)

    @abstractmethod
    def received(self, flight: Flight, count: int) -> Any:
        """The result."""

    def failed(self, flight: Flight, code: int, count: int) -> Any:
        operation: Any = flight.operation
        if code in (ERROR_MORE_DATA, WSAEMSGSIZE):
            operation.truncated = True
            return self.received(flight, count)
        reason = self.reason(flight, code)
        if (
            isinstance(reason, ConnectionRefusedError)
            and not flight.attachment.stream
            and not is_connected(operation.sock)
        ):
            return AGAIN  # Somebody to whom we sent before is not there.
        raise reason


class Receive(_Receiving):
    """Recv: into memory of our own, which serves again."""

    def board(self, flight: Flight, operation: Any) -> None:
        if flight.buffer is None:
            size = min(operation.size, MOST)
            flight.buffer = self.windows.ffi.new("char[]", size)
            flight.wsabuf.buf, flight.wsabuf.len = flight.buffer, size

    def received(self, flight: Flight, count: int) -> Any:
        return self.windows.ffi.buffer(flight.buffer, count)[:]


class ReceiveInto(_Receiving):
    """RecvInto: into memory of the user's."""

    def board(self, flight: Flight, operation: Any) -> None:
        ffi = self.windows.ffi
        flight.buffer = ffi.from_buffer("char[]", operation._view, require_writable=True)
        flight.wsabuf.buf, flight.wsabuf.len = flight.buffer, min(len(flight.buffer), MOST)

    def received(self, flight: Flight, count: int) -> Any:
        return count

    def leave(self, flight: Flight) -> None:
        self.release(flight)


class _From(_Receiving):
    """With the address of the sender, which on a stream is None."""

    def takes(self, operation: Any) -> bool:
        return super().takes(operation) and operation.sock.family in FAMILIES

    def _receive(self, flight: Flight) -> int:
        if flight.attachment.stream:
            return super()._receive(flight)
        flight.flags[0] = 0
        if flight.extra is None:
            ffi, memory = self.windows.ffi, flight.memory
            flight.extra = ffi.addressof(memory, "address"), ffi.addressof(memory, "length")
        there, length = flight.extra
        null, wsabuf = self.null, flight.wsabuf
        length[0] = self.windows.ffi.sizeof("SOCKADDR_STORAGE")
        if self._recv_from(
            flight.fd, wsabuf, 1, null, flight.flags, there, length, flight.pointer, null
        ):
            return self.last_error()  # type: ignore[no-any-return]
        return 0

    def sender(self, flight: Flight) -> Any:
        if flight.attachment.stream:
            return None
        there, length = flight.extra
        return unpacked(self.windows.ffi.buffer(there, length[0])[:])


class ReceiveFrom(_From, Receive):
    def received(self, flight: Flight, count: int) -> Any:
        return super().received(flight, count), self.sender(flight)


class ReceiveFromInto(_From, ReceiveInto):
    def received(self, flight: Flight, count: int) -> Any:
        return count, self.sender(flight)
