"""A completion port: what is done or posted comes out as packets, first in, first out."""

from __future__ import annotations

from threading import RLock
from typing import Any, Final

from netcore.backends.iocp._abi import INFINITE, INVALID_HANDLE_VALUE, WAIT_TIMEOUT
from netcore.backends.iocp._winsock import Windows

#: The largest answer of one ``dequeue``; 32 bytes each.
MOST: Final = 4096


class CompletionPort:
    """A port, and the packets that were taken from it last.

    Packets stay until ``done_with_them``, also when an exception comes in between: then the next
    ``dequeue`` finds them again.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        ffi, kernel32 = windows.ffi, windows.kernel32
        self._invalid = ffi.cast("HANDLE", INVALID_HANDLE_VALUE)
        #: None when closed.
        self.handle = kernel32.CreateIoCompletionPort(self._invalid, ffi.NULL, 0, 0)
        if not self.handle:
            raise windows.last_error()
        self._entries = ffi.new("OVERLAPPED_ENTRY[]", MOST)
        # An OVERLAPPED_ENTRY is four words, key and address the first two, in 64 and in 32 bit.
        self._words = ffi.cast("ULONG_PTR *", self._entries)
        self._count = ffi.new("ULONG *")
        # Reentrant: a signal handler may post.
        self._lock = RLock()

    def associate(self, handle: Any, key: int = 0) -> None:
        """Have the packets of ``handle`` come here, for as long as it lives."""
        port = self._windows.kernel32.CreateIoCompletionPort(handle, self.handle, key, 0)
        if not port:
            raise self._windows.last_error()

    def post(self, key: int = 0, overlapped: Any = None) -> None:
        """Put in a packet that no operation of the kernel's has. Any thread; does nothing when
        closed.
        """
        with self._lock:
            if self.handle is None:
                return
            if overlapped is None:
                overlapped = self._windows.ffi.NULL
            post = self._windows.kernel32.PostQueuedCompletionStatus
            if not post(self.handle, 0, key, overlapped):
                raise self._windows.last_error()

    def dequeue(self, milliseconds: int | None, limit: int) -> int:
        """Wait until there is a packet; how many there are now, or 0.

        Windows counts in ticks of its timer and may come back up to one too early.
        """
        count = self._count
        if not count[0]:
            time = INFINITE if milliseconds is None else milliseconds
            # 0: not alertable, so that nobody's APC ends the wait.
            if not self._windows.kernel32.GetQueuedCompletionStatusEx(
                self.handle, self._entries, limit, count, time, 0
            ):
                count[0] = 0
                code, message = self._windows.ffi.getwinerror()
                if code != WAIT_TIMEOUT:
                    raise OSError(code, message, None, code)
        return int(count[0])

    def packets(self, count: int) -> list[tuple[int, int]]:
        """The key and the address of each of the first ``count``; the address is 0 if posted."""
        words = self._windows.ffi.unpack(self._words, 4 * count)
        return list(zip(words[::4], words[1::4]))

    def done_with_them(self) -> None:
        """The packets may be overwritten."""
        self._count[0] = 0

    def close(self) -> None:
        with self._lock:
            handle, self.handle = self.handle, None
            if handle is not None:
                self._windows.kernel32.CloseHandle(handle)
