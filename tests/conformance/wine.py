"""Where Wine differs from what Windows documents: the tests that cannot hold there, and why.

Asked only if ntdll has ``wine_get_version``, which Windows has not. On Windows nothing of this is
left out.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

_EATS_RESETS = (
    "Wine 8: recv() after a reset returns b'', its server has eaten the error; Windows:"
    " WSAECONNRESET (recv, Winsock reference)."
)
#: The name of a test, with its parameters but the backend, or without any, or with " on " and the
#: backend -> why.
DEVIATIONS = {
    "test_a_reset_connection_is_readable": (
        "Wine 8: recv() after a reset returns b'', its server has eaten the error; Windows:"
        " WSAECONNRESET (recv, Winsock reference). Wine 10 does as well."
    ),
    "test_a_client_that_is_gone_before_accept_does_not_hide_the_next": (
        "Wine: accept() of a connection that was reset fails with WSAENOTCONN; Windows:"
        " WSAECONNRESET (accept, Winsock reference), which the rule allows."
    ),
    "test_a_reset_is_an_error on select": _EATS_RESETS,
    "test_a_reset_is_an_error_for_the_next_ones_too on select": _EATS_RESETS,
    "test_a_reset_is_told_in_turn on select": _EATS_RESETS,
    "test_a_reset_of_a_connection_in_use_is_an_error on select": _EATS_RESETS,
    "test_a_reset_reaches_both on select": _EATS_RESETS,
    "test_the_end_of_a_stream_is_a_hangup[tcp]": (
        "Wine: AFD_POLL_DISCONNECT is not told before the last byte was read"
        " (server/sock.c, sock_poll_event: it peeks); Windows tells it when the FIN arrives"
        " (AFD_POLL_DISCONNECT is EPOLLRDHUP in wepoll.c and UV_DISCONNECT in libuv)."
    ),
    "test_a_reset_that_came_before_is_an_error": (
        "Wine 8: a receive after a reset is b'', overlapped or not, its server has eaten the error;"
        " Windows: WSAECONNRESET (WSARecv, Winsock reference). Wine 10 does as well."
    ),
    "test_what_fails_comes_out_once_and_raises": (
        "Wine: WSASend and WSARecv on a socket that listens stay pending; Windows: WSAENOTCONN"
        " (WSASend, Winsock reference)."
    ),
}


def version() -> str | None:
    """Wine's version, or None where this is not Wine."""
    windll = ctypes.__dict__.get("windll")
    if windll is None or not hasattr(windll.ntdll, "wine_get_version"):
        return None
    ask: Any = windll.ntdll.wine_get_version
    ask.restype = ctypes.c_char_p
    return str(ask().decode())


def deviation(test: str, backend: str) -> str | None:
    """Why the test, ``name[backend-parameters]``, cannot hold in this Wine, or None."""
    name, _, parameters = test.partition("[")
    rest = parameters.rstrip("]").replace(backend, "", 1).strip("-")
    keys = (name, f"{name}[{rest}]", f"{name} on {backend}")
    reason = next((DEVIATIONS[key] for key in keys if key in DEVIATIONS), None)
    return reason if reason and version() else None


def until_gone(thread: threading.Thread) -> None:
    """Return when the thread of the system is gone, too, which ``join`` waits for since 3.13 only.

    Wine tells of the end of a call through the thread that made it (server/async.c,
    async_terminate), through another one if that is gone; but what a thread has not been told when
    it ends is lost (server/thread.c, cleanup_thread). On Windows the packet comes to the port.
    """
    if not version():
        return
    kernel32: Any = ctypes.__dict__["windll"].kernel32
    kernel32.OpenThread.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel32.OpenThread(0x100000, 0, thread.native_id))  # SYNCHRONIZE
    if handle:  # Else it is gone.
        kernel32.WaitForSingleObject(handle, 5000)
        kernel32.CloseHandle(handle)
