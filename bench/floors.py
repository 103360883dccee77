"""The raw kernel interfaces of the ``select`` module: what no selector can be faster than."""

from __future__ import annotations

import select
import selectors
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import netcore


class Floor(ABC):
    """One raw interface, with ``fds`` registered for reading."""

    #: Whether register, modify and unregister are one raw call each.
    has_changes: ClassVar[bool] = True
    #: Its masks for "readable" and "readable or writable".
    read: ClassVar[int]
    both: ClassVar[int]

    @abstractmethod
    def __init__(self, fds: list[int]) -> None: ...

    @abstractmethod
    def wait(self, timeout: float | None) -> tuple[str, dict[str, Any]]:
        """The statement of a wait, and the names in it."""

    def changes(self) -> Any:
        """What has the methods register, modify and unregister."""
        raise NotImplementedError

    def close(self) -> None:
        return None


class EpollFloor(Floor):
    read, both = getattr(select, "EPOLLIN", 0), getattr(select, "EPOLLOUT", 0)
    both |= read

    def __init__(self, fds: list[int]) -> None:
        self._epoll = select.epoll()
        for fd in fds:
            self._epoll.register(fd, self.read)
        self._room = max(len(fds), 1)

    def wait(self, timeout: float | None) -> tuple[str, dict[str, Any]]:
        duration = -1 if timeout is None else timeout  # PyPy takes no None.
        return f"epoll.poll({duration}, {self._room})", {"epoll": self._epoll}

    def changes(self) -> Any:
        return self._epoll

    def close(self) -> None:
        self._epoll.close()


class PollFloor(Floor):
    read, both = getattr(select, "POLLIN", 0), getattr(select, "POLLOUT", 0)
    both |= read

    def __init__(self, fds: list[int]) -> None:
        self._poll = select.poll()
        for fd in fds:
            self._poll.register(fd, self.read)

    def wait(self, timeout: float | None) -> tuple[str, dict[str, Any]]:
        duration = -1 if timeout is None else int(timeout * 1000)
        return f"poll.poll({duration})", {"poll": self._poll}

    def changes(self) -> Any:
        return self._poll


class SelectFloor(Floor):
    has_changes = False

    def __init__(self, fds: list[int]) -> None:
        self._fds = fds

    def wait(self, timeout: float | None) -> tuple[str, dict[str, Any]]:
        names = {"select": select, "reading": self._fds, "none": []}
        return f"select.select(reading, none, none, {timeout})", names


class KqueueFloor(Floor):
    has_changes = False  # One call, but of kevent objects that somebody has to make.

    def __init__(self, fds: list[int]) -> None:
        bsd: Any = select
        self._kqueue = bsd.kqueue()
        for fd in fds:
            change = bsd.kevent(fd, bsd.KQ_FILTER_READ, bsd.KQ_EV_ADD)
            self._kqueue.control([change], 0, 0)
        self._room = max(len(fds), 1)

    def wait(self, timeout: float | None) -> tuple[str, dict[str, Any]]:
        return f"kqueue.control(None, {self._room}, {timeout})", {"kqueue": self._kqueue}

    def close(self) -> None:
        self._kqueue.close()


#: Backend name -> its floor, and the class of the stdlib.
PEERS = {
    "epoll": (EpollFloor, "EpollSelector"),
    "kqueue": (KqueueFloor, "KqueueSelector"),
    "poll": (PollFloor, "PollSelector"),
    "select": (SelectFloor, "SelectSelector"),
}


def measurable() -> list[str]:
    """The backends that the stdlib and netcore both have here."""
    ours = netcore.available_backends()
    return [name for name, (_, peer) in PEERS.items() if name in ours and hasattr(selectors, peer)]
