"""Sets of descriptors of which a chosen number is ready: UDP sockets, ready by one datagram."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_SPARE = 500  # For the interpreter, the selectors, and whoever runs us.


def most_descriptors(wanted: int) -> int:
    """Raise the soft limit as far as it goes; how many of ``wanted`` can be open then."""
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + _SPARE
    if hard != resource.RLIM_INFINITY:
        need = min(need, hard)
    if soft != resource.RLIM_INFINITY and soft < need:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
        except (ValueError, OSError):  # macOS: less than the hard limit says.
            need = soft
    return min(wanted, need - _SPARE)


@contextmanager
def opened(ready: int, registered: int) -> Iterator[list[socket.socket]]:
    """``registered`` sockets, of which ``ready`` are readable, evenly spread."""
    sockets: list[socket.socket] = []
    try:
        for _ in range(registered):
            sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        for number in range(ready):
            sock = sockets[number * registered // ready]
            sock.bind(("127.0.0.1", 0))
            sock.sendto(b"x", sock.getsockname())
        yield sockets
    finally:
        for sock in sockets:
            sock.close()
