"""H. Completion: forks and signals while something is pending."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from netcore import (
    EVENT_READ,
    OperationCancelled,
    Poll,
    Read,
    Recv,
    RecvInto,
    Selector,
    Send,
    SendAll,
)

from .completions import (
    PYPY,
    assert_nothing_done,
    done_by,
    finished,
    is_pinned,
    outcome,
    pipe_ends,
    stuffed,
)
from .rules import rule
from .system import in_child, signals
from .tools import SOON, arrived, in_thread, tcp_pair, until_waiting

Pair = tuple[socket.socket, socket.socket]


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the test run."""


def nothing(selector: Selector, pair: Pair, op: RecvInto) -> None:
    pass


def wait(selector: Selector, pair: Pair, op: RecvInto) -> None:
    assert finished(selector, op) == [op]
    with pytest.raises(OperationCancelled):
        op.result()
    assert PYPY or not is_pinned(op.buffer)  # type: ignore[arg-type]
    assert_nothing_done(selector)


def close(selector: Selector, pair: Pair, op: RecvInto) -> None:
    selector.close()
    assert op.done
    with pytest.raises(OperationCancelled):
        op.result()
    assert PYPY or not is_pinned(op.buffer)  # type: ignore[arg-type]


def cancel(selector: Selector, pair: Pair, op: RecvInto) -> None:
    selector.cancel(op)
    selector.cancel_all(pair[0])
    wait(selector, pair, op)


def go_on_alone(selector: Selector, pair: Pair, op: RecvInto) -> None:
    """With sockets of its own."""
    finished(selector, op)
    a, b = tcp_pair()
    recv = selector.submit(Recv(a, 10))
    assert_nothing_done(selector)
    b.send(b"child")
    assert outcome(selector, recv) == b"child"
    a.close()
    b.close()


def pipes(selector: Selector, pair: Pair, op: RecvInto) -> None:
    """Before anything else is asked of the selector."""
    reader, writer = pipe_ends()
    read = selector.submit(Read(reader, 10))
    poll = selector.submit(Poll(pair[0].fileno(), EVENT_READ))
    os.write(writer, b"x")
    finished(selector, op, read)
    assert read.result() == b"x"
    assert selector.cancel(poll)
    finished(selector, poll)


def post(selector: Selector, pair: Pair, op: RecvInto) -> None:
    posted = selector.post(1)
    assert finished(selector, op, posted) == [op, posted]


IN_CHILD: dict[str, Callable[[Selector, Pair, RecvInto], object]] = {
    function.__name__: function
    for function in (nothing, wait, close, cancel, go_on_alone, pipes, post)
}


@rule(122, platform="unix")
@pytest.mark.parametrize("action", IN_CHILD)
@pytest.mark.parametrize("waited", [False, True])
def test_what_is_pending_belongs_to_the_parent(
    selector: Selector, pair: Pair, action: str, waited: bool
) -> None:
    """In the child it comes out as cancelled, and whatever the child does is nothing to the parent,
    where everything goes on.
    """
    a, b = pair
    op = selector.submit(RecvInto(a, bytearray(10)))
    if waited:
        assert_nothing_done(selector, 0.01)
    with in_child(lambda: IN_CHILD[action](selector, pair, op)):
        pass
    assert not op.done
    assert_nothing_done(selector)
    b.send(b"parent")
    assert outcome(selector, op) == 6
    assert op.buffer[:6] == b"parent"
    assert done_by(selector, SendAll(a, b"x")) == 1


@rule(122, platform="unix")
def test_a_child_does_not_end_a_wait_of_the_parent(selector: Selector, pair: Pair) -> None:
    """One that another thread is in, with operations pending."""
    op = selector.submit(RecvInto(pair[0], bytearray(10)))
    with in_thread(lambda: selector.wait(2 * SOON)) as out:
        until_waiting(selector)
        with in_child(lambda: go_on_alone(selector, pair, op)):
            pass
        assert out == []
        pair[1].send(b"x")
    assert out == [([], [op])]


@rule(122, platform="unix")
def test_registrations_and_operations_part_in_a_child(selector: Selector, pair: Pair) -> None:
    """It works on a copy of the former, and none of the latter."""
    a, b = pair
    stuffed(a)
    key = selector.register(a, EVENT_READ)
    op = selector.submit(Send(a, b"x"))
    assert_nothing_done(selector, 0.01)

    def child() -> None:
        assert finished(selector, op) == [op]
        b.send(b"y")
        arrived(a)
        assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
        selector.unregister(a)
        assert_nothing_done(selector)

    with in_child(child):
        pass
    assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
    a.recv(10)
    assert_nothing_done(selector)
    assert selector.cancel(op)
    finished(selector, op)


# -- signals


@rule(123, platform="unix")
def test_an_exception_of_a_signal_handler_loses_no_operation(
    selector: Selector, pair: Pair
) -> None:
    """It ends the wait, as any other; what was pending is pending."""
    a, b = pair
    ops = [selector.submit(Recv(a, 1)) for _ in range(2)]
    poll = selector.submit(Poll(a, EVENT_READ))

    def interrupt() -> None:
        raise Interrupted

    for timeout in (None, SOON):
        with pytest.raises(Interrupted), signals(selector, interrupt):
            selector.wait(timeout)
        assert_nothing_done(selector)
    b.send(b"12")
    came = finished(selector, *ops, poll)
    assert [op for op in came if op is not poll] == ops
    assert [op.result() for op in ops] == [b"1", b"2"]


@rule(123, platform="unix")
def test_a_signal_handler_may_submit_cancel_and_post(selector: Selector, pair: Pair) -> None:
    """As another thread may: it reaches the wait that it has interrupted."""
    a, b = pair
    op = Recv(a, 1)
    b.send(b"x")
    with signals(selector, lambda: selector.submit(op)):
        assert selector.wait(None) == ([], [op])
    selector.submit(op)
    with signals(selector, lambda: selector.cancel(op)):
        assert selector.wait(None) == ([], [op])
    assert isinstance(op.error, OperationCancelled)
    posted: list[Any] = []
    with signals(selector, lambda: posted.append(selector.post("posted"))):
        assert selector.wait(None) == ([], posted)
    with signals(selector, selector.wakeup):
        assert selector.wait(None) == ([], [])
    assert_nothing_done(selector)


@rule(123, platform="unix")
def test_signals_neither_shorten_nor_prolong_the_time_of_an_operation(
    selector: Selector, pair: Pair
) -> None:
    """Its deadline stays where it was."""
    op = selector.submit(Recv(pair[0], 1, timeout=0.3))
    seen: list[int] = []
    with signals(selector, lambda: seen.append(1), times=5):
        started = time.monotonic()
        assert selector.wait(None) == ([], [op])
        assert 0.25 < time.monotonic() - started < 1.3
    assert seen
    assert isinstance(op.error, TimeoutError)
