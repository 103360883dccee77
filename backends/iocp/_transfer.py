"""Receiving and sending on sockets: WSARecv, WSASend, TransmitFile and their like."""

from __future__ import annotations

import errno
import os
import socket
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Final

from netcore.backends.iocp import _abi
from netcore.backends.iocp._abi import ERROR_HANDLE_EOF, ERROR_MORE_DATA, WSAEINVAL, WSAEMSGSIZE
from netcore.backends.iocp._address import packed, unpacked
from netcore.backends.iocp._attachment import bind_to_any, is_connected
from netcore.backends.iocp._errors import error, winerror
from netcore.backends.iocp._extensions import Extensions
from netcore.backends.iocp._overlapped import AGAIN, Flight, Flights, Way

#: The most that one call is given: lengths are 32 bits wide.
MOST: Final = 1 << 30
#: What a Send takes at once. The kernel takes all or waits, where on Unix a part of it goes.
AT_ONCE: Final = 128 * 1024


class _OnSocket(Way):
    """An operation on a socket that is associated with the port."""

    def __init__(self, flights: Flights) -> None:
        super().__init__(flights)
        ws2_32 = flights.windows.ws2_32
        self._null = flights.windows.ffi.NULL
        self._recv, self._recv_from = ws2_32.WSARecv, ws2_32.WSARecvFrom
        self._send, self._send_to = ws2_32.WSASend, ws2_32.WSASendTo

    def takes(self, operation: Any) -> bool:
        return operation.sock.type in (socket.SOCK_STREAM, socket.SOCK_DGRAM)

    def reason(self, flight: Flight, code: int) -> OSError:
        """The reason why it failed; that a stream was reset is told from then on."""
        reason = super().reason(flight, code)
        if reason.errno == errno.ECONNRESET:
            if not flight.attachment.stream:  # ICMP: nobody has that port.
                return error(_abi.ERROR_PORT_UNREACHABLE, reason.strerror or "")
            flight.attachment.reset = reason
        return reason


# -- receiving


class _Receiving(_OnSocket):
    """Receives into ``flight.buffer``."""

    def start(self, flight: Flight) -> int:
        code = self._receive(flight)
        if code == WSAEINVAL and not flight.attachment.stream:
            bind_to_any(flight.operation.sock)
            code = self._receive(flight)
        # A part of a datagram: that is a warning, with a packet.
        return 0 if code in (WSAEMSGSIZE, ERROR_MORE_DATA) else code

    def _receive(self, flight: Flight) -> int:
        flight.flags[0] = 0
        null, wsabuf = self._null, flight.wsabuf
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
        _release(self, flight)


def _release(way: Way, flight: Flight) -> None:
    if flight.buffer is not None:
        way.windows.ffi.release(flight.buffer)
        flight.buffer = None


class _From(_Receiving):
    """With the address of the sender, which on a stream is None."""

    def takes(self, operation: Any) -> bool:
        return super().takes(operation) and _internet(operation.sock)

    def _receive(self, flight: Flight) -> int:
        if flight.attachment.stream:
            return super()._receive(flight)
        flight.flags[0] = 0
        if flight.extra is None:
            ffi, memory = self.windows.ffi, flight.memory
            flight.extra = ffi.addressof(memory, "address"), ffi.addressof(memory, "length")
        there, length = flight.extra
        null, wsabuf = self._null, flight.wsabuf
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


def _internet(sock: socket.socket) -> bool:
    return sock.family in (socket.AF_INET, socket.AF_INET6)


# -- sending


class Send(_OnSocket):
    """Send and SendAll: from memory of the user's, as it is."""

    def __init__(self, flights: Flights, everything: bool) -> None:
        super().__init__(flights)
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
        null = self._null
        if self._send(flight.fd, flight.wsabuf, 1, null, 0, flight.pointer, null):
            return self.last_error()  # type: ignore[no-any-return]
        return 0

    def finish(self, flight: Flight, count: int) -> Any:
        operation: Any = flight.operation
        operation._sent += count
        if self._everything and count and operation._sent < len(flight.buffer):
            return AGAIN
        return operation._sent

    def failed(self, flight: Flight, code: int, count: int) -> Any:
        flight.operation._sent += count
        raise self.reason(flight, code)

    def leave(self, flight: Flight) -> None:
        flight.extra = None
        _release(self, flight)


class SendTo(Send):
    """A datagram to an address, which is copied by the call."""

    def __init__(self, flights: Flights) -> None:
        super().__init__(flights, True)

    def takes(self, operation: Any) -> bool:
        return operation.sock.type == socket.SOCK_DGRAM and _internet(operation.sock)

    def board(self, flight: Flight, operation: Any) -> None:
        super().board(flight, operation)
        flight.view = None
        address = packed(operation.sock.family, operation.address)
        ffi = self.windows.ffi
        ffi.memmove(ffi.addressof(flight.memory, "address"), address, len(address))
        flight.memory.length = len(address)

    def _call(self, flight: Flight) -> int:
        null, memory = self._null, flight.memory
        there = self.windows.ffi.addressof(memory, "address")
        if self._send_to(
            flight.fd, flight.wsabuf, 1, null, 0, there, memory.length, flight.pointer, null
        ):
            return self.last_error()  # type: ignore[no-any-return]
        return 0


class SendFile(_OnSocket):
    """By TransmitFile, which is given a part of the file at a time."""

    def __init__(self, flights: Flights, extensions: Extensions) -> None:
        super().__init__(flights)
        self._extensions = extensions

    def takes(self, operation: Any) -> bool:
        return _internet(operation.sock)

    def board(self, flight: Flight, operation: Any) -> None:
        transmit = self._extensions.transmit_file(operation.sock)
        size = max(os.fstat(operation.file.fileno()).st_size - operation.offset, 0)
        total = size if operation.count is None else min(operation.count, size)
        handle = self.windows.ffi.cast("HANDLE", os_handle(operation.file.fileno()))
        flight.extra = transmit, handle, total

    def start(self, flight: Flight) -> int:
        operation: Any = flight.operation
        transmit, handle, total = flight.extra
        left = total - operation._sent
        if not left:
            self.flights.end(flight)  # For TransmitFile 0 is everything.
            return 0
        # What is sent after it must not come in between.
        flight.attachment.holder = flight
        offset = operation.offset + operation._sent
        flight.overlapped.Offset, flight.overlapped.OffsetHigh = offset & 0xFFFFFFFF, offset >> 32
        null = self._null
        if transmit(flight.fd, handle, min(left, MOST), 0, flight.pointer, null, 0):
            return 0
        return self.last_error()  # type: ignore[no-any-return]

    def finish(self, flight: Flight, count: int) -> Any:
        operation: Any = flight.operation
        operation._sent += count
        if count and operation._sent < flight.extra[2]:
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


def os_handle(fd: int) -> int:
    """The handle of a descriptor of the C library."""
    import msvcrt  # Only on Windows.

    ask: Callable[[int], int] = vars(msvcrt)["get_osfhandle"]
    return ask(fd)
