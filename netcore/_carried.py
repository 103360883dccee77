"""The part of the emulation that leaves operations to a completion backend below, if it is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netcore._drivers import ReadinessOverCompletion
from netcore._hot_paths import HotPaths
from netcore.contract import ReadinessBackend
from netcore.operations import NOWHERE, Operation, OperationCancelled

#: What an operation ends with.
Reason = Callable[[Operation], OSError]


def cancelled(operation: Operation) -> OSError:
    """By the user."""
    return OperationCancelled()


class Carried(HotPaths):
    """Has operations carried out by the backend below, and takes what has come of them."""

    def __init__(self, native: ReadinessBackend, interest_of: Callable[[int], int]) -> None:
        super().__init__(native, interest_of)
        # What the backend below has; and why it was cancelled there first, if it was.
        self._flying: dict[Operation, Reason | None] = {}

    def _carry_by(self, native: ReadinessBackend) -> None:
        self._below = native if isinstance(native, ReadinessOverCompletion) else None
        self._carrier: Any = self._below.carrier if self._below else None

    def _fly(self, operation: Operation) -> bool:
        """Give ``operation`` to the completion backend below, if it carries it out itself."""
        channel = self._channels.by_fd.get(operation.fd)
        if channel is not None and not channel.is_closed():
            if channel.is_before(operation):
                return False  # First come, first served.
            if channel.is_polled_for(operation.direction) and not self._is_behind(operation):
                return False  # So that the poll hears of it, too.
        if not self._carrier.takes(operation):
            return False
        operation._channel = NOWHERE
        self._flying[operation] = None
        try:
            self._carrier.submit(operation)
        except BaseException:
            if not operation.in_flight:
                del self._flying[operation]
            raise
        return True

    def _is_behind(self, operation: Operation) -> bool:
        """Whether the backend below has another one of the same descriptor and direction."""
        mine = operation.fd, operation.direction
        return any((other.fd, other.direction) == mine for other in self._flying)

    def _call_back(self, operation: Operation, reason: Reason = cancelled) -> bool:
        """Have the backend below cancel ``operation``; False if it is not there."""
        if operation not in self._flying:
            return False
        self._flying[operation] = self._flying[operation] or reason
        self._carrier.cancel(operation)
        return True

    def _fetch(self) -> None:
        """Take what the backend below has done."""
        assert self._below is not None
        others, self._below.others = self._below.others, []
        for operation in others:
            if operation in self._flying:
                self._land(operation)

    def _land(self, operation: Operation) -> None:
        """``operation`` is done below."""
        reason, error = self._flying[operation], operation.error
        if reason is not None and isinstance(error, OperationCancelled):
            error = reason(operation)
        self._end(operation, error)
        del self._flying[operation]  # After that: see _repair.
