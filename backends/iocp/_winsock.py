"""Opens the DLLs of Windows when the first port is made: the only file that does.

Parsing the declarations takes some tens of milliseconds, once per process; importing this file
imports nothing but them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any

from netcore.backends.iocp._declarations import CDEF
from netcore.backends.iocp._errors import error

# What one poll needs, and any other operation, in one piece: the kernel writes to it until the
# packet is dequeued.
_OWN = """
typedef struct {
    OVERLAPPED overlapped;
    AFD_POLL_INFO info;
} NETCORE_POLL;
typedef struct {
    OVERLAPPED overlapped;
    WSABUF buffer;
    DWORD flags;
    int length;                 /* of the address */
    SOCKADDR_STORAGE address;
} NETCORE_FLIGHT;
"""


@dataclass(frozen=True)
class Windows:
    """The parsed declarations and the open libraries."""

    ffi: Any
    kernel32: Any
    ntdll: Any
    ws2_32: Any

    def last_error(self) -> OSError:
        """The error of the call that failed just now, as an exception."""
        return error(*self.ffi.getwinerror())

    def status_error(self, status: int) -> OSError:
        """An NTSTATUS as an exception."""
        return error(*self.ffi.getwinerror(self.ntdll.RtlNtStatusToDosError(status)))


def available() -> bool:
    """Whether ``windows`` could work; opens nothing."""
    return sys.platform == "win32" and find_spec("cffi") is not None


# cffi looks a function or a type up when it is first used, in milliseconds: not in a wait.
_FUNCTIONS = {
    "kernel32": (
        *("CancelIoEx", "CloseHandle", "CreateIoCompletionPort", "GetLastError"),
        *("GetQueuedCompletionStatusEx", "PostQueuedCompletionStatus"),
        "SetFileCompletionNotificationModes",
    ),
    "ntdll": (
        *("NtCancelIoFileEx", "NtCreateFile", "NtDeviceIoControlFile", "RtlNtStatusToDosError"),
    ),
    "ws2_32": (*("WSAIoctl", "WSARecv", "WSARecvFrom", "WSASend", "WSASendTo", "getsockopt"),),
}
_TYPES = (
    *("AFD_POLL_INFO", "DWORD *", "HANDLE", "HANDLE *", "IO_STATUS_BLOCK *", "NETCORE_POLL *"),
    *("BOOL *", "LPFN_ACCEPTEX", "LPFN_CONNECTEX", "LPFN_TRANSMITFILE", "NETCORE_FLIGHT *"),
    *("OBJECT_ATTRIBUTES *", "SOCKET *", "ULONG *", "ULONG_PTR *", "UNICODE_STRING *", "WCHAR[]"),
    *("int *", "uintptr_t", "char[]", "void **"),
)
_lock = Lock()
_opened: list[Windows] = []


def windows() -> Windows:
    """The same object for everybody: types of two parsings do not go together."""
    with _lock:
        if not _opened:
            ffi: Any = import_module("cffi").FFI()
            ffi.cdef(CDEF + _OWN)
            libraries = {name: ffi.dlopen(name) for name in _FUNCTIONS}
            for name, functions in _FUNCTIONS.items():
                for function in functions:
                    getattr(libraries[name], function)
            for ctype in _TYPES:
                ffi.typeof(ctype)
            _opened.append(Windows(ffi, **libraries))
        return _opened[0]
