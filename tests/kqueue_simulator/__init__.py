"""`select.kqueue` on Linux: a simulator over real descriptors, to run a kqueue backend there.

    import kqueue_simulator

    kqueue_simulator.install("macos")      # or "freebsd"; then select.kqueue and the others exist
    kqueue_simulator.uninstall()

    with kqueue_simulator.install("freebsd"):
        ...

It can be imported on Linux only. It models READ, WRITE, EVFILT_USER and macOS' EVFILT_EXCEPT; the
filters TIMER, SIGNAL, PROC, VNODE and the like raise NotImplementedError instead of pretending.
`numbers.py` says where the systems differ.

What Linux cannot tell it:

* The pending SO_ERROR: the errno of an event is a guess (`SocketView._error`).
* That a number was closed while a duplicate lives and then put back by dup2(duplicate, fd).
* That a wakeup by a change of state, like a FIN, is none for writing: WRITE with EV_CLEAR may
  fire once more than it has to, as it does on the BSDs with every acknowledgement.
* An own shutdown(SHUT_WR) of an AF_UNIX datagram or seqpacket socket, the backlog of an AF_UNIX
  listener (data is 1), and out-of-band data that was read while older data was not.
"""

from __future__ import annotations

import os
import select
from types import TracebackType
from typing import Any

from .numbers import EXPORTED, FLAVOURS
from .objects import flavours, kevent, kqueue, lose_queues_in_child

__all__ = ["install", "kevent", "kqueue", "uninstall"]

_MISSING = object()
_replaced: list[dict[str, Any]] = []  # what each install found, the newest last
_forks_are_watched = False


class Installed:
    """What `install` did; leaving the `with` block takes it back."""

    def __enter__(self) -> Installed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        uninstall()


def install(flavour: str = "macos") -> Installed:
    """Give `select` the names that CPython's has on that system, kqueues included.

    Queues keep the flavour that they were made under. Installations nest. KeyError for a
    flavour that is not "macos" or "freebsd".
    """
    global _forks_are_watched
    chosen = FLAVOURS[flavour]
    names: dict[str, Any] = {"kqueue": kqueue, "kevent": kevent, **EXPORTED, **chosen.exported}
    _replaced.append({name: getattr(select, name, _MISSING) for name in names})
    flavours.append(chosen)
    for name, value in names.items():
        setattr(select, name, value)
    if not _forks_are_watched:
        os.register_at_fork(after_in_child=lose_queues_in_child)
        _forks_are_watched = True
    return Installed()


def uninstall() -> None:
    """Take back the newest `install`. Queues that exist go on working."""
    for name, value in _replaced.pop().items():
        if value is _MISSING:
            delattr(select, name)
        else:
            setattr(select, name, value)
    flavours.pop()
