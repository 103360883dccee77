"""Any call of Windows that takes an OVERLAPPED.

The handle is that of the file, which is associated with the port; or an event, for calls that have
no file, or one that must not be associated (NotifyAddrChange): it is in the OVERLAPPED, the call
sets it, and it is waited for.
"""

from __future__ import annotations

import errno
from typing import Any

from netcore.backends.iocp import _abi
from netcore.backends.iocp._abi import ERROR_INVALID_HANDLE, ERROR_IO_PENDING, STATUS_PENDING
from netcore.backends.iocp._attachment import Attachments
from netcore.backends.iocp._errors import winerror
from netcore.backends.iocp._flight import Flight
from netcore.backends.iocp._flights import Flights, _leaked
from netcore.backends.iocp._pipes import OnHandle
from netcore.backends.iocp._waits import Waits


class Overlapped(OnHandle):
    """The user's function makes the call."""

    def __init__(self, flights: Flights, attachments: Attachments, waits: Waits) -> None:
        super().__init__(flights, attachments)
        self._waits = waits

    def takes(self, operation: Any) -> bool:
        try:
            return super().takes(operation)
        except OSError as error:
            if winerror(error) != ERROR_INVALID_HANDLE:
                raise
            # No file. What else there is can be waited for, or is no handle.
            handle = self.windows.ffi.cast("HANDLE", operation.fd)
            if self.kernel32.WaitForSingleObject(handle, 0) == _abi.WAIT_FAILED:
                raise
            return True

    def board(self, flight: Flight, operation: Any) -> None:
        if self._attachments.add_handle(flight.fd):
            flight.extra = flight.overlapped.hEvent = self.handle(flight)

    def start(self, flight: Flight) -> int:
        try:
            code: int = flight.operation.start(flight.address)
        except OSError:
            raise
        except Exception as error:  # Of the user's function.
            raise OSError(errno.EINVAL, f"it could not be started: {error!r}") from error
        if code not in (0, ERROR_IO_PENDING, _abi.ERROR_MORE_DATA):
            return code
        if flight.extra is not None:
            self._waits.start(flight)
        return 0  # A part of a message: that is a warning, with a packet.

    def finish(self, flight: Flight, count: int) -> Any:
        return count

    def cancel(self, flight: Flight) -> None:
        if flight.extra is None:
            super().cancel(flight)
        else:
            self._waits.cancel(flight)

    def leave(self, flight: Flight) -> None:
        if flight.extra is not None:
            self._waits.done_with(flight)
            if flight.code and flight.overlapped.Internal == STATUS_PENDING:
                _leaked.append({flight.address: flight})  # The call cannot be cancelled.
