"""Waiting for handles: events, processes, timers.

A wait completion packet (Windows 8) has the kernel post to the port when the handle is signaled.
Where there is none (Wine 8) a thread waits, one for each handle: in WaitForMultipleObjects one bad
handle would fail for all.
"""

from __future__ import annotations

from threading import Thread
from typing import Any, Union

from netcore.backends.iocp import _abi
from netcore.backends.iocp._abi import ERROR_OPERATION_ABORTED, INFINITE
from netcore.backends.iocp._attachment import OPERATION
from netcore.backends.iocp._flight import Flight, Way
from netcore.backends.iocp._flights import Flights


class PacketWaits:
    """By wait completion packets.

    What is in the memory of the flight is left alone, here and in ThreadWaits.
    """

    def __init__(self, flights: Flights) -> None:
        self._flights = flights
        self._windows = flights.windows
        self._packets: dict[Flight, Any] = {}

    def start(self, flight: Flight) -> None:
        """Have the packet of ``flight`` come when its handle is signaled. Raises OSError."""
        windows = self._windows
        ffi, ntdll = windows.ffi, windows.ntdll
        made = ffi.new("HANDLE *")
        status = ntdll.NtCreateWaitCompletionPacket(made, _abi.GENERIC_ALL, ffi.NULL)
        if status < 0:
            raise windows.status_error(status)
        self._packets[flight] = made[0]
        target = ffi.cast("HANDLE", flight.fd)
        port, key = self._flights.port.handle, ffi.cast("void *", OPERATION)
        status = ntdll.NtAssociateWaitCompletionPacket(
            made[0], port, target, key, flight.pointer, 0, 0, ffi.NULL
        )
        if status < 0:
            self.done_with(flight)
            raise windows.status_error(status)

    def cancel(self, flight: Flight) -> None:
        packet = self._packets.get(flight)
        # STATUS_PENDING: it is on its way.
        if packet is not None and not self._windows.ntdll.NtCancelWaitCompletionPacket(packet, 0):
            self._flights.end(flight, ERROR_OPERATION_ABORTED)

    def done_with(self, flight: Flight) -> None:
        packet = self._packets.pop(flight, None)
        if packet is not None:
            self._windows.kernel32.CloseHandle(packet)


class ThreadWaits:
    """By threads, each of which ends when its handle is signaled or the wait is cancelled."""

    def __init__(self, flights: Flights) -> None:
        self._flights = flights
        self._windows = flights.windows
        self._stops: dict[Flight, Any] = {}

    def start(self, flight: Flight) -> None:
        """Have the packet of ``flight`` come when its handle is signaled. Raises OSError."""
        windows = self._windows
        ffi, kernel32 = windows.ffi, windows.kernel32
        target = ffi.cast("HANDLE", flight.fd)
        now = kernel32.WaitForSingleObject(target, 0)
        if now == _abi.WAIT_FAILED:
            raise windows.last_error()
        if now != _abi.WAIT_TIMEOUT:
            self._flights.port.post(OPERATION, flight.pointer)
            return
        stop = kernel32.CreateEventW(ffi.NULL, 1, 0, ffi.NULL)
        if not stop:
            raise windows.last_error()
        self._stops[flight] = stop
        Thread(target=self._wait, args=(flight, target, stop), daemon=True).start()

    def _wait(self, flight: Flight, target: Any, stop: Any) -> None:
        windows = self._windows
        both = windows.ffi.new("HANDLE[]", [target, stop])
        # The first one that is signaled: a result goes before a cancel.
        number = windows.kernel32.WaitForMultipleObjects(2, both, 0, INFINITE)
        code = 0
        if number == _abi.WAIT_OBJECT_0 + 1:
            code = ERROR_OPERATION_ABORTED
        elif number == _abi.WAIT_FAILED:
            code = windows.ffi.getwinerror()[0]
        with self._flights.lock:
            del self._stops[flight]
            windows.kernel32.CloseHandle(stop)
            if flight.operation is None:
                pass  # It was given up when the port was closed.
            elif code:
                self._flights.end(flight, code)
            else:
                self._flights.port.post(OPERATION, flight.pointer)

    def cancel(self, flight: Flight) -> None:
        stop = self._stops.get(flight)
        if stop is not None:
            self._windows.kernel32.SetEvent(stop)

    def done_with(self, flight: Flight) -> None:
        pass  # The thread has given everything back.


Waits = Union[PacketWaits, ThreadWaits]


def best_waits(flights: Flights) -> Waits:
    """The better of the two that there is."""
    if hasattr(flights.windows.ntdll, "NtCreateWaitCompletionPacket"):
        return PacketWaits(flights)
    return ThreadWaits(flights)


class WaitHandle(Way):
    reusable = False

    def __init__(self, flights: Flights, waits: Waits) -> None:
        super().__init__(flights)
        self._waits = waits

    def start(self, flight: Flight) -> int:
        flight.overlapped.Internal = _abi.STATUS_SUCCESS
        self._waits.start(flight)
        return 0

    def finish(self, flight: Flight, count: int) -> Any:
        return True

    def cancel(self, flight: Flight) -> None:
        self._waits.cancel(flight)

    def leave(self, flight: Flight) -> None:
        self._waits.done_with(flight)
