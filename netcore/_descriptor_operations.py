"""The operations that work on any descriptor: its conditions, pipes, the handles of Windows."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netcore._arguments import handle_of, open_number, pinned, positive
from netcore._operation import NOWHERE, READING, WRITING, Operation
from netcore._registry import number_of
from netcore.contract import CONDITIONS

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike, ReadableBuffer


class _OnDescriptor(Operation):
    """An operation on a descriptor: a number, or an object with ``fileno()``."""

    __slots__ = ()

    def has_lost_its_file(self) -> bool:
        return number_of(self.subject) != self.fd


class Poll(_OnDescriptor):
    """Wait until one of ``events`` holds: event bits without modifiers. The result is those that
    do; a failure counts as all of them.
    """

    __slots__ = ("events", "found")

    def __init__(
        self,
        fileobj: FileDescriptorLike,
        events: int = 0,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(fileobj, data=data, timeout=timeout)
        if isinstance(fileobj, int):
            self.fd = fileobj
        self.events = events
        #: For completion backends: what held, when it is done, as from
        #: ``ReadinessBackend.events_of``: perhaps with FAILED, or CLOSED for a descriptor that was
        #: closed meanwhile. 0 if it was cancelled.
        self.found = 0

    def _prepare(self) -> None:
        if not isinstance(self.events, int) or not self.events or self.events & ~CONDITIONS:
            raise ValueError(f"invalid events: {self.events!r}")
        self._channel = NOWHERE
        self.fd = open_number(self.subject)


class _OnPipe(_OnDescriptor):
    """An operation on a pipe or the like: a descriptor, or an object with ``fileno()``.

    On Windows a handle that was opened with FILE_FLAG_OVERLAPPED.
    """

    __slots__ = ()

    def __init__(
        self, file: FileDescriptorLike, *, data: Any = None, timeout: float | None = None
    ) -> None:
        super().__init__(file, data=data, timeout=timeout)

    def _prepare(self) -> None:
        fd = open_number(self.subject)
        if fd != self.fd or self.subject.__class__ is int:
            if sys.platform != "win32" and os.get_blocking(fd):
                raise ValueError(f"blocking, os.set_blocking(fd, False) comes first: {self!r}")
            self.fd = fd
            self._channel, self._call, self.native = NOWHERE, None, None


class Read(_OnPipe):
    """Read at most ``size`` bytes (>= 1). The result is bytes, ``b""`` at the end."""

    __slots__ = ("_size",)
    direction = READING

    def __init__(
        self,
        file: FileDescriptorLike,
        size: int,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(file, data=data, timeout=timeout)
        self._size = self._argument = positive(size)

    @property
    def size(self) -> int:
        return self._size


class Write(_OnPipe):
    """Write from ``buffer`` as much as goes at once, a byte at least. The result is how many."""

    __slots__ = ("buffer",)
    direction = WRITING

    def __init__(
        self,
        file: FileDescriptorLike,
        buffer: ReadableBuffer,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(file, data=data, timeout=timeout)
        self.buffer = buffer

    def _prepare(self) -> None:
        super()._prepare()
        self._view = self._argument = pinned(self.buffer)


# -- Windows


class _OnHandle(Operation):
    """An operation on a handle: an int, or an object with ``fileno()`` or ``handle``."""

    __slots__ = ()

    def __init__(self, handle: Any, *, data: Any = None, timeout: float | None = None) -> None:
        super().__init__(handle, data=data, timeout=timeout)

    def _prepare(self) -> None:
        self.fd = handle_of(self.subject)


class AcceptPipe(_OnHandle):
    """Wait for a client of a named pipe (Windows): ``handle`` is the server's end, made by
    CreateNamedPipe with FILE_FLAG_OVERLAPPED. The result is the handle.
    """

    __slots__ = ()


class ConnectPipe(Operation):
    """Open the named pipe ``address`` (``r"\\\\.\\pipe\\name"``, Windows) as a client, overlapped,
    and wait while it is busy. The result is its handle, the caller's to close.
    """

    __slots__ = ("address",)

    def __init__(self, address: str, *, data: Any = None, timeout: float | None = None) -> None:
        super().__init__(data=data, timeout=timeout)
        self.address = address


class WaitHandle(_OnHandle):
    """Wait until ``handle`` is signaled: of a process, an event, a timer (Windows). The result is
    True. An auto-reset event is reset by that.
    """

    __slots__ = ()


class Overlapped(_OnHandle):
    """Any call of Windows that takes an OVERLAPPED, on ``handle``.

    ``start`` is called with the address of an OVERLAPPED, an int, when it is submitted, and starts
    the call; it returns 0 if that went well or is pending, else the error of Windows, as of
    GetLastError. The result is the number of bytes transferred. What else the call writes to has to
    be kept by ``start``, until it is done.

    ``handle`` may be an event, which is waited for then: for calls whose own handle must not be
    associated with a port, as NotifyAddrChange.
    """

    __slots__ = ("start",)

    def __init__(
        self,
        handle: Any,
        start: Callable[[int], int],
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(handle, data=data, timeout=timeout)
        self.start = start
