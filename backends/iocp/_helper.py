"""Handles to AFD, the kernel driver below Winsock, that carry polls to a port.

A helper belongs to no socket. Its packets come to the port that it is associated with, so that the
user's sockets are associated with nothing.
"""

from __future__ import annotations

from typing import Any

from netcore.backends.iocp import _abi
from netcore.backends.iocp._port import CompletionPort
from netcore.backends.iocp._winsock import Windows


class Helper:
    """A handle to the driver."""

    __slots__ = ("handle", "number", "polls")

    def __init__(self, windows: Windows, port: CompletionPort) -> None:
        #: How many it carries.
        self.polls = 0
        self.handle = _open_driver(windows)
        self.number = int(windows.ffi.cast("uintptr_t", self.handle))
        try:
            port.associate(self.handle)
            # Nobody waits for the handle itself. (Skipping packets of polls that are done at once
            # would make two ways of ending out of one.)
            if not windows.kernel32.SetFileCompletionNotificationModes(
                self.handle, _abi.FILE_SKIP_SET_EVENT_ON_HANDLE
            ):
                raise windows.last_error()
        except BaseException:
            windows.kernel32.CloseHandle(self.handle)
            raise


def _open_driver(windows: Windows) -> Any:
    ffi = windows.ffi
    encoded = _abi.AFD_DEVICE_NAME.encode("utf-16-le")
    buffer = ffi.new("WCHAR[]", len(encoded) // 2)
    ffi.memmove(buffer, encoded, len(encoded))
    name = ffi.new("UNICODE_STRING *", (len(encoded), len(encoded), buffer))
    attributes = ffi.new("OBJECT_ATTRIBUTES *")
    attributes.Length = ffi.sizeof("OBJECT_ATTRIBUTES")
    attributes.ObjectName = name
    handle, block = ffi.new("HANDLE *"), ffi.new("IO_STATUS_BLOCK *")
    # SYNCHRONIZE and nothing else: enough for polls (wepoll). No OBJ_INHERIT.
    status = windows.ntdll.NtCreateFile(
        handle,
        _abi.SYNCHRONIZE,
        attributes,
        block,
        ffi.NULL,
        0,
        _abi.FILE_SHARE_READ | _abi.FILE_SHARE_WRITE,
        _abi.FILE_OPEN,
        0,
        ffi.NULL,
        0,
    )
    if status < 0:
        raise windows.status_error(status)
    return handle[0]
