"""The portable Unix backend: poll(2) through the stdlib."""

from __future__ import annotations

import errno
import select
import sys
from typing import TYPE_CHECKING

from netcore._descriptors import refuse_files
from netcore._poll_masks import IN, OUT, RDHUP, event_bits, poll_mask
from netcore._timeouts import milliseconds
from netcore._turns import Turns
from netcore.contract import (
    EVENT_HANGUP,
    EVENT_PRIORITY,
    EVENT_READ,
    EVENT_WRITE,
    ReadinessBackend,
)

assert not TYPE_CHECKING or sys.platform != "win32"


class Poll(ReadinessBackend):
    """poll(2): any number of descriptors, each of which costs in every wait."""

    name = "poll"
    supports = EVENT_READ | EVENT_WRITE | EVENT_PRIORITY | (EVENT_HANGUP if RDHUP else 0)
    needs = "a Unix: select.poll"
    dense = True
    read_mask, write_mask = IN, OUT
    events_of = staticmethod(event_bits)

    @classmethod
    def available(cls) -> bool:
        return hasattr(select, "poll")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._turns = Turns()

    def watch(self, fd: int, old: int, new: int) -> None:
        if not old:
            refuse_files(fd)
        if new:
            self._poll.register(fd, poll_mask(new))  # Replaces what was there.
        elif old:
            try:
                self._poll.unregister(fd)
            except KeyError:
                raise FileNotFoundError(errno.ENOENT, f"not watched: {fd}") from None

    def wait(self, timeout: float | None, limit: int | None = None) -> list[tuple[int, int]]:
        ready = self._poll.poll(milliseconds(timeout))
        return ready if limit is None else self._turns.take(ready, limit)

    def close(self) -> None:
        self._poll = select.poll()
