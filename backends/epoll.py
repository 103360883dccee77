"""The Linux backend: epoll(7) through the stdlib."""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING

from netcore._poll_masks import IN, OUT, event_bits, poll_mask
from netcore._timeouts import LONGEST
from netcore.contract import ALL_EVENTS, CONDITIONS, EDGE, ONESHOT, ReadinessBackend

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
    read_mask, write_mask = IN, OUT
    events_of = staticmethod(event_bits)

    @classmethod
    def available(cls) -> bool:
        return hasattr(select, "epoll")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        # Asked for at once: grows with the longest answer. CPython allocates so many per call, so
        # asking for all that are registered would cost with every idle descriptor.
        self._room = 32

    def watch(self, fd: int, old: int, new: int) -> None:
        if not new:
            if not old:
                self._epoll.register(fd, 0)
            self._epoll.unregister(fd)
        elif old:
            self._epoll.modify(fd, MASKS[new])
        else:
            self._epoll.register(fd, MASKS[new])

    def wait(self, timeout: float | None, limit: int | None = None) -> list[tuple[int, int]]:
        if timeout is None:
            timeout = -1  # PyPy does not take None.
        elif timeout:
            # CPython rounds up to whole milliseconds itself; PyPy cuts, and would spin below one.
            timeout = min(max(timeout, 0.001), LONGEST)
        if limit is not None:
            return self._epoll.poll(timeout, limit)
        ready = self._epoll.poll(timeout, self._room)
        if len(ready) < self._room:
            return ready
        return self._all_of(ready)

    def _all_of(self, ready: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """``ready`` filled the room: ask again with more until it does not.

        What is level-triggered is reported again, what is one-shot or edge-triggered is not.
        """
        merged = dict(ready)
        while len(ready) == self._room:
            self._room *= 4
            ready = self._epoll.poll(0, self._room)
            for fd, mask in ready:
                merged[fd] = merged.get(fd, 0) | mask
        return list(merged.items())

    def close(self) -> None:
        self._epoll.close()

    def fileno(self) -> int:
        return self._epoll.fileno()
