"""G. Completion: what is submitted comes out of ``wait``, once."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

import pytest

from netcore import (
    EVENT_WRITE,
    Connect,
    Operation,
    OperationCancelled,
    Poll,
    Recv,
    RecvFrom,
    RecvFromInto,
    RecvInto,
    Selector,
    Send,
    SendAll,
    SendTo,
)

from .completions import assert_nothing_done, done_by, finished, outcome
from .rules import rule
from .tools import SOON, Subject, arrived, tcp_pair

Pair = tuple[socket.socket, socket.socket]


@rule(89)
def test_what_is_submitted_comes_out_once(selector: Selector, pair: Pair) -> None:
    """It is the very object, with its data; before, it is not done and has no result."""
    a, b = pair
    data = object()
    op = Recv(a, 10, data=data)
    assert selector.submit(op) is op
    assert not op.done
    with pytest.raises(RuntimeError):
        op.result()
    assert_nothing_done(selector)
    assert not op.done
    b.send(b"x")
    assert finished(selector, op) == [op]
    assert op.done
    assert op.data is data
    assert [op.result(), op.result()] == [b"x", b"x"], "the result is there to be asked for again"
    assert_nothing_done(selector)


@rule(89)
def test_nothing_finishes_inside_submit(selector: Selector, pair: Pair) -> None:
    """Neither what could be done at once, nor what has failed already, nor between two waits."""
    a, b = pair
    b.send(b"x")
    arrived(a)
    with socket.socket() as unconnected:
        unconnected.setblocking(False)
        ops = [
            selector.submit(op)
            for op in (Recv(a, 10), Send(a, b"y"), Poll(a, EVENT_WRITE), SendAll(unconnected, b"z"))
        ]
        ops.append(selector.post("posted"))
        assert [op.done for op in ops] == [False] * 5
        finished(selector, *ops)
    assert [ops[0].result(), ops[1].result(), ops[2].result()] == [b"x", 1, EVENT_WRITE]
    with pytest.raises(OSError, match=r"."):
        ops[3].result()
    assert ops[4].result() == "posted"
    assert_nothing_done(selector)


@rule(89)
def test_what_is_kept_back_is_not_done_yet(selector: Selector) -> None:
    """``done`` turns true when it comes out of ``wait``, and not before: until then it and its
    buffer are not the user's.
    """
    ops = [selector.post(n) for n in range(3)]
    assert selector.wait(SOON, max_events=1) == ([], ops[:1])
    assert [op.done for op in ops] == [True, False, False]
    finished(selector, *ops[1:])
    assert [op.done for op in ops] == [True, True, True]


@rule(89)
def test_submit_does_not_block(selector: Selector, pair: Pair) -> None:
    """Nor does ``cancel``, nor a wait that has no time: whatever the state of the socket."""
    a, _ = pair
    started = time.monotonic()
    op = selector.submit(SendAll(a, bytes(32 << 20)))
    recv = selector.submit(Recv(a, 1))
    assert selector.wait(0) == ([], [])
    assert selector.cancel(op)
    assert selector.cancel(recv)
    assert time.monotonic() - started < SOON / 2
    finished(selector, op, recv)


@rule(89)
def test_what_is_submitted_already_is_refused(subject: Subject, pair: Pair) -> None:
    """RuntimeError, by this selector and by any other; it still comes out, once."""
    selector, other = subject.new(), subject.new()
    a, b = pair
    op = selector.submit(Recv(a, 10))
    for refusing in (selector, other, selector):
        with pytest.raises(RuntimeError):
            refusing.submit(op)
        assert_nothing_done(refusing, 0.01)
    b.send(b"x")
    assert outcome(selector, op) == b"x"
    assert_nothing_done(selector, 0.01)
    assert_nothing_done(other, 0.01)


@rule(89)
def test_what_is_kept_back_cannot_be_submitted(selector: Selector) -> None:
    """It was done, but has not come out."""
    post = selector.post(1)
    assert selector.select(SOON) == []
    with pytest.raises(RuntimeError):
        selector.submit(post)
    assert finished(selector, post) == [post]


@rule(89)
def test_what_is_done_can_be_submitted_again(subject: Subject, pair: Pair) -> None:
    """By any selector, with other data and another buffer: a server needs no new object a message.
    The outcome of the last time is forgotten.
    """
    one, two = subject.new(), subject.new()
    a, b = pair
    recv, send = Recv(a, 10), SendAll(b, b"0")
    for number in range(20):
        selector = one if number % 3 else two
        recv.data, send.buffer = number, b"%d" % number
        selector.submit(recv)
        assert not recv.done
        with pytest.raises(RuntimeError):
            recv.result()
        selector.submit(send)
        finished(selector, recv, send)
        assert (recv.result(), send.result(), recv.data) == (send.buffer, len(send.buffer), number)


@rule(89)
def test_a_failure_is_forgotten_when_it_is_submitted_again(selector: Selector, pair: Pair) -> None:
    """So is a cancel, and a timeout."""
    a, b = pair
    op = selector.submit(Recv(a, 10))
    selector.cancel(op)
    with pytest.raises(OperationCancelled):
        outcome(selector, op)
    op.timeout = 0.01
    with pytest.raises(TimeoutError):
        done_by(selector, op)
    op.timeout = None
    selector.submit(op)
    assert_nothing_done(selector)
    b.send(b"x")
    assert outcome(selector, op) == b"x"


def every_kind(a: socket.socket, b: socket.socket, udp: socket.socket) -> list[Operation]:
    """One of each kind for sockets, none of which is waiting for anything."""
    here = udp.getsockname()
    return [
        *(Send(a, b"12"), SendAll(a, b"34"), Recv(b, 2), RecvInto(b, bytearray(2))),
        *(SendTo(udp, b"1", here), SendTo(udp, b"2", here)),
        *(RecvFrom(udp, 9), RecvFromInto(udp, bytearray(9)), Poll(a, EVENT_WRITE)),
    ]


@rule(89)
def test_operations_of_every_kind_come_out_once(selector: Selector, pair: Pair) -> None:
    """Submitted all at once, with more than one a socket."""
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        here = udp.getsockname()
        for _ in range(3):
            ops: list[Any] = [selector.submit(op) for op in every_kind(*pair, udp)]
            finished(selector, *ops)
            assert [op.result() for op in ops] == [
                *(2, 2, b"12", 2, 1, 1, (b"1", here), (1, here), EVENT_WRITE)
            ]
            assert ops[3].buffer == b"34"
            assert ops[7].buffer == b"2" + bytes(8)
        assert_nothing_done(selector)


@rule(89)
def test_what_fails_comes_out_once_and_raises(selector: Selector, pair: Pair) -> None:
    """An OSError with its errno, each time that it is asked for. A socket that listens cannot send,
    one that is connected cannot connect.
    """
    a, _ = pair
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.setblocking(False)
        for op in (SendAll(listener, b"x"), Connect(a, listener.getsockname())):
            selector.submit(op)
            assert finished(selector, op) == [op]
            for _ in range(2):
                with pytest.raises(OSError, match=r".") as raised:
                    op.result()
                assert raised.value is op.error
                assert raised.value.errno in errno.errorcode
            assert_nothing_done(selector, 0.01)


@rule(89, descriptors=502)
def test_five_hundred_sockets_have_operations_at_once(selector: Selector) -> None:
    """Each gets its own data, all of them soon."""
    pairs = [tcp_pair() for _ in range(250)]
    try:
        ends = [end for ends in pairs for end in ends]
        ops = [selector.submit(Recv(end, 10, data=number)) for number, end in enumerate(ends)]
        assert selector.wait(0) == ([], [])
        assert_nothing_done(selector)
        for one, other in pairs:
            one.send(b"%d" % (ends.index(other)))
            other.send(b"%d" % (ends.index(one)))
        finished(selector, *ops)
        assert all(op.result() == b"%d" % op.data for op in ops)
        sends = [selector.submit(SendAll(end, b"bye")) for end in ends]
        finished(selector, *sends)
        ops = [selector.submit(op) for op in ops]
        finished(selector, *ops)
        assert {op.result() for op in ops} == {b"bye"}
    finally:
        for end in ends:
            end.close()


@rule(89)
def test_an_operation_says_what_it_is(selector: Selector, pair: Pair) -> None:
    """Its kind, on what, and in which state."""
    op = Recv(pair[0], 1)
    assert "Recv" in repr(op)
    states = [repr(op)]
    selector.submit(op)
    states.append(repr(op))
    selector.cancel(op)
    finished(selector, op)
    states.append(repr(op))
    assert len(set(states)) == 3
    assert "OperationCancelled" in states[2]
