"""G. Completion: connections that were reset, by which nothing looks like an end."""

from __future__ import annotations

import errno
import time
from typing import Any

import pytest

from netcore import EVENT_READ, Poll, Recv, RecvInto, Selector, Send

from .completions import (
    assert_nothing_done,
    done_by,
    finished,
    outcome,
)
from .rules import rule
from .tools import reset

Ends = tuple[Any, Any]


@rule(92)
def test_a_reset_is_an_error(selector: Selector, pair: Ends) -> None:
    """Never 0 bytes; with the errno of POSIX."""
    a, b = pair
    op = selector.submit(Recv(a, 10))
    assert_nothing_done(selector)
    reset(b)
    with pytest.raises(ConnectionResetError) as raised:
        outcome(selector, op)
    assert raised.value.errno == errno.ECONNRESET
    assert_nothing_done(selector)


@rule(92)
def test_a_reset_is_told_in_turn(selector: Selector, pair: Ends) -> None:
    """Also to those who come between the reset and the next wait."""
    a, b = pair
    ops = [selector.submit(Recv(a, 1))]
    assert_nothing_done(selector)
    reset(b)
    time.sleep(0.02)
    ops += [selector.submit(Recv(a, 1)) for _ in range(3)]
    assert finished(selector, *ops) == ops
    for op in ops:
        with pytest.raises(ConnectionResetError):
            op.result()


@rule(92)
@pytest.mark.parametrize("between", ["", "registered", "polled"])
def test_a_reset_is_an_error_for_the_next_ones_too(
    selector: Selector, pair: Ends, between: str
) -> None:
    """Linux tells it once, and then that the stream has ended."""
    a, b = pair
    ops: list[Any] = [selector.submit(op) for op in (Recv(a, 1), Recv(a, 1))]
    assert_nothing_done(selector)
    reset(b)
    finished(selector, *ops)
    if between == "registered":
        selector.register(a, EVENT_READ)
        selector.select(0)
        selector.unregister(a)
    elif between == "polled":
        done_by(selector, Poll(a, EVENT_READ))
    for op in (Recv(a, 1), RecvInto(a, bytearray(1)), *ops):
        if not op.done:
            selector.submit(op)
            finished(selector, op)
        with pytest.raises(ConnectionResetError):
            op.result()


@rule(92)
def test_a_reset_that_came_before_is_an_error(selector: Selector, pair: Ends) -> None:
    """Also when it had arrived when the operation was submitted."""
    a, b = pair
    reset(b)
    time.sleep(0.02)
    with pytest.raises(ConnectionResetError):
        done_by(selector, Recv(a, 1))


@rule(92)
def test_a_reset_that_a_send_has_met_is_an_error_for_the_recv(
    selector: Selector, pair: Ends
) -> None:
    """The kernel tells each error once; whoever asks second must not learn of an orderly end."""
    a, b = pair
    reset(b)
    time.sleep(0.02)
    for _ in range(2):
        with pytest.raises((ConnectionResetError, BrokenPipeError, ConnectionAbortedError)):
            done_by(selector, Send(a, b"x"))
    with pytest.raises((ConnectionResetError, ConnectionAbortedError)):
        done_by(selector, Recv(a, 1))
