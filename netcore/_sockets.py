"""What more than one file asks of a socket."""

from __future__ import annotations

import errno
import socket
from typing import Final

#: A flag of send(): as if the socket was non-blocking. Windows has none.
DO_NOT_WAIT: Final = int(getattr(socket, "MSG_DONTWAIT", 0))
# As socket.type, which looks for the name of the number each time.
_type_of = socket.SocketType.type.__get__


def is_stream(sock: socket.socket) -> bool:
    """Whether ``sock`` carries bytes and not messages."""
    return bool(_type_of(sock) == socket.SOCK_STREAM)


def is_connected(sock: socket.socket) -> bool:
    """Whether ``sock`` has a peer."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def bind_to_any(sock: socket.socket) -> bool:
    """Bind ``sock`` to any free port, as Unix does by itself; False if it is bound already."""
    try:
        sock.bind(("::" if sock.family == socket.AF_INET6 else "0.0.0.0", 0))
    except OSError as error:
        # Also on Windows: of Winsock's numbers, CPython translates this one (WSAEINVAL).
        if error.errno != errno.EINVAL:
            raise
        return False
    return True
