"""How an operation is done with non-blocking calls: what is called when its turn comes.

``BlockingIOError`` means: not yet. Any other OSError is how it failed.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from netcore._arguments import open_number
from netcore._operation import Operation, closed_meanwhile
from netcore._sockets import bind_to_any, is_connected, is_stream
from netcore.contract import Backend
from netcore.operations import (
    Accept,
    Connect,
    Read,
    Recv,
    RecvFrom,
    RecvFromInto,
    RecvInto,
    Send,
    SendAll,
    SendFile,
    SendTo,
    Write,
)

# What a connection may have come to before it is accepted: accept(2) on Linux passes on what is
# pending on the new socket, and says to try again.
_ITS_OWN: Final = {
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "ECONNRESET", "ENOTCONN", "ENETDOWN", "EPROTO", "ENOPROTOOPT"),
        *("EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH"),
    )
    if hasattr(errno, name)
}
_BROKEN_AT_ONCE: Final = 1000  # More is no accident.
_IN_PROGRESS: Final = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR}
_CHUNK: Final = 1 << 20  # Of a file, at a time: other sockets want their turn, too.
_LONGEST_DATAGRAM: Final = 65536


def prepare(operation: Operation, backend: type[Backend]) -> None:
    """Find out how ``operation`` is attempted. Raises ValueError if it is not possible here."""
    kind = type(operation)
    if kind not in _WAYS:
        for cls in kind.__mro__:
            if cls in _WAYS:
                _WAYS[kind] = _WAYS[cls]
                break
    if kind not in _WAYS or (backend.sockets_only and not operation.on_socket):
        raise ValueError(f"the {backend.name} backend cannot carry out {operation!r}")
    call, method = _WAYS[kind]
    if method and is_stream(operation.subject):
        operation._call, operation._direct = getattr(operation.subject, method), True
    else:
        operation._call, operation._direct = call, False


# -- receiving


def _recv(op: Recv) -> bytes:
    """On anything but a stream: the message may be longer."""
    return _recv_from(op)[0]


def _recv_into(op: RecvInto) -> int:
    return _recv_from_into(op)[0]


def _recv_from(op: Recv) -> tuple[bytes, Any]:
    if hasattr(op.sock, "recvmsg"):
        data, _, flags, address = op.sock.recvmsg(op.size)
        op.truncated = bool(flags & socket.MSG_TRUNC)
        return data, address
    if is_stream(op.sock):
        return op.sock.recvfrom(op.size)
    data, address = _whole_datagram(op.sock)
    op.truncated = len(data) > op.size
    return data[: op.size], address


def _recv_from_into(op: RecvInto) -> tuple[int, Any]:
    assert op._view is not None
    if hasattr(op.sock, "recvmsg_into"):
        size, _, flags, address = op.sock.recvmsg_into([op._view])
        op.truncated = bool(flags & socket.MSG_TRUNC)
        return size, address
    if is_stream(op.sock):
        return op.sock.recvfrom_into(op._view)
    data, address = _whole_datagram(op.sock)
    room = len(op._view)
    op.truncated = len(data) > room
    size = min(len(data), room)
    op._view[:size] = data[:size]
    return size, address


def _whole_datagram(sock: socket.socket) -> tuple[bytes, Any]:
    """For Windows, whose recvfrom() fails if there is too little room."""
    while True:
        try:
            return sock.recvfrom(_LONGEST_DATAGRAM)
        except ConnectionResetError:
            if is_connected(sock):
                raise
            # Somebody to whom we sent before is not there: not a matter of this socket.
        except OSError as error:
            # WSAEINVAL: it is not bound.
            if error.errno != errno.EINVAL or not bind_to_any(sock):
                raise


# -- sending


def _send(op: Send) -> int:
    return op.sock.send(op._argument)


def _send_all(op: SendAll) -> int:
    """On anything but a stream it goes at once or not at all."""
    op._sent = op.sock.send(op._argument)
    return op._sent


def _send_to(op: SendTo) -> int:
    return op.sock.sendto(op._argument, op.address)


def what_is_left(op: SendAll) -> memoryview:
    """What is still to be sent of the buffer."""
    if op._view is None:
        op._view = memoryview(op.buffer)
    return op._view[op._sent :]


def _send_file(op: SendFile) -> int:
    total = op._length()
    while op._sent < total:
        sent = _send_chunk(op, op.offset + op._sent, min(total - op._sent, _CHUNK))
        if not sent:
            break  # The file has become shorter.
        op._sent += sent
    return op._sent


if sys.platform != "win32" and hasattr(os, "sendfile"):

    def _send_chunk(op: SendFile, offset: int, count: int) -> int:
        return os.sendfile(op.sock.fileno(), open_number(op.file), offset, count)

else:

    def _send_chunk(op: SendFile, offset: int, count: int) -> int:
        position = op.file.tell()
        try:
            op.file.seek(offset)
            return op.sock.send(op.file.read(min(count, 1 << 16)))
        finally:
            op.file.seek(position)


# -- connecting


def _accept(op: Accept) -> tuple[socket.socket, Any]:
    broken = 0
    while True:
        try:
            sock, address = op.sock.accept()
        except OSError as error:
            broken += 1
            if error.errno not in _ITS_OWN or broken == _BROKEN_AT_ONCE:
                raise
        else:
            sock.setblocking(False)
            return sock, address


def _connect(op: Connect) -> None:
    """Called when it is submitted, and again when the socket is writable."""
    if not op.started:
        op.started = True
        code = op.sock.connect_ex(op.address)
        if code == errno.EAGAIN and op.sock.family == getattr(socket, "AF_UNIX", None):
            # Linux: the backlog is full, and nothing will tell when it is not. BSD says so:
            code = errno.ECONNREFUSED
        if code in _IN_PROGRESS:
            raise BlockingIOError(code, os.strerror(code))
    else:
        code = op.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code and not is_connected(op.sock):
            raise BlockingIOError(errno.EAGAIN, "still connecting")
    if code:
        raise OSError(code, f"{os.strerror(code)}: {op.address!r}")


# -- pipes


def _read(op: Read) -> bytes:
    return os.read(_open_number(op), op.size)


def _write(op: Write) -> int:
    return os.write(_open_number(op), op._argument)


def _open_number(op: Operation) -> int:
    """The descriptor of ``op``, which must not have become somebody else's."""
    if op.has_lost_its_file():
        raise closed_meanwhile(op)
    return op.fd


# What is called; and the method of the socket that is all there is to it on a stream.
_WAYS: Final[dict[type[Operation], tuple[Callable[[Any], Any], str]]] = {
    Recv: (_recv, "recv"),
    RecvInto: (_recv_into, "recv_into"),
    RecvFrom: (_recv_from, ""),
    RecvFromInto: (_recv_from_into, ""),
    Send: (_send, "send"),
    SendAll: (_send_all, "send"),
    SendTo: (_send_to, ""),
    SendFile: (_send_file, ""),
    Accept: (_accept, ""),
    Connect: (_connect, ""),
    Read: (_read, ""),
    Write: (_write, ""),
}
