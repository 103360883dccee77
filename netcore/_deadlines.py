"""When operations have taken too long."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from time import monotonic

from netcore.operations import Operation


class Deadlines:
    """The deadlines of operations, of which most are done before.

    An entry counts as long as the operation has that deadline, and nobody removes it before its
    time: a server that gives each message its time would do nothing else.
    """

    def __init__(self, owner: object) -> None:
        self._owner = owner  # Of those that are not finished.
        # When, a number to tell two apart, and what.
        self._heap: list[tuple[float, int, Operation]] = []
        self._number = 0
        self._allowed = 64

    def __len__(self) -> int:
        return len(self._heap)

    def note(self, operation: Operation) -> None:
        """Remember ``operation._deadline``."""
        assert operation._deadline is not None
        self._number += 1
        heappush(self._heap, (operation._deadline, self._number, operation))
        if len(self._heap) > self._allowed:
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapify(self._heap)
            self._allowed = 2 * len(self._heap) + 64

    def left(self) -> float | None:
        """Seconds until the next one, >= 0; None without one."""
        while self._heap and not self._counts(self._heap[0]):
            heappop(self._heap)
        return max(self._heap[0][0] - monotonic(), 0.0) if self._heap else None

    def passed(self) -> Iterator[Operation]:
        """Those whose time has come, which may be done nevertheless; each once."""
        now = monotonic()
        while self._heap and self._heap[0][0] <= now:
            entry = self._heap[0]
            if self._counts(entry):
                yield entry[2]  # Who raises now meets it again.
            heappop(self._heap)

    def clear(self) -> None:
        self._heap.clear()

    def _counts(self, entry: tuple[float, int, Operation]) -> bool:
        when, _, operation = entry
        return operation._owner is self._owner and operation._deadline == when
