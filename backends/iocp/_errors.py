"""The errors of Windows as those of the stdlib: the POSIX errno, and Windows' own in ``winerror``.

Winsock's numbers (10000 and above) are the errno of the same meaning on Windows; those of the
kernel, which a packet tells, have to be translated (Python makes 22 of them).
"""

from __future__ import annotations

import errno
from typing import Any, Final

from netcore.backends.iocp import _abi

#: The handle was closed, or the operation cancelled; the last three are Wine's words for it.
ENDED: Final = frozenset(
    (
        *(_abi.ERROR_OPERATION_ABORTED, _abi.ERROR_HANDLES_CLOSED, _abi.ERROR_INVALID_HANDLE),
        _abi.WSAENOTSOCK,
    )
)
_MEANS: Final = {
    _abi.ERROR_NETNAME_DELETED: errno.ECONNRESET,
    _abi.ERROR_CONNECTION_ABORTED: errno.ECONNABORTED,
    _abi.ERROR_OPERATION_ABORTED: errno.ECONNABORTED,
    _abi.ERROR_HANDLES_CLOSED: errno.ECONNABORTED,
    _abi.ERROR_CONNECTION_REFUSED: errno.ECONNREFUSED,
    _abi.ERROR_PORT_UNREACHABLE: errno.ECONNREFUSED,
    _abi.ERROR_SEM_TIMEOUT: errno.ETIMEDOUT,
    _abi.ERROR_NETWORK_UNREACHABLE: errno.ENETUNREACH,
    _abi.ERROR_HOST_UNREACHABLE: errno.EHOSTUNREACH,
    _abi.ERROR_BROKEN_PIPE: errno.EPIPE,
    _abi.ERROR_NO_DATA: errno.EPIPE,
    _abi.ERROR_PIPE_NOT_CONNECTED: errno.EPIPE,
    _abi.WSAENOTSOCK: errno.EBADF,
}


def error(code: int, message: str) -> OSError:
    """An OSError of the class and the errno that ``code`` means."""
    number = _MEANS.get(code)
    if number is None:
        return OSError(code, message, None, code)
    found: Any = OSError(number, message)
    found.winerror = code
    return found  # type: ignore[no-any-return]


def winerror(error: OSError) -> int:
    """The number of Windows; 0 if there is none."""
    return getattr(error, "winerror", None) or 0
