"""The Linux backend: epoll(7) through the stdlib."""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING

from netcore._poll_masks import IN, OUT, event_bits, poll_mask
from netcore._timeouts import milliseconds
from netcore.contract import ALL_EVENTS, CONDITIONS, EDGE, ONESHOT, Raw, ReadinessBackend

assert not TYPE_CHECKING or sys.platform == "linux"

EPOLLONESHOT, EPOLLET = 1 << 30, 1 << 31  # uapi/linux/eventpoll.h; the others are those of poll(2).


def kernel_mask(events: int) -> int:
    """Event bits -> EPOLL* flags."""
    return (
        poll_mask(events)
        | (EPOLLONESHOT if events & ONESHOT else 0)
        | (EPOLLET if events & EDGE else 0)
    )


MASKS = [kernel_mask(events) for events in range(ALL_EVENTS + 1)]


class Epoll(ReadinessBackend):
    """epoll(7): changes are live, the cost does not depend on idle descriptors."""

    name = "epoll"
    supports = CONDITIONS | ONESHOT | EDGE
    needs = "Linux: select.epoll"
    live = True
    tracks_files = True
    leaves_ghosts = True
    scalable = True
    dense = True
    batch = 32  # CPython allocates what is asked for, in every call.
    read_mask, write_mask = IN, OUT
    events_of = staticmethod(event_bits)

    @classmethod
    def available(cls) -> bool:
        return hasattr(select, "epoll")

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def raw(self) -> Raw | None:
        # Not for a subclass, whose methods would be passed by. CPython's poll() takes None and
        # rounds up to milliseconds; PyPy's does neither.
        if type(self) is not Epoll or sys.implementation.name != "cpython":
            return None
        epoll = self._epoll
        return Raw(MASKS.__getitem__, epoll.register, epoll.modify, epoll.unregister, epoll.poll)

    def watch(self, fd: int, old: int, new: int) -> None:
        if not new:
            if not old:
                self._epoll.register(fd, 0)
            self._epoll.unregister(fd)
        elif old:
            self._epoll.modify(fd, MASKS[new])
        else:
            try:
                self._epoll.register(fd, MASKS[new])
            except FileExistsError:  # The number came back, for the same open file.
                self._epoll.modify(fd, MASKS[new])

    def wait(self, timeout: float | None, limit: int | None = None) -> list[tuple[int, int]]:
        return self._epoll.poll(
            -1 if timeout is None else milliseconds(timeout) / 1000, limit or -1
        )

    def close(self) -> None:
        self._epoll.close()

    def fileno(self) -> int:
        return self._epoll.fileno()
