"""Whether there is anybody to lock out, and how a lock is given back."""

from __future__ import annotations

import sys
from _thread import _count
from typing import Any, Final

#: Between calls nobody comes in: CPython with its lock switches threads, and runs signal handlers,
#: after calls only; before 3.10 anywhere.
ATOMIC: Final = (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 10)
    and getattr(sys, "_is_gil_enabled", lambda: True)()
)

#: How many threads there are beside the main one, of those that Python has started.
other_threads = _count


def give_back(lock: Any) -> None:
    """Release ``lock``, which a signal handler may have kept us from acquiring."""
    try:
        lock.release()
    except RuntimeError:
        pass  # It raised while acquire() waited: that is what the caller is to see.
