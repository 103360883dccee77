"""What can be asked of a completion backend, as data; the backend is who carries it out."""

from __future__ import annotations

from typing import Any


class Operation:
    """One thing that is asked of the system and told to be done later.

    Between ``submit`` and the ``wait`` that hands it out it is in flight and nobody changes it;
    then it can be submitted again.
    """

    __slots__ = ("done", "error", "fd", "native")

    def __init__(self, fd: int) -> None:
        #: The descriptor that it works on.
        self.fd = fd
        #: The system is through with it: False from ``submit`` on until ``wait`` has it.
        self.done = True
        #: Why it failed, when it is done; a cancelled one did not fail.
        self.error: OSError | None = None
        #: What the backend keeps with it, also from one ``submit`` to the next.
        self.native: Any = None


class Poll(Operation):
    """Ends when a condition holds on the descriptor, or at once if one holds already."""

    __slots__ = ("events", "found")

    def __init__(self, fd: int, events: int = 0) -> None:
        super().__init__(fd)
        #: The conditions to wait for: event bits without modifiers.
        self.events = events
        #: Those that held, when it is done, as from ``ReadinessBackend.events_of``: perhaps with
        #: FAILED, or CLOSED for a descriptor that was closed meanwhile. 0 if it was cancelled.
        self.found = 0
