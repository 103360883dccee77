"""Lets Ctrl-C end a wait on a port.

Python's handler for it runs in a thread of Windows' own and sets a flag; nothing wakes the main
thread. But it also sets an event, of which CPython tells by a private function since 3.3. A wait
completion packet (Windows 8) has the kernel post to the port when that event is set: no thread, no
socket, and ``signal.set_wakeup_fd`` stays the user's. Where one of the two is missing (PyPy, Wine),
the main thread waits in slices.
"""

from __future__ import annotations

from threading import get_ident, main_thread
from typing import Any, Final

from netcore.backends.iocp._abi import GENERIC_ALL
from netcore.backends.iocp._port import CompletionPort
from netcore.backends.iocp._winsock import Windows

#: The key of the packet.
CTRL_C: Final = 1
#: Milliseconds after which the main thread looks whether there is a signal.
SLICE: Final = 100


def sigint_event() -> int | None:
    """The event that is set on Ctrl-C, or None if this Python does not tell."""
    import ctypes  # Not while netcore is being imported.

    try:
        function = ctypes.pythonapi._PyOS_SigintEvent
    except AttributeError:
        return None
    function.restype = ctypes.c_void_p
    return function()  # type: ignore[no-any-return]


class CtrlC:
    """The wait completion packet of a port."""

    def __init__(self, windows: Windows, port: CompletionPort) -> None:
        self._windows, self._port = windows, port
        self._packet: Any = None
        self._armed = False
        event = sigint_event()
        self._event = None if event is None else windows.ffi.cast("HANDLE", event)
        self._can = event is not None and hasattr(windows.ntdll, "NtCreateWaitCompletionPacket")

    def limit(self, milliseconds: int | None) -> int | None:
        """How long the port may be waited on at once, so that Ctrl-C is noticed soon."""
        if milliseconds == 0 or get_ident() != main_thread().ident:
            return milliseconds
        if self._armed or (self._can and self._arm()):
            return milliseconds
        return SLICE if milliseconds is None else min(milliseconds, SLICE)

    def _arm(self) -> bool:
        ffi, ntdll = self._windows.ffi, self._windows.ntdll
        if self._packet is None:
            packet = ffi.new("HANDLE *")
            if ntdll.NtCreateWaitCompletionPacket(packet, GENERIC_ALL, ffi.NULL) < 0:
                self._can = False
                return False
            self._packet = packet[0]
        # It stays set until somebody resets it; time.sleep() does the same. A Ctrl-C from before
        # has left its flag, which Python looks at before we wait.
        self._windows.kernel32.ResetEvent(self._event)
        self._armed = True
        status = ntdll.NtAssociateWaitCompletionPacket(
            self._packet,
            self._port.handle,
            self._event,
            ffi.cast("void *", CTRL_C),
            ffi.NULL,
            0,
            0,
            ffi.NULL,
        )
        if status < 0:
            self._armed = self._can = False
        return self._armed

    def came(self) -> None:
        """The packet was dequeued: the next wait arms it again."""
        self._armed = False

    def close(self) -> None:
        """Before the port is closed."""
        if self._packet is not None:
            self._windows.ntdll.NtCancelWaitCompletionPacket(self._packet, 1)
            self._windows.kernel32.CloseHandle(self._packet)
            self._packet = None
