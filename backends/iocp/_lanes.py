"""The order in which operations come out: on each socket or handle, and in each direction, that of
their submission.

The kernel keeps it for what it carries out. What could not be started, or has failed, may be known
before what was submitted earlier is done: it waits here until it is the first of its lane.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from netcore.backends.iocp._flight import Flight


class Lanes:
    """Who is in flight, and who is held behind others. Under the lock of the flights."""

    def __init__(self) -> None:
        self._lanes: defaultdict[Any, dict[Flight, None]] = defaultdict(dict)
        #: In no particular order.
        self.held: list[Flight] = []

    def enter(self, flight: Flight) -> None:
        self._forgive(flight)  # An exception may have come in between, the last time.
        flight.lane = flight.attachment or flight.fd, flight.operation.direction
        self._lanes[flight.lane][flight] = None

    def leave(self, flight: Flight) -> None:
        lane = self._lanes[flight.lane]
        lane.pop(flight, None)  # As above.
        if not lane:
            del self._lanes[flight.lane]
        self._forgive(flight)

    def _forgive(self, flight: Flight) -> None:
        if flight in self.held:
            self.held.remove(flight)

    def hold(self, flight: Flight, reason: Exception | None = None) -> bool:
        """Whether ``flight``, which is done or has failed, has to wait for others: it is held."""
        if self._is_first(flight):
            return False
        flight.reason = reason
        self.held.append(flight)
        return True

    def next_due(self) -> Flight | None:
        """One of ``held`` who waits for nobody any more."""
        return next(filter(self._is_first, self.held), None)

    def _is_first(self, flight: Flight) -> bool:
        return next(iter(self._lanes.get(flight.lane, ())), flight) is flight

    def clear(self) -> None:
        self._lanes.clear()
        self.held.clear()
