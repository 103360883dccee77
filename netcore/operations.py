"""What can be asked of a selector to be done, as data; ``Selector.submit`` is who starts it.

Between ``submit`` and the ``wait`` that hands it out an operation, and the buffer in it, belong to
netcore. Then it can be submitted again: a server needs no new object per message.

Sockets must be non-blocking. Addresses are those of the socket module, with the host as a number:
names are not looked up, because that blocks.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, Final

from netcore._registry import fileno_of
from netcore.contract import CONDITIONS

if TYPE_CHECKING:
    from typing import Union

    from _typeshed import FileDescriptorLike, ReadableBuffer, WriteableBuffer

    Address = Union[tuple[Any, ...], str, bytes]

READING: Final = 0
WRITING: Final = 1
#: Waits for conditions, in no queue.
NEITHER: Final = 2

#: What ``_direct`` is for a Recv, a RecvInto, and a Send or SendAll on a stream.
RECEIVES: Final = 1
RECEIVES_INTO: Final = 2
SENDS: Final = 3


class Nowhere:
    """The channel of an operation that has none yet."""

    __slots__ = ()
    recv = last_recv = last_send = None
    owner = False


NOWHERE: Final = Nowhere()


class Batch:
    """What has operations that are finished, and come out of ``wait`` together; then it is over."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False


NEVER: Final = Batch()


class OperationCancelled(OSError):
    """The operation was cancelled before it was done; errno is ECANCELED.

    ``bytes_sent`` says how much of the buffer of a sending operation was sent nevertheless.
    """

    bytes_sent: int = 0

    def __init__(self, message: str = "the operation was cancelled") -> None:
        super().__init__(errno.ECANCELED, message)

    def __reduce__(self) -> Any:
        return type(self), (self.strerror,)


class Operation:
    """One thing that is asked of the system, and told to be done later.

    ``data`` is the user's. ``timeout`` is in seconds from ``submit`` on, None for none: then it
    ends with TimeoutError, unless it is done already.
    """

    __slots__ = (
        *("_argument", "_call", "_channel", "_deadline", "_direct", "_left", "_owner"),
        *("_timeout", "_view", "data", "error", "fd", "in_flight", "native", "subject", "value"),
    )
    #: In which queue of its descriptor it waits for its turn.
    direction: ClassVar[int] = NEITHER

    #: It works on a ``socket.socket``.
    on_socket: ClassVar[bool] = False

    def __init__(
        self, subject: Any = None, *, data: Any = None, timeout: float | None = None
    ) -> None:
        #: What it works on: a socket, another object with ``fileno()``, or a number.
        self.subject = subject
        self.data = data
        self._timeout = timeout
        #: The descriptor that it works on, when it was submitted; -1 for none.
        self.fd = -1
        #: Why it failed, when it is done.
        self.error: BaseException | None = None
        #: What came of it, when it is done.
        self.value: Any = None
        #: A completion backend has it.
        self.in_flight = False
        #: What a completion backend keeps with it, also from one ``submit`` to the next.
        self.native: Any = None
        # Who has it: NEVER submitted, the driver, and then the Batch in which it comes out.
        self._owner: Any = NEVER
        # What the owner keeps of its descriptor.
        self._channel: Any = NOWHERE
        # How it is attempted: _call(_argument) if it is a single system call on a stream, of which
        # _direct says which one; else _call(self).
        self._call: Callable[[Any], Any] | None = None
        self._argument: Any = None
        self._direct = 0
        # Bytes that were asked for, or that must be sent before it is done.
        self._left = 0
        self._view: memoryview | None = None  # Keeps the buffer where it is.
        self._deadline: float | None = None

    @property
    def timeout(self) -> float | None:
        """Seconds from ``submit`` on, or None."""
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: float | None) -> None:
        self._timeout = timeout
        if self._owner.over:
            self._channel = NOWHERE  # No hot path for those.

    @property
    def done(self) -> bool:
        """Whether it has come out of ``wait``."""
        return bool(self._owner.over)

    def result(self) -> Any:
        """What came of it. Raises what it failed with: OSError, TimeoutError, OperationCancelled.

        Raises RuntimeError if it is not done.
        """
        if not self._owner.over:
            raise RuntimeError(f"not done: {self!r}")
        if self.error is not None:
            raise self.error
        return self.value

    def _prepare(self) -> None:
        """Look at the arguments, and pin the buffer. Raises for what cannot be submitted."""

    def _forget(self) -> None:
        """Failed to be submitted, or came out: nothing of it is held any more."""
        if self._view is not None:
            self._argument = None
            self._view.release()
            self._view = None

    def __repr__(self) -> str:
        state = "new" if self._owner is NEVER else "done" if self._owner.over else "submitted"
        if self.done and self.error is not None:
            state = f"failed with {self.error!r}"
        on = "" if self.subject is None else f" on {self.subject!r}"
        return f"<netcore.{type(self).__name__}{on}, {state}>"


class Post(Operation):
    """Done at once: ``data`` comes out of ``wait``, and is the result."""

    __slots__ = ()

    def _prepare(self) -> None:
        self.value = self.data


# -- sockets


class _OnSocket(Operation):
    """An operation on a non-blocking ``socket.socket``."""

    __slots__ = ()
    on_socket = True

    def __init__(
        self, sock: socket.socket, *, data: Any = None, timeout: float | None = None
    ) -> None:
        super().__init__(sock, data=data, timeout=timeout)
        if sock.__class__ is not socket.socket:
            if not isinstance(sock, socket.socket):
                raise TypeError(f"not a socket.socket: {sock!r}")
            if hasattr(sock, "_sslobj"):
                raise TypeError(f"TLS has to be done with an ssl.MemoryBIO, not by {sock!r}")

    @property
    def sock(self) -> socket.socket:
        """The socket that it works on."""
        sock: socket.socket = self.subject
        return sock

    def _prepare(self) -> None:
        fd = self.subject.fileno()
        if fd != self.fd or fd < 0 or self.subject.gettimeout() != 0:
            self._bind(fd)

    def _bind(self, fd: int) -> None:
        """Look at the socket, which is another than the last time."""
        if fd < 0:
            raise OSError(errno.EBADF, f"{os.strerror(errno.EBADF)}: {self.sock!r}")
        if self.sock.gettimeout() != 0:
            raise ValueError(f"a blocking socket, setblocking(False) comes first: {self.sock!r}")
        self.fd = fd
        self._channel, self._call, self.native = NOWHERE, None, None


class Recv(_OnSocket):
    """Receive at most ``size`` bytes (>= 1). The result is bytes, ``b""`` at the end of a stream.

    Of a datagram that is longer ``truncated`` tells.
    """

    __slots__ = ("_size", "truncated")
    direction = READING

    def __init__(
        self, sock: socket.socket, size: int, *, data: Any = None, timeout: float | None = None
    ) -> None:
        super().__init__(sock, data=data, timeout=timeout)
        self._size = self._argument = self._left = _positive(size)
        self.truncated = False

    @property
    def size(self) -> int:
        return self._size

    # As it is inherited, once more for a hot path: CPython specializes it for one class each.
    def result(self) -> Any:
        if self.error is not None or not self._owner.over:
            return super().result()
        return self.value


class RecvFrom(Recv):
    """Receive a datagram. The result is (bytes, address)."""

    __slots__ = ()


class RecvInto(_OnSocket):
    """Receive into ``buffer``, writable and not empty. The result is the number of bytes."""

    __slots__ = ("buffer", "truncated")
    direction = READING

    def __init__(
        self,
        sock: socket.socket,
        buffer: WriteableBuffer,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(sock, data=data, timeout=timeout)
        self.buffer = buffer
        self.truncated = False

    def _prepare(self) -> None:
        super()._prepare()
        self._view = self._argument = pinned(self.buffer, writable=True)
        self._left = len(self._argument)


class RecvFromInto(RecvInto):
    """Receive a datagram into ``buffer``. The result is (number of bytes, address)."""

    __slots__ = ()


class _Sending(_OnSocket):
    """An operation that sends ``buffer``, which may be exchanged when it is done."""

    __slots__ = ("_sent", "buffer")
    direction = WRITING
    _all: ClassVar[bool] = True

    def __init__(
        self,
        sock: socket.socket,
        buffer: ReadableBuffer,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(sock, data=data, timeout=timeout)
        self.buffer = buffer
        self._sent = 0

    @property
    def bytes_sent(self) -> int:
        """What was sent so far, also when it fails or is cancelled."""
        sent: int = self.value if self._owner.over and self.error is None else self._sent
        return sent

    def _prepare(self) -> None:
        fd = self.subject.fileno()
        if fd != self.fd or fd < 0 or self.subject.gettimeout() != 0:
            self._bind(fd)
        buffer = self.buffer
        if buffer.__class__ is bytes:
            self._argument = buffer
        else:
            self._view = self._argument = pinned(buffer)
        self._sent = 0


class Send(_Sending):
    """Send from ``buffer`` as much as goes at once, one byte at least. The result is how many."""

    __slots__ = ()
    _all = False


class SendAll(_Sending):
    """Send all of ``buffer``. The result is its length.

    An error has ``bytes_sent``, so has the operation.
    """

    __slots__ = ()

    def _prepare(self) -> None:
        super()._prepare()
        self._left = len(self._argument)

    # As Recv.result.
    def result(self) -> Any:
        if self.error is not None or not self._owner.over:
            return super().result()
        return self.value


class SendTo(_Sending):
    """Send a datagram to ``address``. The result is the number of bytes."""

    __slots__ = ("address",)

    def __init__(
        self,
        sock: socket.socket,
        buffer: ReadableBuffer,
        address: Address,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(sock, buffer, data=data, timeout=timeout)
        self.address = address

    def _prepare(self) -> None:
        check_address(self.sock, self.address)
        super()._prepare()


class Accept(_OnSocket):
    """Accept a connection. The result is (socket, address); the socket is non-blocking and not
    inherited by other programs. A connection that failed before it was accepted is passed over.
    """

    __slots__ = ()
    direction = READING


class Connect(_OnSocket):
    """Connect to ``address``. The result is None."""

    __slots__ = ("address", "started")
    direction = WRITING

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(sock, data=data, timeout=timeout)
        self.address = address
        self.started = False

    def _prepare(self) -> None:
        check_address(self.sock, self.address)
        super()._prepare()
        self.started = False


class SendFile(_OnSocket):
    """Send ``count`` bytes of ``file`` from ``offset`` on, or all up to its end for None.

    ``file`` is a regular file opened for reading in binary. The result is the number of bytes,
    which is less than ``count`` if the file ends before. Its position is neither used nor kept.
    ``bytes_sent`` tells as it does with SendAll.
    """

    __slots__ = ("_sent", "count", "file", "offset")
    direction = WRITING

    def __init__(
        self,
        sock: socket.socket,
        file: Any,
        offset: int = 0,
        count: int | None = None,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(sock, data=data, timeout=timeout)
        self.file, self.offset, self.count = file, offset, count
        self._sent = 0

    @property
    def bytes_sent(self) -> int:
        """What was sent so far, also when it fails or is cancelled."""
        return self._sent

    def _prepare(self) -> None:
        if index(self.offset) < 0 or (self.count is not None and index(self.count) < 0):
            raise ValueError(f"offset and count must not be negative: {self!r}")
        if self.sock.type & 0xF != socket.SOCK_STREAM:
            raise ValueError(f"a file can be sent on a stream only: {self.sock!r}")
        if not stat.S_ISREG(os.fstat(self.file.fileno()).st_mode):
            raise ValueError(f"not a regular file: {self.file!r}")
        super()._prepare()
        self._sent = 0


# -- any descriptor


class Poll(Operation):
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
        self.fd = fileno_of(self.subject)


class _OnPipe(Operation):
    """An operation on a pipe or the like: a descriptor, or an object with ``fileno()``.

    On Windows a handle that was opened with FILE_FLAG_OVERLAPPED.
    """

    __slots__ = ()

    def __init__(
        self, file: FileDescriptorLike, *, data: Any = None, timeout: float | None = None
    ) -> None:
        super().__init__(file, data=data, timeout=timeout)

    def _prepare(self) -> None:
        fd = fileno_of(self.subject)
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
        self._size = self._argument = _positive(size)

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


class AcceptPipe(Operation):
    """Wait for a client of a named pipe (Windows): ``handle`` is the server's end, made by
    CreateNamedPipe with FILE_FLAG_OVERLAPPED. The result is the handle.
    """

    __slots__ = ()

    def __init__(self, handle: Any, *, data: Any = None, timeout: float | None = None) -> None:
        super().__init__(handle, data=data, timeout=timeout)

    def _prepare(self) -> None:
        self.fd = handle_of(self.subject)


class ConnectPipe(Operation):
    """Open the named pipe ``address`` (``r"\\\\.\\pipe\\name"``, Windows) as a client, overlapped,
    and wait while it is busy. The result is its handle, the caller's to close.
    """

    __slots__ = ("address",)

    def __init__(self, address: str, *, data: Any = None, timeout: float | None = None) -> None:
        super().__init__(data=data, timeout=timeout)
        self.address = address


class WaitHandle(Operation):
    """Wait until ``handle`` is signaled: of a process, an event, a timer (Windows). The result is
    True. An auto-reset event is reset by that.
    """

    __slots__ = ()

    def __init__(self, handle: Any, *, data: Any = None, timeout: float | None = None) -> None:
        super().__init__(handle, data=data, timeout=timeout)

    def _prepare(self) -> None:
        self.fd = handle_of(self.subject)


class Overlapped(Operation):
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

    def _prepare(self) -> None:
        self.fd = handle_of(self.subject)


# -- arguments


def _positive(size: int) -> int:
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size must be at least 1, not {size!r}")
    return size


def pinned(buffer: Any, writable: bool = False) -> memoryview:
    """A view of the bytes of ``buffer``, which cannot be resized while it lives.

    Raises ValueError for one that is not contiguous, or not writable and not empty as asked.
    """
    view = memoryview(buffer)
    wrong = "not contiguous" if not view.c_contiguous else ""
    if writable and not wrong:
        wrong = "read-only" if view.readonly else "" if view.nbytes else "empty"
    if wrong:
        view.release()  # The traceback holds it.
        raise ValueError(f"a buffer that is {wrong}: {buffer!r}")
    return view.cast("B") if view.nbytes and (view.format != "B" or view.ndim != 1) else view


def check_address(sock: socket.socket, address: Any) -> None:
    """Raise ValueError for an address with a host that is not a number."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        try:
            host, *numbers = address
            if host != "" and host != "<broadcast>":
                # A scope: "fe80::1%eth0".
                socket.inet_pton(sock.family, host.partition("%")[0])
            most = 1 if sock.family == socket.AF_INET else 3
            if address.__class__ is not tuple or not 1 <= len(numbers) <= most:
                raise TypeError
            if not 0 <= index(numbers[0]) <= 0xFFFF or not all(n >= 0 for n in numbers):
                raise TypeError
        except (OSError, TypeError, ValueError, AttributeError):
            raise ValueError(
                f"not an address of a {sock.family.name} socket with a host in numbers"
                f" (names are not looked up here): {address!r}"
            ) from None


def handle_of(handle: Any) -> int:
    """The number of a Windows handle: an int, or an object with ``fileno()`` or ``handle``.

    Raises ValueError where there is none.
    """
    number = getattr(handle, "handle", None)
    return fileno_of(handle if number is None else number)
