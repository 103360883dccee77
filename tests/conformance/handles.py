"""The handles of this process, by NtQuerySystemInformation: Windows only."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from typing import Any

_SYSTEM_EXTENDED_HANDLE_INFORMATION = 64  # The older class 16 has 16 bits for a process id.
_STATUS_INFO_LENGTH_MISMATCH = 0xC0000004
_OBJ_INHERIT = 0x2


class _Entry(ctypes.Structure):
    """SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX."""

    _fields_ = (
        ("Object", ctypes.c_void_p),
        ("UniqueProcessId", ctypes.c_size_t),
        ("HandleValue", ctypes.c_size_t),
        ("GrantedAccess", ctypes.c_uint32),
        ("CreatorBackTraceIndex", ctypes.c_uint16),
        ("ObjectTypeIndex", ctypes.c_uint16),
        ("HandleAttributes", ctypes.c_uint32),
        ("Reserved", ctypes.c_uint32),
    )


def handles() -> dict[int, bool]:
    """Every file (sockets are files), completion port and wait completion packet of this process,
    and whether a child inherits it.

    What Python's threads and locks hold comes and goes by itself: thread handles, and until 3.12 a
    semaphore for every lock (``Python/condvar.h``).
    """
    samples = list(_samples())
    entries = _entries()
    for handle in samples[1:]:
        _kernel32().CloseHandle(ctypes.c_void_p(handle))
    kinds = {entry.ObjectTypeIndex for entry in entries if entry.HandleValue in samples}
    return {
        entry.HandleValue: bool(entry.HandleAttributes & _OBJ_INHERIT)
        for entry in entries
        if entry.ObjectTypeIndex in kinds and entry.HandleValue not in samples[1:]
    }


_socket = socket.socket(type=socket.SOCK_DGRAM)


def _samples() -> Iterator[int]:
    """A handle of each kind; the first is not to be closed."""
    yield _socket.fileno()
    make = _kernel32().CreateIoCompletionPort
    make.restype = ctypes.c_void_p
    yield make(ctypes.c_void_p(-1), None, None, 0)
    # Windows 8.
    make = getattr(ctypes.__dict__["windll"].ntdll, "NtCreateWaitCompletionPacket", None)
    if make:
        packet = ctypes.c_void_p()
        assert not make(ctypes.byref(packet), ctypes.c_uint32(0x10000000), None)
        yield packet.value or 0


def _kernel32() -> Any:
    return ctypes.__dict__["windll"].kernel32


def _entries() -> list[Any]:
    """The handles of this process."""
    table = _table()
    count = ctypes.c_size_t.from_buffer(table).value
    entries = (_Entry * count).from_buffer(table, 2 * ctypes.sizeof(ctypes.c_size_t))
    mine = os.getpid()
    return [entry for entry in entries if entry.UniqueProcessId == mine]


def _table() -> Any:
    """SYSTEM_HANDLE_INFORMATION_EX of the whole system: a count, a reserved word, the entries."""
    windll: Any = ctypes.__dict__["windll"]
    size = 1 << 20
    while True:
        table = ctypes.create_string_buffer(size)
        status = windll.ntdll.NtQuerySystemInformation(
            _SYSTEM_EXTENDED_HANDLE_INFORMATION, table, size, None
        )
        if not status:
            return table
        if status & 0xFFFFFFFF != _STATUS_INFO_LENGTH_MISMATCH:
            raise NotImplementedError(f"no way to count handles here: NTSTATUS {status:#x}")
        size *= 2
