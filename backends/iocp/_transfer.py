"""What receiving and sending on sockets have in common."""

from __future__ import annotations

import errno
import socket
from typing import Any, Final

from netcore.backends.iocp import _abi
from netcore.backends.iocp._errors import error
from netcore.backends.iocp._flight import Flight, Way
from netcore.backends.iocp._flights import Flights

#: The most that one call is given: lengths are 32 bits wide.
MOST: Final = 1 << 30


class OnSocket(Way):
    """An operation on a socket that is associated with the port."""

    def __init__(self, flights: Flights) -> None:
        super().__init__(flights)
        self.null = flights.windows.ffi.NULL

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
