"""H. Completion: what is submitted again and again, and is cancelled, closed or forked then."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from netcore import (
    EVENT_READ,
    EVENT_WRITE,
    Operation,
    OperationCancelled,
    Poll,
    Selector,
)

from .completions import (
    assert_nothing_done,
    both,
    done_by,
    finished,
    in_use,
    is_pinned,
    outcome,
    pattern,
    pins,
    reader_of,
    stuffed,
)
from .rules import rule
from .system import in_child
from .tools import (
    SOON,
    Subject,
    arrived,
    assert_same,
    in_thread,
    tcp_pair,
    until_waiting,
    wait_until,
)

Pair = tuple[socket.socket, socket.socket]


@rule(108)
def test_what_is_in_use_can_be_cancelled(selector: Selector, pair: Pair) -> None:
    """Before a wait and after one; it takes nothing, and can be used again."""
    recv, send = in_use(selector, pair)
    for waits in (False, True, False):
        selector.submit(recv)
        if waits:
            assert_nothing_done(selector, 0.01)
        assert selector.cancel(recv) is True
        with pytest.raises(OperationCancelled):
            outcome(selector, recv)
        assert selector.cancel(recv) is False
        pair[1].send(b"x")
        assert done_by(selector, recv) == b"x"
    stuffed(pair[0])
    for waits in (False, True):
        selector.submit(send)
        if waits:
            assert_nothing_done(selector, 0.01)
        assert selector.cancel(send) is True
        with pytest.raises(OperationCancelled) as raised:
            outcome(selector, send)
        assert raised.value.bytes_sent == send.bytes_sent == 0
    selector.submit(recv)
    selector.submit(send)
    assert selector.cancel_all(pair[0]) == 2
    finished(selector, recv, send)
    assert_nothing_done(selector)


@rule(113)
def test_what_is_in_use_can_be_given_a_timeout(selector: Selector, pair: Pair) -> None:
    """From then on, and until it is taken away."""
    recv, send = in_use(selector, pair)
    stuffed(pair[0])
    for op in (recv, send):
        op.timeout = 0.05
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            done_by(selector, op)
        assert time.monotonic() - started >= 0.05
        op.timeout = None
        selector.submit(op)
        assert_nothing_done(selector, 0.1)
        assert selector.cancel(op)
        finished(selector, op)


@rule(106)
def test_what_is_in_use_reaches_a_wait_that_is_running(selector: Selector, pair: Pair) -> None:
    """From another thread."""
    recv, send = in_use(selector, pair)
    for _ in range(3):
        with in_thread(lambda: selector.wait(None)) as out:
            until_waiting(selector)
            selector.submit(recv)
            pair[1].send(b"x")
        assert out == [([], [recv])]
        with in_thread(lambda: selector.wait(None)) as out:
            until_waiting(selector)
            selector.submit(send)
        assert out == [([], [send])]


@rule(119)
def test_what_is_in_use_and_registered(selector: Selector, pair: Pair) -> None:
    """Beside each other, before and after."""
    a, b = pair
    recv, send = in_use(selector, pair)
    for _ in range(2):
        key = selector.register(a, EVENT_READ)
        assert_nothing_done(selector, 0.01)
        b.send(b"ours")
        assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
        assert a.recv(10) == b"ours"
        assert_nothing_done(selector, 0.01)
        selector.submit(send)
        finished(selector, send)
        selector.submit(recv)
        selector.modify(a, EVENT_READ | EVENT_WRITE)
        assert wait_until(selector, a, EVENT_WRITE) == EVENT_WRITE
        selector.unregister(a)
        assert_nothing_done(selector)
        b.send(b"x")
        assert outcome(selector, recv) == b"x"
        assert done_by(selector, send) == 4


@rule(119, attempted=True)
def test_what_is_in_use_takes_what_was_told(selector: Selector, pair: Pair) -> None:
    """And it is told once more, as long as it was not taken."""
    a, b = pair
    recv, _ = in_use(selector, pair)
    for _ in range(2):
        key = selector.register(a, EVENT_READ)
        assert_nothing_done(selector, 0.01)
        b.send(b"ours")
        assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
        selector.submit(recv)
        both(selector, recv, key=key)
        assert recv.result() == b"ours"
        assert_nothing_done(selector, 0.01)
        selector.unregister(a)


@rule(119)
def test_what_is_in_use_and_polled(selector: Selector, pair: Pair) -> None:
    """Both are told."""
    recv, _ = in_use(selector, pair)
    poll = selector.submit(Poll(pair[0], EVENT_READ))
    selector.submit(recv)
    assert_nothing_done(selector, 0.01)
    pair[1].send(b"x")
    finished(selector, recv, poll)
    assert (recv.result(), poll.result()) == (b"x", EVENT_READ)
    selector.submit(recv)
    assert_nothing_done(selector, 0.01)


@rule(115)
def test_a_socket_in_use_that_is_closed_ends_what_is_pending(selector: Selector) -> None:
    """Soon, with an error."""
    pair = tcp_pair()
    recv, send = in_use(selector, pair)
    stuffed(pair[0])
    selector.submit(recv)
    selector.submit(send)
    assert_nothing_done(selector, 0.01)
    pair[0].close()
    finished(selector, recv, send)
    assert isinstance(recv.error, OSError)
    assert isinstance(send.error, OSError)
    assert_nothing_done(selector)
    pair[1].close()


@rule(115)
def test_a_socket_in_use_that_is_closed_at_once_ends_what_is_pending(selector: Selector) -> None:
    """Before any wait has seen what was submitted on it."""
    pair = tcp_pair()
    recv, send = in_use(selector, pair)
    selector.submit(recv)
    selector.submit(send)
    pair[0].close()
    finished(selector, recv, send)
    assert isinstance(recv.error, OSError)
    assert_nothing_done(selector)
    pair[1].close()


@rule(116)
@pins
def test_close_ends_what_is_in_use(subject: Subject, pair: Pair) -> None:
    """And another selector goes on with it."""
    selector, other = subject.new(), subject.new()
    recv, send = in_use(selector, pair)
    stuffed(pair[0])
    send.buffer = bytearray(4)
    for op in (recv, send):
        selector.submit(op)
    selector.close()
    for op in (recv, send):
        assert op.done
        assert isinstance(op.error, OperationCancelled)
        with pytest.raises(RuntimeError):
            selector.submit(op)
    assert not is_pinned(send.buffer)
    pair[1].send(b"x")
    assert done_by(other, recv) == b"x"


@rule(122, platform="unix")
def test_what_is_in_use_belongs_to_the_parent(selector: Selector, pair: Pair) -> None:
    """Submitted or not when the child is made; the child can use it as well."""
    _a, b = pair
    recv, send = in_use(selector, pair)
    selector.submit(recv)

    def child() -> None:
        came: list[Operation] = [] if recv.done else finished(selector, recv)
        assert all(isinstance(op.error, OperationCancelled) for op in came)
        assert done_by(selector, send) == 4
        recv.timeout = 0.05
        with pytest.raises(TimeoutError):
            done_by(selector, recv)

    with in_child(child):
        pass
    arrived(b, 4)
    assert b.recv(10) == b"pong"
    b.send(b"x")
    assert outcome(selector, recv) == b"x"
    with in_child(child):
        pass
    assert done_by(selector, send) == 4


@rule(108)
def test_a_send_in_use_that_was_cancelled_at_once_can_be_used_again(
    selector: Selector, pair: Pair
) -> None:
    """Nothing of it was sent, and its end is forgotten."""
    _, send = in_use(selector, pair)
    for _ in range(3):
        selector.submit(send)
        assert selector.cancel(send) is True
        with pytest.raises(OperationCancelled):
            outcome(selector, send)
        assert send.bytes_sent == 0
        assert done_by(selector, send) == 4
        arrived(pair[1], 4)
        assert pair[1].recv(100) == b"pong"


@rule(108)
@pytest.mark.parametrize("idle", [False, True])
def test_a_send_in_use_that_was_cancelled_in_part_can_be_used_again(
    selector: Selector, pair: Pair, idle: bool
) -> None:
    """With another buffer; the peer gets what was sent of the first one, and then that."""
    with contextlib.ExitStack() as opened:
        other_pair = tcp_pair()
        for end in other_pair:
            opened.enter_context(end)
        other_pair[0].setblocking(False)
        other = in_use(selector, other_pair)[1]
        _, send = in_use(selector, pair)
        content = pattern(20 << 20)
        send.buffer = content
        if idle:
            assert selector.wait(0) == ([], [])
        selector.submit(other)
        selector.submit(send)
        finished(selector, other)
        assert selector.cancel(send) is True
        with pytest.raises(OperationCancelled):
            outcome(selector, send)
        send.buffer = b"again"
        with reader_of(pair[1]) as got:
            assert done_by(selector, send) == 5
            pair[0].shutdown(socket.SHUT_WR)
        assert_same(got, content[: len(got) - 5] + b"again")
