"""Polls of sockets by AFD, the kernel driver below Winsock.

A poll is a device request, IOCTL_AFD_POLL, that a helper carries; its packet comes to the port. No
public header declares it; wepoll, mio, libuv and trio rely on it as we do.
"""

from __future__ import annotations

from threading import RLock
from typing import Final

from netcore.backends.iocp import _abi
from netcore.backends.iocp._abi import (
    AFD_POLL_ABORT,
    AFD_POLL_ACCEPT,
    AFD_POLL_CONNECT_FAIL,
    AFD_POLL_DISCONNECT,
    AFD_POLL_LOCAL_CLOSE,
    AFD_POLL_RECEIVE,
    AFD_POLL_RECEIVE_EXPEDITED,
    AFD_POLL_SEND,
    STATUS_CANCELLED,
    STATUS_HANDLES_CLOSED,
    STATUS_INVALID_HANDLE,
    STATUS_OBJECT_TYPE_MISMATCH,
    STATUS_PENDING,
)
from netcore.backends.iocp._helper import Helper
from netcore.backends.iocp._port import CompletionPort
from netcore.backends.iocp._sockets import base_socket, not_a_socket
from netcore.backends.iocp._winsock import Windows
from netcore.contract import (
    CLOSED,
    EVENT_HANGUP,
    EVENT_PRIORITY,
    EVENT_READ,
    EVENT_WRITE,
    FAILED,
)
from netcore.operations import Poll

#: Polls that one helper carries. The cost of a cancel grows with them (trio#52: 430 us at 10 000);
#: wepoll, mio and polling take 32, which nobody has measured; trio 500.
GROUP: Final = 128

_LOST: Final = AFD_POLL_ABORT | AFD_POLL_CONNECT_FAIL
#: Memory that the kernel may still write to after a port was closed: leaked rather than freed.
_leaked: list[dict[int, Poll]] = []


def afd_events(events: int) -> int:
    """Event bits -> AFD_POLL_*. Nothing is asked that is not wanted: it would come at once, again
    and again. So who asks for urgent data alone hears of no reset.
    """
    return (
        (AFD_POLL_RECEIVE | AFD_POLL_ACCEPT | AFD_POLL_DISCONNECT | _LOST)
        * bool(events & EVENT_READ)
        | (AFD_POLL_SEND | _LOST) * bool(events & EVENT_WRITE)
        | AFD_POLL_RECEIVE_EXPEDITED * bool(events & EVENT_PRIORITY)
        | (AFD_POLL_DISCONNECT | _LOST) * bool(events & EVENT_HANGUP)
        | AFD_POLL_LOCAL_CLOSE
    )


def event_bits(afd: int) -> int:
    """AFD_POLL_* -> event bits."""
    return (
        EVENT_READ * bool(afd & (AFD_POLL_RECEIVE | AFD_POLL_ACCEPT | AFD_POLL_DISCONNECT | _LOST))
        | EVENT_WRITE * bool(afd & (AFD_POLL_SEND | _LOST))
        | EVENT_PRIORITY * bool(afd & AFD_POLL_RECEIVE_EXPEDITED)
        | EVENT_HANGUP * bool(afd & (AFD_POLL_DISCONNECT | _LOST))
        | FAILED * bool(afd & _LOST)
        | CLOSED * bool(afd & AFD_POLL_LOCAL_CLOSE)
    )


_ASKED = [afd_events(events) for events in range(16)]


class Native:
    """What is kept with a poll."""

    __slots__ = ("address", "block", "helper", "info", "memory", "number", "overlapped", "target")

    def __init__(self, windows: Windows, fd: int) -> None:
        ffi = windows.ffi
        # The kernel's from the call to the packet. It lives as long as this object, which is in
        # the table of those in flight for so long.
        self.memory = ffi.new("NETCORE_POLL *")
        self.address = int(ffi.cast("uintptr_t", self.memory))
        #: What carries it while it is in flight.
        self.helper: Helper | None = None
        # Views of the memory: making them costs as much as a system call.
        self.overlapped = self.memory.overlapped
        self.block = ffi.cast("IO_STATUS_BLOCK *", self.memory)
        self.info = ffi.addressof(self.memory, "info")
        self.info.Timeout = _abi.AFD_POLL_INFINITE
        self.info.Exclusive = 0
        self.target = self.info.Handles[0]
        #: The socket that is polled.
        self.number = base_socket(windows, fd)
        self.target.Handle = ffi.cast("HANDLE", self.number)


class Afd:
    """Submits polls, and ends them when their packet has come. Thread-safe."""

    def __init__(self, windows: Windows, port: CompletionPort) -> None:
        self._windows, self._port = windows, port
        self._lock = RLock()
        #: Address of the memory -> poll; keeps the memory.
        self._in_flight: dict[int, Poll] = {}
        # One is there always: opened later, it might get the number of a socket that was closed.
        self._helpers: dict[int, Helper] = {}  # By number.
        self._with_room: list[Helper] = []
        self._open()
        self._size = windows.ffi.sizeof("AFD_POLL_INFO")
        self._null = windows.ffi.NULL
        self._call = windows.ntdll.NtDeviceIoControlFile
        self._ignored = windows.ffi.new("IO_STATUS_BLOCK *")

    def submit(self, poll: Poll) -> None:
        """Raises OSError, WSAENOTSOCK for what is no open socket; then it is not in flight."""
        with self._lock:
            if poll.in_flight:
                raise ValueError(f"in flight already: {poll!r}")
            native = poll.native
            if native is None:
                native = poll.native = Native(self._windows, poll.fd)
            helper = self._with_room[0] if self._with_room else self._open()
            if native.number in self._helpers:
                raise not_a_socket()  # It was closed, and its number is ours now.
            native.overlapped.Internal = STATUS_PENDING
            native.info.NumberOfHandles = 1
            native.target.Events = _ASKED[poll.events]
            native.target.Status = 0
            poll.error, poll.found = None, 0
            native.helper = helper
            helper.polls += 1
            if helper.polls == GROUP:
                self._with_room.remove(helper)
            self._in_flight[native.address] = poll
            poll.in_flight = True
            status = self._ioctl(helper, native)
            if status < 0:
                native.overlapped.Internal = 0
                poll.in_flight = False
                self._forget(native)
                raise self._refusal(status)

    def _ioctl(self, helper: Helper, native: Native) -> int:
        null, info, size = self._null, native.info, self._size
        # ApcContext comes back as lpOverlapped; without one there is no packet. Done at once or
        # not, there is one packet.
        status: int = self._call(
            helper.handle,
            null,
            null,
            native.memory,
            native.block,
            _abi.IOCTL_AFD_POLL,
            info,
            size,
            info,
            size,
        )
        return status

    def _refusal(self, status: int) -> OSError:
        if status in (STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH):
            return not_a_socket()
        return self._windows.status_error(status)

    def cancel(self, poll: Poll) -> None:
        """Ask for the end of ``poll``; whoever is through with it already stays so."""
        with self._lock:
            native = poll.native
            if native is not None and native.address in self._in_flight:
                # STATUS_NOT_FOUND: its packet is on its way.
                cancel = self._windows.ntdll.NtCancelIoFileEx
                cancel(native.helper.handle, native.block, self._ignored)

    def finish(self, address: int) -> Poll | None:
        """The poll whose packet has come, with what it found; None for what is not in flight."""
        with self._lock:
            poll = self._in_flight.get(address)
            if poll is None:
                return None
            native = poll.native
            status = _abi.ntstatus(native.overlapped.Internal)
            if status == STATUS_PENDING:
                return None  # An old packet, looked at once more after an exception.
            self._read(poll, status)
            poll.in_flight = False
            self._forget(native)
            return poll

    def _read(self, poll: Poll, status: int) -> None:
        native: Native = poll.native
        if status >= 0:
            if native.info.NumberOfHandles:
                poll.found = event_bits(native.target.Events)
        elif status in (STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH):
            poll.found, poll.error = CLOSED, self._refusal(status)
        elif status not in (STATUS_CANCELLED, STATUS_HANDLES_CLOSED):
            poll.found, poll.error = FAILED, self._refusal(status)

    def _forget(self, native: Native) -> None:
        """Its memory is not the kernel's any more."""
        self._in_flight.pop(native.address, None)
        helper, native.helper = native.helper, None
        if helper is None:
            return
        if helper.polls == GROUP:
            self._with_room.append(helper)
        helper.polls -= 1
        if not helper.polls and len(self._helpers) > 1:
            del self._helpers[helper.number]
            self._with_room.remove(helper)
            self._windows.kernel32.CloseHandle(helper.handle)

    def _open(self) -> Helper:
        helper = Helper(self._windows, self._port)
        self._helpers[helper.number] = helper
        self._with_room.append(helper)
        return helper

    @property
    def busy(self) -> bool:
        return bool(self._in_flight)

    def cancel_all(self) -> None:
        with self._lock:
            for helper in self._helpers.values():
                self._windows.kernel32.CancelIoEx(helper.handle, self._null)

    def abandon(self) -> None:
        """Close the helpers; what is still in flight is never freed."""
        with self._lock:
            if self._in_flight:
                _leaked.append(self._in_flight)
                self._in_flight = {}
            while self._helpers:
                self._windows.kernel32.CloseHandle(self._helpers.popitem()[1].handle)
