"""H. Completion: polls, and what is beside them and other operations in one selector."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from netcore import (
    EDGE,
    EVENT_HANGUP,
    EVENT_READ,
    EVENT_WRITE,
    ONESHOT,
    Operation,
    Poll,
    Recv,
    Selector,
    Send,
    SendAll,
)

from .completions import (
    assert_nothing_done,
    both,
    done_by,
    finished,
    outcome,
    reader_of,
    stuffed,
)
from .rules import rule
from .tools import (
    SOON,
    assert_same,
    drain,
    reset,
    tcp_pair,
    wait_until,
)

Pair = tuple[socket.socket, socket.socket]


# -- Poll


class Slotted:
    """What has a descriptor and no room for weak references."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd


@rule(96)
def test_a_poll_changes_no_order_of_receives(selector: Selector, pair: Pair) -> None:
    """It may end with the first byte; who receives is served as if it was not there."""
    a, b = pair
    ops: list[Operation] = [Recv(a, 2), Poll(a, EVENT_READ), Recv(a, 2), Recv(a, 2)]
    for op in ops:
        selector.submit(op)
        assert_nothing_done(selector, 0.01)
    selector.cancel(ops[1])
    finished(selector, ops[1])
    b.send(b"012345")
    receives = [op for op in ops if isinstance(op, Recv)]
    assert finished(selector, *receives) == receives
    assert [op.result() for op in receives] == [b"01", b"23", b"45"]


@rule(97)
def test_a_poll_changes_no_order_of_sends(selector: Selector, pair: Pair) -> None:
    """What is sent after it is sent behind what was sent before it."""
    a, b = pair
    messages = [b"first" * (1 << 20), b"second", b"third" * (1 << 16), b"last"]
    ops = [selector.submit(SendAll(a, messages[0]))]
    poll = selector.submit(Poll(a, EVENT_READ))
    assert_nothing_done(selector)
    ops += [selector.submit(SendAll(a, message)) for message in messages[1:]]
    assert_nothing_done(selector)
    with reader_of(b) as got:
        assert finished(selector, *ops) == ops
        a.shutdown(socket.SHUT_WR)
    assert_same(got, b"".join(messages))
    b.send(b"x")
    assert outcome(selector, poll) & EVENT_READ


@rule(97)
def test_a_poll_changes_no_order_of_what_goes_at_once(selector: Selector, pair: Pair) -> None:
    """Submitted together, they come out in their order."""
    a, _ = pair
    sends = [SendAll(a, b"%d" % number) for number in range(3)]
    polls = [Poll(a, EVENT_READ), Poll(a, EVENT_WRITE)]
    for before in range(3):
        sends[0] = SendAll(a, b"new")
        order: list[Operation] = [*sends[:before], *polls, *sends[before:]]
        for op in order:
            selector.submit(op)
        came = finished(selector, *sends, polls[1])
        assert [op for op in came if op is not polls[1]] == sends
        selector.cancel(polls[0])
        finished(selector, polls[0])


@rule(119)
def test_a_one_shot_beside_an_operation_is_told_once(selector: Selector, pair: Pair) -> None:
    """The operation goes on, without arming it again; ``modify`` does."""
    a, b = pair
    under_way = stuffed(a)
    send = selector.submit(Send(a, b"x"))
    key = selector.register(a, EVENT_READ | ONESHOT)
    assert_nothing_done(selector)
    b.send(b"data")
    assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
    assert_nothing_done(selector)
    b.send(b"more")
    assert_nothing_done(selector)
    drain(b, under_way)
    assert outcome(selector, send) == 1
    assert_nothing_done(selector)
    key = selector.modify(a, EVENT_READ | ONESHOT)
    assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
    assert_nothing_done(selector)


@rule(119)
def test_an_operation_does_not_arm_a_one_shot_again(selector: Selector, pair: Pair) -> None:
    """It was delivered before the operation was submitted."""
    a, b = pair
    done_by(selector, Send(a, b"x"))
    key = selector.register(a, EVENT_READ | ONESHOT)
    b.send(b"data")
    assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
    assert done_by(selector, Recv(a, 10)) == b"data"
    op = selector.submit(Recv(a, 10))
    assert_nothing_done(selector)
    b.send(b"more")
    assert selector.wait(SOON) == ([], [op])
    b.send(b"unread")
    assert_nothing_done(selector)
    selector.modify(a, EVENT_READ | ONESHOT)
    assert wait_until(selector, a, EVENT_READ)


@rule(119, events=EDGE)
def test_an_edge_beside_an_operation(selector: Selector, pair: Pair) -> None:
    """News are told, to both; what is old is not told again, and does not spin."""
    a, b = pair
    under_way = stuffed(a)
    key = selector.register(a, EVENT_READ | EDGE)
    send = selector.submit(Send(a, b"x"))
    assert_nothing_done(selector)
    for text in (b"one", b"two"):
        b.send(text)
        assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
        assert_nothing_done(selector)
    drain(b, under_way)
    finished_here = selector.wait(SOON)
    assert finished_here[1] == [send]
    assert a.recv(10) == b"onetwo"
    recv = selector.submit(Recv(a, 10))
    assert_nothing_done(selector)
    b.send(b"three")
    both(selector, recv, key=key)
    assert recv.result() == b"three"
    b.send(b"four")
    assert wait_until(selector, a, EVENT_READ)


@rule(119, events=EVENT_HANGUP)
def test_a_hangup_beside_an_operation(selector: Selector, pair: Pair) -> None:
    """It is told, and the operation gets the end."""
    a, b = pair
    key = selector.register(a, EVENT_HANGUP)
    op = selector.submit(Recv(a, 10))
    assert_nothing_done(selector)
    b.send(b"data")
    assert selector.wait(SOON) == ([], [op])
    selector.submit(op)
    b.shutdown(socket.SHUT_WR)
    assert both(selector, op, key=key) == EVENT_HANGUP
    assert op.result() == b""


@rule(119)
def test_a_reset_reaches_both(selector: Selector, pair: Pair) -> None:
    """An error is readiness, and ends what is pending."""
    a, b = pair
    key = selector.register(a, EVENT_WRITE)
    stuffed(a)
    ops: list[Operation] = [Recv(a, 1), SendAll(a, b"x"), Poll(a, EVENT_READ)]
    for op in ops:
        selector.submit(op)
    assert_nothing_done(selector)
    reset(b)
    assert both(selector, *ops, key=key) == EVENT_WRITE
    assert isinstance(ops[0].error, ConnectionResetError)
    assert isinstance(ops[1].error, ConnectionError)
    assert ops[2].result() == EVENT_READ


@rule(119)
def test_many_ready_and_many_done_at_once(selector: Selector) -> None:
    """Nobody is left out, however small the answers that are asked for."""
    pairs = [tcp_pair() for _ in range(60)]
    keys = {selector.register(a, EVENT_READ) for a, _ in pairs[:30]}
    ops = {selector.submit(Recv(a, 10)) for a, _ in pairs[30:]}
    for limit in (None, 3):
        for _, b in pairs:
            b.send(b"x")
        ready: set[Any] = set()
        done: set[Any] = set()
        for _ in range(200):
            came = selector.wait(0.2, max_events=limit)
            assert not limit or max(map(len, came)) <= limit
            ready.update(row[0] for row in came[0])
            done.update(came[1])
        assert ready == keys
        assert done == ops
        for a, _ in pairs[:30]:
            a.recv(10)
        ops = {selector.submit(op) for op in ops}
    for op in ops:
        selector.cancel(op)
    finished(selector, *ops)
    for ends in pairs:
        for end in ends:
            end.close()


@rule(119)
@pytest.mark.parametrize("beside", ["nothing", "registered", "receiving"])
def test_a_poll_is_told_once(selector: Selector, pair: Pair, beside: str) -> None:
    """With what holds of what was asked for; it takes nothing, and there may be several."""
    a, b = pair
    if beside == "registered":
        selector.register(a, 0)
    stuffed(a)
    polls = [selector.submit(Poll(a, EVENT_READ | EVENT_WRITE)) for _ in range(2)]
    recv = selector.submit(Recv(a, 10)) if beside == "receiving" else None
    assert_nothing_done(selector)
    b.send(b"x")
    both(selector, *polls, *([recv] if recv else []))
    assert [poll.result() for poll in polls] == [EVENT_READ] * 2
    assert_nothing_done(selector)
    assert (recv.result() if recv else a.recv(10)) == b"x"
    again = selector.submit(polls[0])
    assert_nothing_done(selector)
    b.send(b"y")
    both(selector, again)
    assert selector.cancel(again) is False


@rule(119)
def test_a_poll_sees_what_is_there_already(selector: Selector, pair: Pair) -> None:
    """Again and again, like a wait that begins anew."""
    a, b = pair
    b.send(b"x")
    poll = Poll(a, EVENT_READ)
    for _ in range(3):
        assert done_by(selector, poll) == EVENT_READ
    assert done_by(selector, Recv(a, 1)) == b"x"
    selector.submit(poll)
    assert_nothing_done(selector)
    assert selector.cancel(poll)
    finished(selector, poll)


@rule(119)
@pytest.mark.parametrize("kind", [int, Slotted])
def test_a_poll_of_whatever_has_a_descriptor(selector: Selector, pair: Pair, kind: Any) -> None:
    """A number, or any object with ``fileno()``."""
    a, b = pair
    poll = selector.submit(Poll(kind(a.fileno()), EVENT_READ))
    assert_nothing_done(selector)
    b.send(b"x")
    assert outcome(selector, poll) == EVENT_READ
