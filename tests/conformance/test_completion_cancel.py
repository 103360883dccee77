"""H. Completion: an operation that is cancelled has either happened or not."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from netcore import (
    EVENT_READ,
    Operation,
    OperationCancelled,
    Poll,
    Recv,
    RecvInto,
    Selector,
    Send,
    SendAll,
)
from netcore.contract import ReadinessBackend

from .completions import (
    assert_nothing_done,
    done_by,
    finished,
    is_pinned,
    outcome,
    pattern,
    pins,
    reader_of,
    stuffed,
)
from .rules import rule
from .tools import SOON, Subject, assert_same, drain, in_thread, tcp_pair, until_waiting

Pair = tuple[socket.socket, socket.socket]
#: How many times cancels and data race.
RACES = 10_000


@rule(108)
def test_a_cancelled_receive_takes_nothing(selector: Selector, pair: Pair) -> None:
    """It comes out once, with OperationCancelled, which is an OSError; what is sent later is for
    the next one.
    """
    a, b = pair
    op = selector.submit(Recv(a, 10))
    assert_nothing_done(selector)
    assert selector.cancel(op) is True
    assert not op.done, "cancel() only asks"
    assert finished(selector, op) == [op]
    for _ in range(2):
        with pytest.raises(OperationCancelled) as raised:
            op.result()
    assert isinstance(raised.value, OSError)
    assert raised.value.errno == errno.ECANCELED
    assert_nothing_done(selector)
    b.send(b"later")
    assert done_by(selector, Recv(a, 10)) == b"later"


@rule(108)
def test_what_is_cancelled_before_a_wait_comes_out_of_it(selector: Selector, pair: Pair) -> None:
    """Soon, cancelled or not: there was data."""
    a, b = pair
    b.send(b"x")
    op = selector.submit(Recv(a, 10))
    assert selector.cancel(op)
    finished(selector, op)
    try:
        assert op.result() == b"x"
    except OperationCancelled:
        assert done_by(selector, Recv(a, 10)) == b"x"


@rule(108)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_others_move_up(selector: Selector, pair: Pair, which: int) -> None:
    """Who waits behind one that is cancelled gets its data, and nobody else's."""
    a, b = pair
    ops = [selector.submit(Recv(a, 1)) for _ in range(3)]
    assert_nothing_done(selector, 0.01)
    gone = ops.pop(which)
    assert selector.cancel(gone)
    with pytest.raises(OperationCancelled):
        outcome(selector, gone)
    b.send(b"12")
    assert finished(selector, *ops) == ops
    assert [op.result() for op in ops] == [b"1", b"2"]


@rule(108)
def test_a_cancel_from_another_thread_ends_the_wait(selector: Selector, pair: Pair) -> None:
    """At once, and not after the timeout."""
    op = selector.submit(Recv(pair[0], 10))
    with in_thread(lambda: selector.wait(None)) as out:
        until_waiting(selector)
        assert out == []
        assert selector.cancel(op)
    assert out == [([], [op])]
    with pytest.raises(OperationCancelled):
        op.result()


@rule(111)
def test_a_cancel_that_comes_too_late_is_refused(selector: Selector, pair: Pair) -> None:
    """False, and nothing comes out again. So for what never was submitted."""
    a, b = pair
    op = Recv(a, 10)
    assert selector.cancel(op) is False
    selector.submit(op)
    b.send(b"x")
    finished(selector, op)
    assert selector.cancel(op) is False
    assert selector.cancel(op) is False
    assert op.result() == b"x"
    assert_nothing_done(selector)
    selector.submit(op)
    assert selector.cancel(op) is True
    finished(selector, op)
    assert selector.cancel(op) is False
    assert_nothing_done(selector)


@rule(111)
def test_a_result_that_beat_the_cancel_is_delivered(selector: Selector, pair: Pair) -> None:
    """It was done, and kept back for the next wait."""
    a, b = pair
    op = selector.submit(Recv(a, 10))
    b.send(b"x")
    deadline = time.monotonic() + SOON
    while not selector._driver.finished and time.monotonic() < deadline:  # type: ignore[union-attr]
        assert selector.select(0.05) == []
    selector.cancel(op)
    assert outcome(selector, op) == b"x"
    assert_nothing_done(selector)


@rule(111)
def test_a_cancel_twice_is_one_cancel(selector: Selector, pair: Pair) -> None:
    """It comes out once, and can be submitted again."""
    a, b = pair
    op = selector.submit(Recv(a, 10))
    for _ in range(3):
        selector.cancel(op)
    with pytest.raises(OperationCancelled):
        outcome(selector, op)
    selector.submit(op)
    assert_nothing_done(selector)
    b.send(b"x")
    assert outcome(selector, op) == b"x"


@rule(111)
def test_another_selector_cannot_cancel(subject: Subject, pair: Pair) -> None:
    """False: it is not pending there."""
    selector, other = subject.new(), subject.new()
    op = selector.submit(Recv(pair[0], 10))
    assert other.cancel(op) is False
    assert other.cancel_all(pair[0]) == 0
    assert_nothing_done(selector)
    pair[1].send(b"x")
    assert outcome(selector, op) == b"x"


@rule(112)
def test_a_cancelled_send_all_says_how_much_was_sent(
    selector: Selector, backend: type[ReadinessBackend], pair: Pair
) -> None:
    """``bytes_sent``, in the operation and in the error, and the peer sees exactly that much where
    the backend knows; else no less. The content is the buffer's, from its beginning.
    """
    a, b = pair
    content = pattern(16 << 20)
    op = selector.submit(SendAll(a, content))
    assert selector.wait(0.05) == ([], [])
    assert selector.cancel(op)
    with pytest.raises(OperationCancelled) as raised:
        outcome(selector, op)
    assert raised.value.bytes_sent == op.bytes_sent
    exact = backend.exact_cancelled_send
    assert 0 < op.bytes_sent < len(content) or not exact
    with reader_of(b) as got:
        a.shutdown(socket.SHUT_WR)
    assert_same(got, content[: len(got)])
    assert len(got) == op.bytes_sent if exact else len(got) >= op.bytes_sent


@rule(112)
def test_a_cancelled_send_that_waits_has_sent_nothing(selector: Selector, pair: Pair) -> None:
    """What is behind it goes when there is room."""
    a, b = pair
    under_way = stuffed(a)
    gone, stays = selector.submit(Send(a, b"gone")), selector.submit(SendAll(a, b"stays"))
    assert_nothing_done(selector, 0.01)
    assert selector.cancel(gone)
    with pytest.raises(OperationCancelled) as raised:
        outcome(selector, gone)
    assert raised.value.bytes_sent == gone.bytes_sent == 0
    drain(b, under_way)
    assert outcome(selector, stays) == 5
    assert done_by(selector, Recv(b, 10)) == b"stays"


@rule(112)
@pins
def test_a_cancelled_send_lets_its_buffer_go(selector: Selector, pair: Pair) -> None:
    """When it has come out, and not before."""
    stuffed(pair[0])
    buffer = bytearray(10)
    op = selector.submit(SendAll(pair[0], buffer))
    assert_nothing_done(selector, 0.01)
    assert selector.cancel(op)
    assert is_pinned(buffer)
    finished(selector, op)
    assert not is_pinned(buffer)


@rule(114)
def test_everything_on_a_socket_is_cancelled(selector: Selector, pair: Pair) -> None:
    """Each comes out once; the socket can be closed then, at once. Others are left alone."""
    a, _ = pair
    stuffed(a)
    buffer = bytearray(1)
    mine: list[Operation] = [Recv(a, 1), RecvInto(a, buffer), SendAll(a, b"x"), Send(a, b"y")]
    mine.append(Poll(a, EVENT_READ))
    others = tcp_pair()
    other = selector.submit(Recv(others[0], 1))
    for op in mine:
        selector.submit(op)
    assert_nothing_done(selector, 0.01)
    assert selector.cancel_all(a) == 5
    a.close()
    finished(selector, *mine)
    for op in mine:
        with pytest.raises((OperationCancelled, ConnectionAbortedError)):
            op.result()
    assert selector.cancel_all(others[1]) == 0
    assert_nothing_done(selector)
    others[1].send(b"x")
    assert outcome(selector, other) == b"x"
    for sock in others:
        sock.close()


@rule(114)
@pins
def test_what_is_cancelled_and_closed_holds_no_buffer(selector: Selector, pair: Pair) -> None:
    """Neither of who receives nor of who sends; nobody has to wait in between."""
    a, _ = pair
    stuffed(a)
    buffers = bytearray(1), bytearray(b"x")
    ops = [selector.submit(RecvInto(a, buffers[0])), selector.submit(SendAll(a, buffers[1]))]
    assert_nothing_done(selector, 0.01)
    assert selector.cancel_all(a) == 2
    a.close()
    finished(selector, *ops)
    assert [is_pinned(buffer) for buffer in buffers] == [False, False]


@rule(114)
def test_what_was_just_submitted_on_a_socket_is_cancelled(selector: Selector, pair: Pair) -> None:
    """Before any wait; and the socket works on."""
    a, b = pair
    ops = [selector.submit(Recv(a, 1)) for _ in range(3)]
    assert selector.cancel_all(a) == 3
    finished(selector, *ops)
    for op in ops:
        with pytest.raises(OperationCancelled):
            op.result()
    assert selector.cancel_all(a) == 0
    b.send(b"x")
    assert done_by(selector, Recv(a, 1)) == b"x"


@rule(114)
def test_cancelling_everything_in_another_thread_ends_the_wait(
    selector: Selector, pair: Pair
) -> None:
    """All at once."""
    ops = [selector.submit(Recv(pair[0], 1)) for _ in range(3)]
    with in_thread(lambda: finished(selector, *ops)) as out:
        until_waiting(selector)
        assert selector.cancel_all(pair[0]) == 3
    assert sorted(map(id, out[0])) == sorted(map(id, ops))
