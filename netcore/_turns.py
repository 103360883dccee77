"""Fair shares of an answer that is longer than asked for."""

from __future__ import annotations


class Turns:
    """Rotates through the descriptors: poll(2) and select(2) always begin with the lowest."""

    def __init__(self) -> None:
        self._last = -1  # The descriptor that was served last.

    def take(self, ready: list[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
        """At most ``limit`` of ``ready``, beginning after the one served last."""
        if len(ready) <= limit:
            return ready
        ready.sort()
        last = self._last
        start = next((i for i, (fd, _) in enumerate(ready) if fd > last), 0)
        taken = (ready[start:] + ready[:start])[:limit]
        self._last = taken[-1][0]
        return taken
