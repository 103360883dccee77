"""Accepting and connecting: AcceptEx and ConnectEx, for streams over IP."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from typing import Any

from netcore._sockets import bind_to_any, is_stream
from netcore.backends.iocp import _abi
from netcore.backends.iocp._address import FAMILIES
from netcore.backends.iocp._errors import ENDED
from netcore.backends.iocp._extensions import Extensions
from netcore.backends.iocp._flight import AGAIN, Flight, Way
from netcore.backends.iocp._flights import Flights

#: Each of the two addresses that AcceptEx writes needs so much: SOCKADDR_STORAGE and 16.
_ROOM = 144


class _OnStream(Way):
    def __init__(self, flights: Flights, extensions: Extensions) -> None:
        super().__init__(flights)
        self.extensions = extensions

    def takes(self, operation: Any) -> bool:
        sock = operation.sock
        return sock.family in FAMILIES and is_stream(sock)


class Accept(_OnStream):
    """With a socket made beforehand, which becomes the connection."""

    def board(self, flight: Flight, operation: Any) -> None:
        if flight.buffer is None:
            flight.buffer = self.windows.ffi.new("char[]", 2 * _ROOM)

    def start(self, flight: Flight) -> int:
        operation: Any = flight.operation
        listener = operation.sock
        accept = self.extensions.accept_ex(listener)
        _close(flight)
        # Not inherited: that is how Python makes them.
        sock = flight.extra = socket.socket(listener.family, listener.type, listener.proto)
        sock.setblocking(False)
        count, null = self.windows.ffi.cast("DWORD *", flight.flags), flight.pointer
        if accept(flight.fd, sock.fileno(), flight.buffer, 0, _ROOM, _ROOM, count, null):
            return 0
        code: int = self.last_error()
        if code in (_abi.ERROR_NETNAME_DELETED, _abi.WSAECONNRESET):
            return self.start(flight)  # The client is gone: the next one.
        return code

    def finish(self, flight: Flight, count: int) -> Any:
        operation: Any = flight.operation
        sock = flight.extra
        try:
            number = struct.pack("P", operation.sock.fileno())
            sock.setsockopt(_abi.SOL_SOCKET, _abi.SO_UPDATE_ACCEPT_CONTEXT, number)
            address = sock.getpeername()
        except OSError:
            if operation.sock.fileno() != flight.fd:
                raise self.reason(flight, _abi.ERROR_OPERATION_ABORTED) from None
            return AGAIN  # The client is gone.
        flight.extra = None
        return sock, address

    def failed(self, flight: Flight, code: int, count: int) -> Any:
        operation: Any = flight.operation
        if code not in ENDED and operation.sock.fileno() == flight.fd:
            return AGAIN  # That was about one client.
        raise self.reason(flight, code)

    def leave(self, flight: Flight) -> None:
        _close(flight)


def _close(flight: Flight) -> None:
    """The socket that was to become a connection."""
    sock, flight.extra = flight.extra, None
    if sock is not None:
        sock.close()


class Connect(_OnStream):
    """What is submitted after it waits until there is a connection."""

    def board(self, flight: Flight, operation: Any) -> None:
        self.put_address(flight, operation)
        flight.extra = self.extensions.connect_ex(operation.sock)

    def start(self, flight: Flight) -> int:
        operation: Any = flight.operation
        bind_to_any(operation.sock)
        if _is_loopback(operation.address):
            self._do_not_try_again(flight)
        ffi, memory = self.windows.ffi, flight.memory
        null, there = ffi.NULL, ffi.addressof(memory, "address")
        flight.attachment.holder = flight
        if flight.extra(flight.fd, there, memory.length, null, 0, null, flight.pointer):
            return 0
        return self.last_error()  # type: ignore[no-any-return]

    def finish(self, flight: Flight, count: int) -> Any:
        sock = flight.operation.sock
        # Else getpeername, shutdown and others do not know of the connection.
        sock.setsockopt(_abi.SOL_SOCKET, _abi.SO_UPDATE_CONNECT_CONTEXT, 0)

    def leave(self, flight: Flight) -> None:
        flight.extra = None

    def _do_not_try_again(self, flight: Flight) -> None:
        """Else a refusal takes two seconds, of three attempts, also on this machine (libuv)."""
        windows = self.windows
        ffi, null = windows.ffi, windows.ffi.NULL
        never = _abi.TCP_INITIAL_RTO_NO_SYN_RETRANSMISSIONS
        once = ffi.new("TCP_INITIAL_RTO_PARAMETERS *", (never, never))
        # Unknown before Windows 10: never mind.
        windows.ws2_32.WSAIoctl(
            flight.fd,
            _abi.SIO_TCP_INITIAL_RTO,
            once,
            ffi.sizeof("TCP_INITIAL_RTO_PARAMETERS"),
            null,
            0,
            ffi.cast("DWORD *", flight.flags),
            null,
            null,
        )


def _is_loopback(address: Any) -> bool:
    with contextlib.suppress(ValueError):
        there = ipaddress.ip_address(address[0].partition("%")[0])
        mapped = getattr(there, "ipv4_mapped", None)
        return bool((mapped or there).is_loopback)
    return False
