"""What each kind of descriptor shows to the filters READ, WRITE and EXCEPT.

A view answers a filter with `Seen`, or with None while its condition does not hold. It never
takes anything from the descriptor, so SO_ERROR stays pending for its owner.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
from dataclasses import dataclass

from . import linux
from .linux import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP
from .numbers import NOTE_LOWAT, NOTE_OOB, Flavour

_F_GETPIPE_SZ, O_ACCMODE = 1032, 3  # PyPy lacks the names.
_PTY_MASTER, _PTY_SLAVE_MAJORS = (5, 2), range(136, 144)

# States after our own FIN (<net/tcp_states.h>): FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING.
_TCP_SENT_FIN = frozenset((4, 5, 6, 9, 11))


@dataclass(frozen=True)
class Seen:
    """A filter's condition holds, with this in the event."""

    data: int = 0
    fflags: int = 0
    eof: bool = False


@dataclass(frozen=True)
class Wish:
    """What the change asked the filter for."""

    fflags: int
    data: int

    def low_water(self, default: int, buffer_size: int, flavour: Flavour) -> int:
        if not self.fflags & NOTE_LOWAT:
            return default
        if flavour.full_buffer_caps_lowat:
            return min(max(self.data, default), buffer_size)
        return self.data


class View:
    """A descriptor of no special kind: what poll(2) says is what the filters see."""

    def __init__(self, fd: int, flavour: Flavour) -> None:
        self.fd = fd
        self.flavour = flavour

    def refusal(self, filter: int, wish: Wish) -> int:
        """The errno of EV_ADD, or 0."""
        return errno.EINVAL if filter == self.flavour.except_filter else 0

    def read(self, wish: Wish) -> Seen | None:
        mask = linux.poll(self.fd, POLLIN)
        if not mask & (POLLIN | POLLHUP):
            return None
        data = linux.readable_bytes(self.fd)
        return Seen(1 if data is None else data, eof=bool(mask & POLLHUP))

    def write(self, wish: Wish) -> Seen | None:
        mask = linux.poll(self.fd, POLLOUT)
        return Seen(1, eof=bool(mask & POLLHUP)) if mask & (POLLOUT | POLLHUP) else None

    def exceptional(self, wish: Wish) -> Seen | None:
        return None


class FileView(View):
    """A regular file, a directory, or a device that poll(2) knows nothing about."""

    def refusal(self, filter: int, wish: Wish) -> int:
        if self.flavour.refuses_directories and stat.S_ISDIR(os.fstat(self.fd).st_mode):
            return errno.EINVAL
        return super().refusal(filter, wish)

    def read(self, wish: Wish) -> Seen | None:
        status = os.fstat(self.fd)
        if stat.S_ISCHR(status.st_mode):
            return Seen(0)
        # Silent at end of file, negative beyond it (FreeBSD filt_vfsread, XNU filt_vnode_common).
        left = status.st_size - os.lseek(self.fd, 0, os.SEEK_CUR)
        return Seen(left) if left else None

    def write(self, wish: Wish) -> Seen | None:
        return Seen(0)


class DeviceView(View):
    """A character device."""

    def refusal(self, filter: int, wish: Wish) -> int:
        number = os.fstat(self.fd).st_rdev
        device = (os.major(number), os.minor(number))
        is_pty = device == _PTY_MASTER or device[0] in _PTY_SLAVE_MAJORS
        # XNU spec_vnops.c, filt_specattach: "an explicit NOTE_LOWAT with data of 1" is let through.
        excused = wish.fflags & NOTE_LOWAT and wish.data == 1
        if self.flavour.refuses_devices and not is_pty and not excused:
            return errno.EINVAL
        return super().refusal(filter, wish)


class PipeView(View):
    """One end of a pipe or FIFO; a filter on the wrong end only ever sees the other end's close."""

    def __init__(self, fd: int, flavour: Flavour) -> None:
        super().__init__(fd, flavour)
        access = fcntl.fcntl(fd, fcntl.F_GETFL) & O_ACCMODE
        self.readable = access != os.O_WRONLY
        self.writable = access != os.O_RDONLY
        named = not os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")
        self.shows_eof = flavour.named_fifo_has_eof or not named

    def refusal(self, filter: int, wish: Wish) -> int:
        if filter == -2 and self.flavour.readerless_pipe_error and self._other_end_is_gone():
            return self.flavour.readerless_pipe_error
        return super().refusal(filter, wish)

    def _other_end_is_gone(self) -> bool:
        return self.shows_eof and bool(linux.poll(self.fd, 0) & (POLLHUP | POLLERR))

    def _low_water(self, wish: Wish, default: int) -> int:
        return max(default, wish.low_water(default, self._size(), self.flavour))

    def _size(self) -> int:
        return fcntl.fcntl(self.fd, _F_GETPIPE_SZ)

    def read(self, wish: Wish) -> Seen | None:
        gone = self._other_end_is_gone()
        data = linux.readable_bytes(self.fd) or 0
        if gone:
            return Seen(data, eof=True)
        return Seen(data) if self.readable and data >= self._low_water(wish, 1) else None

    def write(self, wish: Wish) -> Seen | None:
        gone = self._other_end_is_gone()
        if gone:
            return Seen(0, eof=True)
        if not self.writable or not linux.poll(self.fd, POLLOUT) & POLLOUT:
            return None
        space = self._size() - (linux.readable_bytes(self.fd) or 0)
        # 512 is the BSDs' PIPE_BUF.
        return Seen(space) if space >= self._low_water(wish, 512) else None


class SocketView(View):
    """A socket."""

    def __init__(self, fd: int, flavour: Flavour) -> None:
        super().__init__(fd, flavour)
        domain = self._option(socket.SO_DOMAIN)
        self.type = self._option(socket.SO_TYPE)
        stream = self.type == socket.SOCK_STREAM
        protocol = self._option(socket.SO_PROTOCOL)
        self.is_tcp = stream and protocol == socket.IPPROTO_TCP
        self.is_unix_stream = stream and domain == socket.AF_UNIX

    def refusal(self, filter: int, wish: Wish) -> int:
        return 0

    def _option(self, name: int) -> int:
        return linux.socket_option(self.fd, socket.SOL_SOCKET, name)

    def _mask(self) -> int:
        mask = linux.poll(self.fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP)
        # A stream that was never connected: POLLHUP, and no shutdown of the receiving side.
        return 0 if mask & POLLHUP and not mask & POLLRDHUP else mask

    def _error(self, mask: int) -> int:
        """The pending SO_ERROR, as well as it can be told without taking it.

        Linux shows sk_err to nobody without clearing it. A TCP connection that never was has
        acknowledged no SYN (tcpi_rtt is 0) and counts as refused, every other as reset; a timeout
        or an unreachable network cannot be told from these.
        """
        if not mask & POLLERR:
            return 0
        if self.is_tcp:
            (round_trip,) = struct.unpack_from("I", linux.tcp_info(self.fd), 68)
            return errno.ECONNRESET if round_trip else errno.ECONNREFUSED
        return errno.ECONNRESET if self.is_unix_stream else errno.ECONNREFUSED

    def _cannot_send_more(self, mask: int) -> bool:
        if mask & POLLHUP:
            return True
        if self.is_tcp:
            return linux.tcp_info(self.fd)[0] in _TCP_SENT_FIN
        return self.is_unix_stream and linux.sending_is_shut_down(self.fd)

    def _backlog(self, mask: int) -> Seen | None:
        if not mask & POLLIN:
            return None
        # tcpi_unacked of a listener is its sk_ack_backlog (tcp_get_info).
        waiting = struct.unpack_from("I", linux.tcp_info(self.fd), 24)[0] if self.is_tcp else 1
        return Seen(max(1, waiting))

    def read(self, wish: Wish) -> Seen | None:
        mask = self._mask()
        if self._option(socket.SO_ACCEPTCONN):
            return self._backlog(mask)
        data = linux.readable_bytes(self.fd) or 0
        if mask & POLLRDHUP:
            return Seen(data, self._error(mask), eof=True)
        if mask & POLLERR:
            return Seen(data)
        if not mask & POLLIN:
            return None
        # An empty datagram is readable: the kernels count its address and control bytes.
        if self.type != socket.SOCK_STREAM and not wish.fflags & NOTE_LOWAT:
            return Seen(data)
        # FIONREAD stops at the urgent mark, POLLIN does not (tcp_inq, tcp_poll).
        data = max(1, data)
        default, buffer_size = self._option(socket.SO_RCVLOWAT), self._option(socket.SO_RCVBUF)
        return Seen(data) if data >= wish.low_water(default, buffer_size, self.flavour) else None

    def write(self, wish: Wish) -> Seen | None:
        mask = self._mask()
        buffer_size = self._option(socket.SO_SNDBUF)
        space = max(1, buffer_size - (linux.unsent_bytes(self.fd) or 0))
        if mask and self._cannot_send_more(mask):
            return Seen(space, self._error(mask), eof=True)
        if mask & POLLERR:
            return Seen(space)
        if not mask & POLLOUT:
            return None
        return Seen(space) if space >= wish.low_water(1, buffer_size, self.flavour) else None

    def exceptional(self, wish: Wish) -> Seen | None:
        # XNU's soexcept_filtops call filt_soread: what is readable is also exceptional.
        if wish.fflags & NOTE_OOB and self._mask() & POLLPRI:
            return Seen(linux.readable_bytes(self.fd) or 0, NOTE_OOB)
        return self.read(wish)


def view_of(fd: int, flavour: Flavour) -> View:
    """The view of an open descriptor; OSError when it is closed."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        return SocketView(fd, flavour)
    if stat.S_ISFIFO(mode):
        return PipeView(fd, flavour)
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return FileView(fd, flavour)
    if stat.S_ISCHR(mode):
        return DeviceView(fd, flavour)
    return View(fd, flavour)
