"""A descriptor that becomes readable when any thread says so."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Protocol

from netcore.contract import WOKEN, ReadinessBackend


class Waker(Protocol):
    """Thread-safe and coalescing: many ``set`` before one ``drain`` are one."""

    def fileno(self) -> int: ...

    def set(self) -> None:
        """Make it readable. Never blocks; safe in a signal handler.

        Raises OSError if the channel is broken.
        """

    def drain(self) -> None:
        """Make it unreadable again. Raises OSError if the channel is broken."""

    def close(self) -> None: ...


class DescriptorWaker:
    """An eventfd where the OS has one (one descriptor, never full), else a pipe."""

    # eventfd(2) wants exactly eight bytes and adds them up; a pipe does not care.
    _ONE = (1).to_bytes(8, "little")

    _reader: int
    _writer: int
    _broken = False

    def __init__(self) -> None:
        if sys.platform == "win32":
            raise NotImplementedError("nothing but sockets can be watched on Windows")
        if sys.platform == "linux" and hasattr(os, "eventfd"):
            self._reader = self._writer = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self._reader, self._writer = os.pipe()
            os.set_blocking(self._reader, False)
            os.set_blocking(self._writer, False)

    def fileno(self) -> int:
        return self._reader

    def set(self) -> None:
        try:
            os.write(self._writer, self._ONE)
        except BlockingIOError:
            pass  # Full means readable.
        except OSError:
            self._broken = True
            raise

    def drain(self) -> None:
        try:
            if not os.read(self._reader, 4096):
                raise BrokenPipeError("the writing end of the wake-up pipe is gone")
        except BlockingIOError:
            pass  # Another thread was faster.
        except OSError:
            self._broken = True
            raise

    def close(self) -> None:
        # Somebody closed what was ours: the numbers may be somebody else's by now.
        if not self._broken:
            self._broken = True
            for fd in {self._reader, self._writer}:
                os.close(fd)


class SocketWaker:
    """A socket pair, for a backend that can watch nothing but sockets."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._number = self._reader.fileno()  # A closed socket has forgotten it.

    def fileno(self) -> int:
        return self._number

    def set(self) -> None:
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            pass  # Full means readable.

    def drain(self) -> None:
        try:
            if not self._reader.recv(4096):
                raise BrokenPipeError("the writing end of the wake-up socket is gone")
        except BlockingIOError:
            pass  # Another thread was faster.

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class NativeWaker:
    """Of a backend that wakes natively: no descriptor, nothing that could break."""

    #: The ``wake`` of the backend that the selector works with.
    set: Callable[[], None]

    def fileno(self) -> int:
        return WOKEN

    def drain(self) -> None:
        pass

    def close(self) -> None:
        pass


def new_waker(backend: type[ReadinessBackend]) -> Waker:
    """A waker for ``backend``."""
    if backend.wakes:
        return NativeWaker()
    return SocketWaker() if backend.sockets_only else DescriptorWaker()
