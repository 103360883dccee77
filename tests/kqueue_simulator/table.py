"""The knotes of one queue, and how a change of the changelist acts on them."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from typing import Callable

from . import linux
from .edges import IN, OUT, Edges
from .files import FileView, Wish, view_of
from .knote import Entry, Knote
from .numbers import (
    EV_ADD,
    EV_DELETE,
    EV_DISABLE,
    EV_ENABLE,
    EVFILT_READ,
    EVFILT_WRITE,
    NOTE_LOWAT,
    NOTE_TRIGGER,
    Flavour,
)


class Table:
    """All knotes, those that may have something to deliver, and those that have to be asked."""

    def __init__(
        self, flavour: Flavour, edges: Edges, number: int, is_queue: Callable[[int], bool]
    ) -> None:
        self.flavour = flavour
        self.number = number
        self._edges = edges
        self._is_queue = is_queue
        self.knotes: dict[tuple[int, int], Knote] = {}
        self.active: OrderedDict[tuple[int, int], Knote] = OrderedDict()
        self.rechecked: dict[tuple[int, int], Knote] = {}

    def register(self, change: Entry) -> int:
        """Apply one change; its errno, or 0."""
        filter = change.filter
        if not -self.flavour.filter_count <= filter < 0:
            return errno.EINVAL
        if filter in self.flavour.refused_filters:
            return self.flavour.refused_filters[filter]
        of_fd = filter in (EVFILT_READ, EVFILT_WRITE, self.flavour.except_filter)
        if not of_fd and filter != self.flavour.user_filter:
            raise NotImplementedError(f"the kqueue simulator has no filter {filter}")
        if of_fd and self.flavour.looks_up_fd_first and not _is_open(change.ident):
            return errno.EBADF
        knote = self.find((change.ident, filter))
        if knote is None:
            # "delete overrules" EV_ADD (XNU kevent_register).
            adds = change.flags & (EV_ADD | EV_DELETE) == EV_ADD
            return self._attach(change, of_fd) if adds else errno.ENOENT
        if change.flags & EV_DELETE:
            self.drop(knote)
        else:
            self._touch(knote, change)
        return 0

    def find(self, key: tuple[int, int]) -> Knote | None:
        knote = self.knotes.get(key)
        if knote is not None and not self.is_same_file(knote):
            self.drop(knote)
            return None
        return knote

    def is_same_file(self, knote: Knote) -> bool:
        """close(2) of a number ends its knotes, whoever else has the file open."""
        fd = knote.key[0]
        if knote.view is None:
            return True
        if knote.identity is None:
            return self._edges.still_there(fd, knote.side)
        return _identity(fd) == knote.identity

    def _attach(self, change: Entry, of_fd: bool) -> int:
        knote = Knote(change, self.flavour)
        if of_fd:
            try:
                refusal = self._open_view(knote)
            except OSError as error:
                refusal = error.errno or errno.EBADF
            if refusal:
                return refusal
        else:
            knote.triggered = bool(change.fflags & NOTE_TRIGGER)
        self.knotes[knote.key] = knote
        self._look_again(knote)
        return 0

    def _open_view(self, knote: Knote) -> int:
        """Give a knote of a descriptor its view; OSError or an errno when it is refused."""
        fd, filter = knote.key
        if not _is_open(fd):
            return errno.EBADF
        for key in (*self.keys(fd, IN), *self.keys(fd, OUT)):
            self.find(key)  # what a closed file left must not take the new one for its own
        if self._is_queue(fd) and (filter != EVFILT_READ or fd == self.number):
            return errno.EINVAL
        knote.view = view_of(fd, self.flavour)
        refusal = knote.view.refusal(filter, knote.wish)
        if not refusal and not self._edges.add(fd, knote.side):
            knote.view = FileView(fd, self.flavour)
            knote.identity = _identity(fd)
        return refusal

    def _touch(self, knote: Knote, change: Entry) -> None:
        knote.udata = change.udata
        if knote.view is None:
            knote.touch_user(change, self.flavour)
        else:
            knote.wish = Wish(change.fflags, change.data)
        if change.flags & EV_DISABLE:
            knote.disabled = True
            self.active.pop(knote.key, None)
        elif change.flags & EV_ENABLE:
            knote.disabled = False
        self._look_again(knote)

    def _look_again(self, knote: Knote) -> None:
        """Every change asks the filter anew, so EV_ADD makes an EV_CLEAR knote fire again."""
        # Linux wakes nobody when the free space passes a mark that only we know of.
        own_mark = knote.side == OUT and knote.wish.fflags & NOTE_LOWAT
        if knote.view is not None and (knote.identity or own_mark):
            self.rechecked[knote.key] = knote
        else:
            self.rechecked.pop(knote.key, None)
        if not knote.disabled:
            knote.fired = knote.look()
            if knote.fired is not None:
                self.activate(knote)

    def drop(self, knote: Knote) -> None:
        for table in (self.knotes, self.active, self.rechecked):
            table.pop(knote.key, None)
        if knote.view is None or knote.identity is not None:
            return
        fd = knote.key[0]
        if not any(key in self.knotes for key in self.keys(fd, knote.side)):
            self._edges.remove(fd, knote.side)

    def keys(self, fd: int, side: int) -> list[tuple[int, int]]:
        """Of the filters that an edge on this side is for."""
        if side == OUT:
            return [(fd, EVFILT_WRITE)]
        other = self.flavour.except_filter
        return [(fd, EVFILT_READ)] + ([] if other is None else [(fd, other)])

    def activate(self, knote: Knote) -> None:
        if not knote.disabled:
            self.active.setdefault(knote.key, knote)


def _is_open(fd: int) -> bool:
    return 0 <= fd <= 0x7FFFFFFF and not linux.poll(fd, 0) & linux.POLLNVAL


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None  # closed
    return (status.st_dev, status.st_ino)
