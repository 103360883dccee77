"""A knote: one filter on one ident, with what a change asked of it."""

from __future__ import annotations

from dataclasses import dataclass

from .edges import IN, OUT
from .files import Seen, View, Wish
from .numbers import (
    EV_CLEAR,
    EV_DISABLE,
    EVFILT_READ,
    EVFILT_WRITE,
    NOTE_FFAND,
    NOTE_FFCOPY,
    NOTE_FFCTRLMASK,
    NOTE_FFLAGSMASK,
    NOTE_FFOR,
    NOTE_TRIGGER,
    Flavour,
)


@dataclass(frozen=True)
class Entry:
    """`struct kevent`."""

    ident: int
    filter: int
    flags: int
    fflags: int
    data: int
    udata: int


class Knote:
    """One (ident, filter) of a queue."""

    def __init__(self, change: Entry, flavour: Flavour) -> None:
        self.key = (change.ident, change.filter)
        # Fixed by the first EV_ADD; a later one changes neither EV_CLEAR nor EV_ONESHOT.
        self.flags = change.flags & ~flavour.hidden_flags
        self.udata = change.udata
        self.wish = Wish(change.fflags, change.data)
        self.disabled = bool(change.flags & EV_DISABLE)
        self.fflags = 0  # sticky between events, unless EV_CLEAR
        self.fired: Seen | None = None  # as it was when it was last activated by a change
        self.view: View | None = None  # None: EVFILT_USER
        self.identity: tuple[int, int] | None = None  # (device, inode) of what cannot wake
        self.triggered = False

    @property
    def side(self) -> int:
        return OUT if self.key[1] == EVFILT_WRITE else IN

    def look(self) -> Seen | None:
        """What the filter sees now; None while its condition does not hold."""
        if self.view is None:
            return Seen(self.wish.data, self.wish.fflags) if self.triggered else None
        try:
            if self.key[1] == EVFILT_READ:
                return self.view.read(self.wish)
            if self.key[1] == EVFILT_WRITE:
                return self.view.write(self.wish)
            return self.view.exceptional(self.wish)
        except OSError:  # another thread has closed the descriptor meanwhile
            return None

    def touch_user(self, change: Entry, flavour: Flavour) -> None:
        """Both kernels' filt_usertouch."""
        control, given = change.fflags & NOTE_FFCTRLMASK, change.fflags & NOTE_FFLAGSMASK
        kept = self.wish.fflags
        combined = {NOTE_FFAND: kept & given, NOTE_FFOR: kept | given, NOTE_FFCOPY: given}
        self.wish = Wish(combined.get(control, kept), change.data)
        self.triggered |= bool(change.fflags & NOTE_TRIGGER)
        if change.flags & EV_CLEAR and flavour.clear_resets_trigger:
            self.triggered = False
