"""What an operation in flight is made of: the memory that the kernel uses, and its way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from netcore.backends.iocp._address import packed
from netcore.operations import Operation

if TYPE_CHECKING:
    from netcore.backends.iocp._flights import Flights

#: What a ``Way`` answers for an operation that is not done, but has to be started once more.
AGAIN: Final = object()


class Flight:
    """An operation, and what the kernel needs of it. It serves again if the way says so."""

    __slots__ = (
        *("address", "attachment", "buffer", "cancelled", "code", "extra", "fd", "flags"),
        *("flights", "lane", "memory", "operation", "overlapped", "pointer", "reason", "view"),
        *("way", "wsabuf"),
    )

    def __init__(self, flights: Flights, way: Way, operation: Operation) -> None:
        ffi = flights.windows.ffi
        # The kernel's from the call to the packet.
        self.memory = ffi.new("NETCORE_FLIGHT *")
        self.address = int(ffi.cast("uintptr_t", self.memory))
        # Views of it: making them costs as much as a call.
        self.overlapped = self.memory.overlapped
        self.pointer = ffi.addressof(self.memory, "overlapped")
        self.wsabuf = ffi.addressof(self.memory, "buffer")
        self.flags = ffi.addressof(self.memory, "flags")
        #: Whose it is.
        self.flights = flights
        self.way = way
        self.fd = operation.fd
        #: The socket that it is about, if it is about one.
        self.attachment: Any = None
        #: What comes out in the order of submission: the socket, or the handle, and the direction.
        self.lane: Any = None
        #: While it is in flight.
        self.operation: Any = None
        #: When it was cancelled first, as of time.monotonic(); 0 if it was not.
        self.cancelled = 0.0
        #: Why it ends without the kernel: an error of Windows, or an exception.
        self.code = 0
        self.reason: Exception | None = None
        #: Where the kernel reads or writes the bytes; what else the way keeps.
        self.buffer: Any = None
        self.view: memoryview | None = None
        self.extra: Any = None


class Way(ABC):
    """How operations of one kind are carried out."""

    #: A flight of it serves again when its operation is submitted again.
    reusable = True

    def __init__(self, flights: Flights) -> None:
        self.flights = flights
        self.windows = flights.windows
        self.last_error = flights.windows.kernel32.GetLastError

    def takes(self, operation: Any) -> bool:
        """Whether it can carry out ``operation``."""
        return True

    def board(self, flight: Flight, operation: Any) -> None:  # noqa: B027  # There may be nothing.
        """Put in what the kernel needs. Raises OSError for what cannot be started."""

    @abstractmethod
    def start(self, flight: Flight) -> int:
        """Make the call; 0 if a packet will come, or the error of Windows. May raise OSError."""

    @abstractmethod
    def finish(self, flight: Flight, count: int) -> Any:
        """It is done, ``count`` bytes were transferred: the result, or AGAIN. May raise OSError."""

    def failed(self, flight: Flight, code: int, count: int) -> Any:
        """It has failed with ``code``: raises the reason, or is as ``finish``."""
        raise self.reason(flight, code)

    def reason(self, flight: Flight, code: int) -> OSError:
        """Why it has failed, as an exception."""
        return self.flights.reason(flight, code)

    def cancel(self, flight: Flight) -> None:
        """Have the packet come soon."""
        if is_open(flight):  # Else it is on its way, and the number may be another's.
            handle = self.windows.ffi.cast("HANDLE", flight.fd)
            # ERROR_NOT_FOUND: it was faster.
            self.windows.kernel32.CancelIoEx(handle, flight.pointer)

    def leave(self, flight: Flight) -> None:  # noqa: B027  # There may be nothing.
        """Give back what ``board`` took; the kernel has nothing of it any more."""

    # -- for ``board`` and ``leave`` of several

    def put_address(self, flight: Flight, operation: Any) -> None:
        """Put in the address of ``operation``. Raises OSError for what is none."""
        address = packed(operation.sock.family, operation.address)
        ffi = self.windows.ffi
        ffi.memmove(ffi.addressof(flight.memory, "address"), address, len(address))
        flight.memory.length = len(address)

    def release(self, flight: Flight) -> None:
        """The buffer is the user's again."""
        if flight.buffer is not None:
            self.windows.ffi.release(flight.buffer)
            flight.buffer = None


def is_open(flight: Flight) -> bool:
    """Whether the socket or the file still has the number that it had at the start; what is only a
    number cannot tell.
    """
    file = flight.operation.subject
    if not hasattr(file, "fileno"):
        return True
    try:
        return bool(file.fileno() == flight.fd)
    except (OSError, ValueError):  # A closed file.
        return False
