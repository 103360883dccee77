"""The flags of poll(2), which are those of epoll(7) too, and the event bits they stand for."""

from __future__ import annotations

import select
import sys
from typing import Final

from netcore.contract import (
    CLOSED,
    EVENT_HANGUP,
    EVENT_PRIORITY,
    EVENT_READ,
    EVENT_WRITE,
    FAILED,
)

# The defaults are Linux's, for where the stdlib has no poll.
IN: Final = getattr(select, "POLLIN", 0x1)
PRI: Final = getattr(select, "POLLPRI", 0x2)
OUT: Final = getattr(select, "POLLOUT", 0x4)
ERR: Final = getattr(select, "POLLERR", 0x8)
HUP: Final = getattr(select, "POLLHUP", 0x10)
NVAL: Final = getattr(select, "POLLNVAL", 0x20)
# "Stream socket peer closed connection": Linux 2.6.17 (poll(2)); PyPy lacks the name.
RDHUP: Final = 0x2000 if sys.platform == "linux" else 0


def poll_mask(events: int) -> int:
    """Event bits -> POLL* flags."""
    return (
        (IN if events & EVENT_READ else 0)
        | (OUT if events & EVENT_WRITE else 0)
        | (PRI if events & EVENT_PRIORITY else 0)
        | (RDHUP if events & EVENT_HANGUP else 0)
    )


def event_bits(mask: int) -> int:
    """POLL* flags -> event bits. ERR and HUP end both directions."""
    return (
        (EVENT_READ if mask & (IN | ERR | HUP) else 0)
        | (EVENT_WRITE if mask & (OUT | ERR | HUP) else 0)
        | (EVENT_PRIORITY if mask & PRI else 0)
        | (EVENT_HANGUP if mask & (RDHUP | ERR | HUP) else 0)
        | (FAILED if mask & (ERR | HUP) else 0)
        | (CLOSED if mask & NVAL else 0)
    )
