"""Addresses of the socket module, and those that the kernel reads and writes: a pair."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, Final

from netcore.backends.iocp._abi import AF_INET, AF_INET6

# SOCKADDR_IN and SOCKADDR_IN6: family and scope in the order of the host, which is little-endian
# wherever Windows runs.
_FAMILY: Final = struct.Struct("<H")
_INET: Final = struct.Struct("!H4s8x")
_INET6: Final = struct.Struct("!HI16s")
_SCOPE: Final = struct.Struct("<I")

#: The families that have addresses here.
FAMILIES: Final = frozenset((socket.AF_INET, socket.AF_INET6))


def packed(family: int, address: Any) -> bytes:
    """The SOCKADDR of ``address``, whose host is a number; OSError (EINVAL) for no address."""
    try:
        host, port = address[0], address[1]
        if family == AF_INET:
            number = "255.255.255.255" if host == "<broadcast>" else host or "0.0.0.0"
            return _FAMILY.pack(AF_INET) + _INET.pack(port, socket.inet_pton(family, number))
        number, _, zone = (host or "::").partition("%")
        flow = address[2] if len(address) > 2 else 0
        scope = address[3] if len(address) > 3 else 0
        if zone:
            scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
        there = socket.inet_pton(socket.AF_INET6, number)
        return _FAMILY.pack(AF_INET6) + _INET6.pack(port, flow, there) + _SCOPE.pack(scope)
    except (struct.error, IndexError, TypeError) as error:
        raise OSError(errno.EINVAL, f"no address: {address!r} ({error})") from None


def unpacked(memory: bytes) -> Any:
    """The address in a SOCKADDR, as the socket module tells it."""
    (family,) = _FAMILY.unpack_from(memory)
    if family == AF_INET:
        port, host = _INET.unpack_from(memory, 2)
        return socket.inet_ntop(socket.AF_INET, host), port
    port, flow, host = _INET6.unpack_from(memory, 2)
    (scope,) = _SCOPE.unpack_from(memory, 24)
    return socket.inet_ntop(socket.AF_INET6, host), port, flow, scope
