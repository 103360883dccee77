"""The functions of Winsock that are asked of a socket's provider: AcceptEx and its like."""

from __future__ import annotations

import socket
from typing import Any

from netcore.backends.iocp import _abi
from netcore.backends.iocp._winsock import Windows


class Extensions:
    """Finds them once per kind of socket. Raises OSError where there is no such function."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._found: dict[tuple[str, int, int, int], Any] = {}

    def accept_ex(self, sock: socket.socket) -> Any:
        return self._find(sock, "LPFN_ACCEPTEX", _abi.WSAID_ACCEPTEX)

    def connect_ex(self, sock: socket.socket) -> Any:
        return self._find(sock, "LPFN_CONNECTEX", _abi.WSAID_CONNECTEX)

    def transmit_file(self, sock: socket.socket) -> Any:
        return self._find(sock, "LPFN_TRANSMITFILE", _abi.WSAID_TRANSMITFILE)

    def _find(self, sock: socket.socket, ctype: str, guid: bytes) -> Any:
        # Other protocols may have other providers.
        key = ctype, sock.family, sock.type, sock.proto
        if key not in self._found:
            self._found[key] = self._ask(sock, ctype, guid)
        return self._found[key]

    def _ask(self, sock: socket.socket, ctype: str, guid: bytes) -> Any:
        ffi, null = self._windows.ffi, self._windows.ffi.NULL
        question, answer, size = ffi.from_buffer(guid), ffi.new("void **"), ffi.new("DWORD *")
        if self._windows.ws2_32.WSAIoctl(
            sock.fileno(),
            _abi.SIO_GET_EXTENSION_FUNCTION_POINTER,
            question,
            len(guid),
            answer,
            ffi.sizeof("void *"),
            size,
            null,
            null,
        ):
            raise self._windows.last_error()
        return ffi.cast(ctype, answer[0])
