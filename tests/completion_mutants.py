"""Completion with one fault each, and the rule that names it; applied by ``mutants``.

The faults are in what a user sees: a thin layer over ``submit``, ``wait`` and the rest. Those of
``inner_mutants.py`` are below that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import netcore
from netcore import Operation, OperationCancelled, Recv, RecvFrom, RecvInto, Selector
from netcore._operation import NEVER, Batch

Done = list[Operation]


def _changing(change: Callable[[Selector, Done], Done]) -> None:
    """Have ``change`` look at what comes out."""
    original = Selector.wait

    def wait(self: Selector, *args: Any, **kwargs: Any) -> Any:
        ready, done = original(self, *args, **kwargs)
        return ready, change(self, done)

    Selector.wait = wait  # type: ignore[method-assign]


def _touching(touch: Callable[[Operation], object]) -> None:
    """Have ``touch`` look at each operation that comes out."""

    def change(_: Selector, done: Done) -> Done:
        for op in done:
            touch(op)
        return done

    _changing(change)


def _noting(note: Callable[[Operation], object]) -> None:
    """Have ``note`` look at what is submitted."""
    original = Selector.submit

    def submit(self: Selector, operation: Any) -> Any:
        original(self, operation)
        note(operation)
        return operation

    Selector.submit = submit  # type: ignore[method-assign]


def dropping_what_was_cancelled() -> None:
    """Who cancels knows already."""
    _changing(lambda _, done: [op for op in done if not isinstance(op.error, OperationCancelled)])


def handing_out_twice() -> None:
    """Once more, to be sure."""
    last: dict[Selector, Done] = {}

    def change(selector: Selector, done: Done) -> Done:
        before, last[selector] = last.get(selector, []), done
        return before + done

    _changing(change)


def finishing_inside_submit() -> None:
    """What can be done at once is."""
    handed_out = Batch()
    handed_out.over = True

    def note(operation: Operation) -> None:
        operation._owner = handed_out

    _noting(note)


def taking_it_twice() -> None:
    """Who submits something again will know why."""
    original = Selector.submit

    def submit(self: Selector, operation: Any) -> Any:
        operation._owner = NEVER
        return original(self, operation)

    Selector.submit = submit  # type: ignore[method-assign]


def timing_out_what_is_done() -> None:
    """It came out late."""
    submitted: dict[int, float] = {}
    _noting(lambda operation: submitted.update({id(operation): time.monotonic()}))

    def touch(op: Operation) -> None:
        late = time.monotonic() - submitted[id(op)] > (op.timeout or 1000)
        if late and op.error is None:
            op.error = TimeoutError()

    _touching(touch)


def timing_out_early() -> None:
    """A deadline is about right."""
    original = Selector.submit

    def submit(self: Selector, operation: Any) -> Any:
        timeout = operation.timeout
        operation.timeout = timeout and timeout * 0.9
        try:
            return original(self, operation)
        finally:
            operation.timeout = timeout

    Selector.submit = submit  # type: ignore[method-assign]


def cancelling_what_is_done() -> None:
    """Nobody wanted it any more."""
    asked: set[int] = set()
    original = Selector.cancel

    def cancel(self: Selector, operation: Operation) -> bool:
        asked.add(id(operation))
        return original(self, operation)

    def touch(op: Operation) -> None:
        if id(op) in asked:
            asked.discard(id(op))
            op.error = op.error or OperationCancelled()

    Selector.cancel = cancel  # type: ignore[method-assign]
    _touching(touch)


def hiding_truncation() -> None:
    """A part is a datagram as well."""

    def touch(op: Operation) -> None:
        if isinstance(op, (Recv, RecvInto)):
            op.truncated = False

    _touching(touch)


def ending_at_a_reset() -> None:
    """The stream is over, one way or another."""

    def touch(op: Operation) -> None:
        if isinstance(op, Recv) and isinstance(op.error, ConnectionResetError):
            op.error, op.value = None, (b"", None) if isinstance(op, RecvFrom) else b""

    _touching(touch)


def accepting_blocking_sockets() -> None:
    """As accept() of the socket module makes them."""

    def touch(op: Operation) -> None:
        if isinstance(op, netcore.Accept) and op.error is None:
            op.value[0].setblocking(True)

    _touching(touch)


def forgetting_what_was_sent() -> None:
    """A send that was cancelled has not happened."""

    def touch(op: Operation) -> None:
        if isinstance(op, netcore.SendAll) and op.error is not None:
            op._sent = op.error.bytes_sent = 0  # type: ignore[attr-defined]

    _touching(touch)


def losing_what_select_has_found() -> None:
    """Who calls select() wants to know of readiness only."""
    original = Selector.select

    def select(self: Selector, timeout: Any = None, max_events: Any = None) -> Any:
        rows = original(self, timeout, max_events)
        if self._driver and not isinstance(timeout, Inner):
            self._driver.hand_out(None)
        return rows

    class Inner(float):
        """The timeout of a select() that wait() calls."""

    def wait(self: Selector, timeout: Any = None, max_events: Any = None) -> Any:
        return original_wait(self, Inner(1e9 if timeout is None else timeout), max_events)

    original_wait = Selector.wait
    Selector.select, Selector.wait = select, wait  # type: ignore[method-assign]


def waking_nobody() -> None:
    """What another thread submits has time until the next wait."""
    original = Selector.submit

    def submit(self: Selector, operation: Any) -> Any:
        waiting, self._waiting = self._waiting, False
        try:
            return original(self, operation)
        finally:
            self._waiting = waiting

    Selector.submit = submit  # type: ignore[method-assign]


#: Every mutant and the test that is to fail: the rule that names the fault.
COMPLETION_MUTANTS: dict[Callable[[], None], str] = {
    dropping_what_was_cancelled: "test_a_cancelled_receive_takes_nothing",
    handing_out_twice: "test_what_is_submitted_comes_out_once",
    finishing_inside_submit: "test_nothing_finishes_inside_submit",
    taking_it_twice: "test_what_is_submitted_already_is_refused",
    timing_out_what_is_done: "test_a_result_that_beat_the_timeout_is_delivered",
    timing_out_early: "test_what_takes_too_long_ends_with_timeout_error",
    cancelling_what_is_done: "test_a_result_that_beat_the_cancel_is_delivered",
    hiding_truncation: "test_a_truncated_datagram_is_flagged",
    ending_at_a_reset: "test_a_reset_is_an_error",
    accepting_blocking_sockets: "test_each_client_is_accepted_once",
    forgetting_what_was_sent: "test_a_cancelled_send_all_says_how_much_was_sent",
    losing_what_select_has_found: "test_select_keeps_what_is_done_for_the_next_wait",
    waking_nobody: "test_what_is_submitted_during_a_wait_is_done_in_it",
}
