"""What Winsock says of a number: whether it is a socket, and which one AFD knows it by."""

from __future__ import annotations

from netcore.backends.iocp import _abi
from netcore.backends.iocp._abi import WSAENOTSOCK
from netcore.backends.iocp._errors import error
from netcore.backends.iocp._winsock import Windows


def base_socket(windows: Windows, fd: int) -> int:
    """The socket below all layered providers, which is the one that AFD knows; mostly ``fd``.

    Raises OSError (WSAENOTSOCK) for what is no open socket, unless Winsock does not say so (Wine
    8): then the poll does.
    """
    last = fd
    while True:
        found = _ask(windows, last, _abi.SIO_BASE_HANDLE)
        if found is not None:
            return found
        # A provider that hides it (Komodia's, trio#1280) may tell of the next layer.
        below = _ask(windows, last, _abi.SIO_BSP_HANDLE_POLL)
        if below is None or below == last:
            return last
        last = below


def _ask(windows: Windows, fd: int, question: int) -> int | None:
    ffi = windows.ffi
    answer, size = ffi.new("SOCKET *"), ffi.new("DWORD *")
    null, length = ffi.NULL, ffi.sizeof("SOCKET")
    if not windows.ws2_32.WSAIoctl(fd, question, null, 0, answer, length, size, null, null):
        return int(answer[0])
    if ffi.getwinerror()[0] == WSAENOTSOCK:
        raise not_a_socket()
    return None


def check_socket(windows: Windows, fd: int) -> None:
    """Raise OSError (WSAENOTSOCK) for what is no open socket."""
    ffi = windows.ffi
    kind, size = ffi.new("int *"), ffi.new("int *", ffi.sizeof("int"))
    if windows.ws2_32.getsockopt(fd, _abi.SOL_SOCKET, _abi.SO_TYPE, kind, size):
        code, message = ffi.getwinerror()
        raise not_a_socket() if code == WSAENOTSOCK else error(code, message)


def not_a_socket() -> OSError:
    return error(WSAENOTSOCK, "not an open socket, and only those can be watched on Windows")
