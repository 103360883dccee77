"""Checks of what an operation is given, made before it is submitted."""

from __future__ import annotations

import errno
import socket
import sys
from operator import index
from typing import Any

from netcore._registry import fileno_of


def check_socket(sock: Any) -> None:
    """Raise TypeError for what is no ``socket.socket``, or does TLS."""
    if not isinstance(sock, socket.socket):
        raise TypeError(f"not a socket.socket: {sock!r}")
    if hasattr(sock, "_sslobj"):
        raise TypeError(f"TLS has to be done with an ssl.MemoryBIO, not by {sock!r}")


def positive(size: int) -> int:
    """``size``, which is an int, and at least 1; else ValueError."""
    if not isinstance(size, int) or not 1 <= size <= sys.maxsize:
        raise ValueError(f"size must be from 1 to {sys.maxsize}, not {size!r}")
    return size


def pinned(buffer: Any, writable: bool = False) -> memoryview:
    """A view of the bytes of ``buffer``, which cannot be resized while it lives.

    Raises ValueError for one that is not contiguous, or not writable and not empty as asked.
    """
    view = memoryview(buffer)
    wrong = "not contiguous" if not view.c_contiguous else ""
    if writable and not wrong:
        wrong = "read-only" if view.readonly else "" if view.nbytes else "empty"
    if wrong:
        view.release()  # The traceback holds it.
        raise ValueError(f"a buffer that is {wrong}: {buffer!r}")
    return view.cast("B") if view.nbytes and (view.format != "B" or view.ndim != 1) else view


def check_address(sock: socket.socket, address: Any) -> None:
    """Raise ValueError for an address with a host that is not a number."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        try:
            host, *numbers = address
            if host != "" and host != "<broadcast>":
                # A scope: "fe80::1%eth0".
                socket.inet_pton(sock.family, host.partition("%")[0])
            most = 1 if sock.family == socket.AF_INET else 3
            if address.__class__ is not tuple or not 1 <= len(numbers) <= most:
                raise TypeError
            if not 0 <= index(numbers[0]) <= 0xFFFF or not all(n >= 0 for n in numbers):
                raise TypeError
        except (OSError, TypeError, ValueError, AttributeError):
            raise ValueError(
                f"not an address of a {sock.family.name} socket with a host in numbers"
                f" (names are not looked up here): {address!r}"
            ) from None


def open_number(fileobj: Any) -> int:
    """As ``fileno_of``, but OSError for a socket or a file that was closed."""
    try:
        return fileno_of(fileobj)
    except ValueError:
        if isinstance(fileobj, socket.socket) or getattr(fileobj, "closed", False) is True:
            raise OSError(errno.EBADF, f"closed: {fileobj!r}") from None
        raise


def handle_of(handle: Any) -> int:
    """The number of a Windows handle: an int, or an object with ``fileno()`` or ``handle``.

    Raises ValueError where there is none.
    """
    number = getattr(handle, "handle", None)
    return fileno_of(handle if number is None else number)
