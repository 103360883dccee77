"""The channels of a driver, and what the kernel is told of them."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from netcore._channels import Channel
from netcore._operation import NOWHERE, Nowhere
from netcore.contract import EDGE, EVENT_HANGUP, EVENT_PRIORITY, ReadinessBackend

_EARLY_ENDS = EVENT_HANGUP | EVENT_PRIORITY
_PLAIN = (socket.AF_INET, socket.AF_INET6)


class Channels:
    """Channels by descriptor, and those of which the kernel may have to be told before it is asked.

    ``interest_of(fd)`` says what the user has registered ``fd`` for.
    """

    def __init__(self, native: ReadinessBackend, interest_of: Callable[[int], int]) -> None:
        self.by_fd: dict[int, Channel] = {}
        #: The same for the hot path, with NOWHERE where there is none; a list, which is faster and
        #: may be too short, where descriptors are small numbers.
        self.table: Any = [] if native.dense else defaultdict(_nowhere)
        #: True: it is to be told in any case, to say once more what holds.
        self.dirty: dict[Channel, bool] = {}
        self.interest_of = interest_of
        self.work_on(native)

    def work_on(self, native: ReadinessBackend) -> None:
        """From now on ``native`` is told, which knows of the user's interests."""
        self.native = native
        # Data and the end of a stream, or urgent data, may come with one edge. Both end a read
        # early: where the kernel does not tell of them, a short read says nothing.
        self.edge = EDGE | (native.supports & _EARLY_ENDS) if native.supports & EDGE else 0
        for channel in self.by_fd.values():
            channel.told = self.interest_of(channel.fd)
            self.dirty[channel] = True

    def make(self, owner: Any, fd: int, file: Any) -> Channel:
        """A channel for ``file``, in the place of none."""
        theirs = self.interest_of(fd)
        # Nor does it on a Unix socket, where a read stops at a message that carries descriptors.
        plain = self.edge & _EARLY_ENDS == _EARLY_ENDS and _family(file) in _PLAIN
        eager = bool(self.edge) and not plain
        if self.native.dense and fd >= len(self.table):
            self.table.extend([NOWHERE] * (2 * fd + 64 - len(self.table)))
        channel = Channel(owner, fd, file, theirs, eager)
        if theirs & EDGE:
            channel.readable = True  # Perhaps: the edge may have been told already.
        # Nothing is called in between: a signal handler might raise.
        self.by_fd[fd] = channel
        self.table[fd] = channel
        return channel

    def tell(self, channel: Channel, afresh: bool) -> None:
        """Tell the kernel what is waited for. Raises OSError and ValueError as it does."""
        wanted, told = channel.wanted(self.edge), channel.told
        if wanted != told or afresh:
            try:
                self.native.watch(channel.fd, told, wanted)
            except FileNotFoundError:  # The kernel has forgotten it, with its file.
                self.native.watch(channel.fd, 0, wanted)
            channel.told = wanted

    def forget(self, channel: Channel) -> None:
        """Drop ``channel``, and leave the kernel with what the user has registered."""
        channel.clear()  # First: an exception may come in between.
        if self.by_fd.get(channel.fd) is not channel:
            return  # A signal handler has dropped it, just before.
        self.by_fd.pop(channel.fd, None)
        self.table[channel.fd] = NOWHERE
        self.dirty.pop(channel, None)
        try:
            if channel.told:
                self.native.watch(channel.fd, channel.told, 0)
            if channel.theirs:
                self.native.watch(channel.fd, 0, channel.theirs)
        except (OSError, ValueError):
            pass  # The kernel has forgotten it, with its file.

    def clear(self) -> None:
        for channel in self.by_fd.values():
            channel.clear()
            self.table[channel.fd] = NOWHERE
        self.by_fd.clear()
        self.dirty.clear()


def _nowhere() -> Nowhere:
    return NOWHERE


def _family(file: Any) -> Any:
    return getattr(file, "family", None)
