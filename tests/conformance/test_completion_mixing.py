"""H. Completion and readiness in one selector, and on one socket."""

from __future__ import annotations

import socket

import pytest

from netcore import (
    EVENT_READ,
    EVENT_WRITE,
    Operation,
    Recv,
    Selector,
    SelectorKey,
    Send,
)

from .completions import assert_nothing_done, both, done_by, finished, outcome, stuffed
from .rules import rule
from .tools import (
    SOON,
    assert_quiet,
    drain,
    in_thread,
    tcp_pair,
    until_waiting,
    wait_until,
)

Pair = tuple[socket.socket, socket.socket]


def registered_beside(
    selector: Selector, sock: socket.socket, events: int, op: Operation, when: str
) -> SelectorKey:
    """Register ``sock``, "before" ``op`` is submitted or "after" it has begun to wait."""
    if when == "before":
        key = selector.register(sock, events)
        selector.submit(op)
    else:
        selector.submit(op)
        assert_nothing_done(selector)
        key = selector.register(sock, events)
    return key


@rule(119)
def test_readiness_and_completion_of_different_sockets(selector: Selector, pair: Pair) -> None:
    """Each is told of its own, in one wait."""
    a, b = pair
    c, d = tcp_pair()
    with c, d:
        key = selector.register(a, EVENT_READ)
        op = selector.submit(Recv(c, 10))
        assert_nothing_done(selector)
        b.send(b"x")
        assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
        d.send(b"y")
        assert both(selector, op, key=key) == EVENT_READ
        assert op.result() == b"y"
        assert a.recv(10) == b"x"
        assert_nothing_done(selector)


@rule(119)
@pytest.mark.parametrize("registered", ["before", "after"])
@pytest.mark.parametrize("events", [EVENT_READ, EVENT_READ | EVENT_WRITE])
def test_readiness_of_a_socket_with_a_send_pending(
    selector: Selector, pair: Pair, registered: str, events: int
) -> None:
    """Neither is lost, and neither spins; in whatever order they came."""
    a, b = pair
    under_way = stuffed(a)
    op = Send(a, b"x")
    key = registered_beside(selector, a, events, op, registered)
    assert_nothing_done(selector)
    b.send(b"data")
    for _ in range(3):
        assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
    assert a.recv(10) == b"data"
    assert_nothing_done(selector)
    drain(b, under_way)
    if events & EVENT_WRITE:
        assert both(selector, op, key=key) == EVENT_WRITE
    else:
        assert outcome(selector, op) == 1
        assert_quiet(selector)
    b.send(b"more")
    assert wait_until(selector, a, EVENT_READ)
    assert selector.unregister(a) is key
    assert_quiet(selector)


@rule(119)
@pytest.mark.parametrize("registered", ["before", "after"])
def test_readiness_of_a_socket_with_a_receive_pending(
    selector: Selector, pair: Pair, registered: str
) -> None:
    """The data is the operation's. That there was some may be told, once; afterwards, only what is
    still there.
    """
    a, b = pair
    op = Recv(a, 4)
    key = registered_beside(selector, a, EVENT_READ, op, registered)
    for _ in range(3):
        assert_nothing_done(selector)
        b.send(b"data")
        both_ = selector.wait(SOON)
        if not both_[1]:
            both_ = selector.wait(SOON)
        assert both_[1] == [op]
        assert op.result() == b"data"
        assert_nothing_done(selector)
        selector.submit(op)
    assert selector.cancel(op)
    finished(selector, op)
    assert_nothing_done(selector)
    b.send(b"ours")
    for _ in range(3):
        assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
    assert a.recv(10) == b"ours"
    assert_nothing_done(selector)


@rule(119)
def test_what_an_operation_left_is_ready(selector: Selector, pair: Pair) -> None:
    """Once it has come out, whether it was registered before or is now."""
    a, b = pair
    op = selector.submit(Recv(a, 1))
    b.send(b"123")
    both(selector, op)
    for _ in range(2):
        key = selector.register(a, EVENT_READ)
        for _ in range(2):
            assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
        selector.submit(op)
        done = selector.wait(SOON)[1]
        if not done:
            done = selector.wait(SOON)[1]
        assert done == [op]
        selector.unregister(a)
        assert_nothing_done(selector)
    assert_nothing_done(selector)


@rule(119)
@pytest.mark.parametrize("how", ["unregister", "park", "write", "again"])
def test_a_changed_interest_leaves_the_operations_alone(
    selector: Selector, pair: Pair, how: str
) -> None:
    """They wait on, and nothing is reported that nobody wants any more."""
    a, b = pair
    stuffed(a)
    selector.register(a, EVENT_READ)
    op = selector.submit(Recv(a, 10))
    assert_nothing_done(selector)
    if how == "unregister":
        selector.unregister(a)
    elif how == "park":
        selector.modify(a, 0)
    elif how == "write":
        selector.modify(a, EVENT_WRITE)
    else:
        selector.unregister(a)
        selector.register(a, 0)
    assert_nothing_done(selector)
    b.send(b"data")
    assert selector.wait(SOON) == ([], [op])
    assert op.result() == b"data"
    b.send(b"more")
    assert_quiet(selector)
    assert done_by(selector, op) == b"more"


@rule(119)
def test_a_registration_during_a_wait_for_operations(selector: Selector, pair: Pair) -> None:
    """It reaches that wait, on a socket that something is pending on."""
    a, b = pair
    stuffed(b)
    op = selector.submit(Send(b, b"x"))
    with in_thread(lambda: selector.wait(None)) as out:
        until_waiting(selector)
        key = selector.register(b, EVENT_READ)
        a.send(b"y")
    assert out == [([(key, EVENT_READ)], [])]
    assert selector.cancel(op)
    assert selector.unregister(b) is key
    finished(selector, op)


@rule(119)
def test_an_operation_during_a_wait_for_readiness(selector: Selector, pair: Pair) -> None:
    """``select`` is over when it is done, and ``wait`` has it then."""
    a, b = pair
    key = selector.register(a, EVENT_READ)
    with in_thread(lambda: selector.select(None)) as out:
        until_waiting(selector)
        op = selector.submit(Send(a, b"x"))
    assert out == [[]]
    assert selector.wait(SOON) == ([], [op])
    b.send(b"y")
    assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
