"""Where Wine differs from what Windows documents: the tests that cannot hold there, and why.

Asked only if ntdll has ``wine_get_version``, which Windows has not. On Windows nothing of this is
left out.
"""

from __future__ import annotations

import ctypes
from typing import Any

#: The name of a test, with its parameters but the backend or without any -> why.
DEVIATIONS = {
    "test_a_reset_connection_is_readable": (
        "Wine 8: recv() after a reset returns b'', its server has eaten the error; Windows:"
        " WSAECONNRESET (recv, Winsock reference). Wine 10 does as well."
    ),
    "test_a_client_that_is_gone_before_accept_does_not_hide_the_next": (
        "Wine: accept() of a connection that was reset fails with WSAENOTCONN; Windows:"
        " WSAECONNRESET (accept, Winsock reference), which the rule allows."
    ),
    "test_the_end_of_a_stream_is_a_hangup[tcp]": (
        "Wine: AFD_POLL_DISCONNECT is not told before the last byte was read"
        " (server/sock.c, sock_poll_event: it peeks); Windows tells it when the FIN arrives"
        " (AFD_POLL_DISCONNECT is EPOLLRDHUP in wepoll.c and UV_DISCONNECT in libuv)."
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
    reason = DEVIATIONS.get(name) or DEVIATIONS.get(f"{name}[{rest}]")
    return reason if reason and version() else None
