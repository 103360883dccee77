"""Questions to Linux about one descriptor; none of them changes it or takes anything from it.

libc is called directly because a temporary `socket.socket` on a borrowed number would close the
owner's descriptor when a signal handler raises at the wrong moment.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence

POLLIN, POLLPRI, POLLOUT = 0x001, 0x002, 0x004
POLLERR, POLLHUP, POLLNVAL, POLLRDHUP = 0x008, 0x010, 0x020, 0x2000

_FIONREAD, _TIOCOUTQ = 0x541B, 0x5411
_IPPROTO_TCP, _TCP_INFO = 6, 11
_MSG_DONTWAIT, _MSG_NOSIGNAL = 0x40, 0x4000
_EFD_CLOEXEC, _EFD_NONBLOCK = 0o2000000, 0o4000

if sys.platform == "linux":
    _libc = ctypes.CDLL(None, use_errno=True)


class _PollFd(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_int),
        ("events", ctypes.c_short),
        ("revents", ctypes.c_short),
    )


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def poll(fd: int, events: int) -> int:
    """What poll(2) says of fd right now; POLLNVAL when it is closed."""
    entry = _PollFd(fd, events, 0)
    _libc.poll(ctypes.byref(entry), 1, 0)
    return int(entry.revents)


def sleep_on(fds: Sequence[int], nanoseconds: int | None) -> None:
    """Return when one is readable, when the time is over, or when a signal arrived."""
    entries = (_PollFd * len(fds))(*(_PollFd(fd, POLLIN, 0) for fd in fds))
    timeout = None
    if nanoseconds is not None:
        timeout = ctypes.byref(_Timespec(*divmod(nanoseconds, 1_000_000_000)))
    _libc.ppoll(entries, ctypes.c_ulong(len(fds)), timeout, None)


def eventfd() -> int:
    """A new non-blocking eventfd; `os.eventfd` needs Python 3.10."""
    fd = int(_libc.eventfd(0, _EFD_CLOEXEC | _EFD_NONBLOCK))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def _ioctl_int(fd: int, request: int) -> int | None:
    answer = ctypes.c_int(0)
    failed = _libc.ioctl(fd, ctypes.c_ulong(request), ctypes.byref(answer))
    return None if failed else answer.value


def readable_bytes(fd: int) -> int | None:
    """Bytes that can be read; of a datagram socket those of the next one. None: not known."""
    return _ioctl_int(fd, _FIONREAD)


def unsent_bytes(fd: int) -> int | None:
    """Bytes in a socket's send queue. None: not known."""
    return _ioctl_int(fd, _TIOCOUTQ)


def _getsockopt(fd: int, level: int, option: int, size: int) -> bytes:
    buffer = ctypes.create_string_buffer(size)
    length = ctypes.c_uint(size)
    failed = _libc.getsockopt(fd, level, option, buffer, ctypes.byref(length))
    return b"" if failed else buffer.raw[: length.value]


def socket_option(fd: int, level: int, option: int) -> int:
    """An integer option, or 0 when the socket does not have it."""
    answer = _getsockopt(fd, level, option, 4)
    return int(struct.unpack("i", answer)[0]) if len(answer) == 4 else 0


def tcp_info(fd: int) -> bytes:
    """`struct tcp_info` of <linux/tcp.h>, padded with zeroes; all zero when fd is not TCP."""
    return _getsockopt(fd, _IPPROTO_TCP, _TCP_INFO, 136).ljust(136, b"\0")


def sending_is_shut_down(fd: int) -> bool:
    """Whether an AF_UNIX stream has seen shutdown(SHUT_WR).

    Sends nothing: unix_stream_sendmsg() looks at the shutdown before it looks at the length.
    """
    sent = _libc.send(fd, None, ctypes.c_size_t(0), _MSG_DONTWAIT | _MSG_NOSIGNAL)
    return sent < 0 and ctypes.get_errno() == errno.EPIPE
