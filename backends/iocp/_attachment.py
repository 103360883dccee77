"""Which sockets and handles are associated with the port, and what is kept of such a socket.

An association lasts as long as the open file, and excludes every other port: also one of another
selector in this process.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from typing import Any
from weakref import ref

from netcore._sockets import is_connected, is_stream
from netcore.backends.iocp import _abi
from netcore.backends.iocp._address import FAMILIES
from netcore.backends.iocp._errors import winerror
from netcore.backends.iocp._port import CompletionPort
from netcore.backends.iocp._winsock import Windows

#: The key of the packets of operations.
OPERATION = 2


class Attachment:
    """A socket, and whether its operations can be carried out by the port."""

    __slots__ = ("fd", "holder", "internet", "native", "queue", "reset", "sock", "stream")

    def __init__(self, sock: socket.socket, fd: int, native: bool) -> None:
        #: The object: the number can be of another socket tomorrow.
        self.sock = ref(sock)
        self.fd = fd
        self.native = native
        self.stream = is_stream(sock)
        self.internet = sock.family in FAMILIES
        #: The operation in flight behind which others have to wait in the queue, if there is one.
        self.holder: Any = None
        self.queue: deque[Any] = deque()
        #: The connection was reset: nothing else is told from then on.
        self.reset: OSError | None = None


class Attachments:
    """Associates each socket with the port, at its first operation."""

    def __init__(self, windows: Windows, port: CompletionPort) -> None:
        self._windows, self._port = windows, port
        self._sockets: dict[int, Attachment] = {}  # By number: as many as there were at a time.
        self._handles: set[int] = set()

    def of(self, sock: socket.socket, fd: int) -> Attachment:
        known = self._sockets.get(fd)
        if known is None or known.sock() is not sock:
            if sock.fileno() != fd:  # Closed meanwhile: the number may be another's.
                raise OSError(errno.EBADF, f"closed: {sock!r}")
            known = Attachment(sock, fd, self._associate(fd) == 0)
            if known.native and not known.stream and known.internet:
                self._ignore_unreachable(sock, fd)
            self._sockets[fd] = known
        return known

    def add_handle(self, fd: int) -> int:
        """Associate a handle that is no socket; 0, or the error of Windows."""
        code = self._associate(fd)
        if not code:
            self._handles.add(fd)
        elif code == _abi.ERROR_INVALID_PARAMETER and fd in self._handles:
            # It is associated already, unless it is another file with an old number: a call on one
            # that is not overlapped would block.
            return code if self._blocks(fd) else 0
        return code

    def _blocks(self, fd: int) -> bool:
        ffi, ntdll = self._windows.ffi, self._windows.ntdll
        mode, block = ffi.new("ULONG *"), ffi.new("IO_STATUS_BLOCK *")
        handle, size = ffi.cast("HANDLE", fd), ffi.sizeof("ULONG")
        if ntdll.NtQueryInformationFile(handle, block, mode, size, _abi.FileModeInformation) < 0:
            return True
        both = _abi.FILE_SYNCHRONOUS_IO_ALERT | _abi.FILE_SYNCHRONOUS_IO_NONALERT
        return bool(mode[0] & both)

    def _associate(self, fd: int) -> int:
        try:
            self._port.associate(self._windows.ffi.cast("HANDLE", fd), OPERATION)
        except OSError as error:
            return winerror(error)
        return 0

    def _ignore_unreachable(self, sock: socket.socket, fd: int) -> None:
        """An unconnected socket does not fail because somebody to whom it sent is not there."""
        if is_connected(sock):
            return
        windows = self._windows
        ffi, null = windows.ffi, windows.ffi.NULL
        off, size = ffi.new("BOOL *", 0), ffi.new("DWORD *")
        # Where it is not known (Wine) a receive that fails with it is started again.
        windows.ws2_32.WSAIoctl(
            fd, _abi.SIO_UDP_CONNRESET, off, ffi.sizeof("BOOL"), null, 0, size, null, null
        )
