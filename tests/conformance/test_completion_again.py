"""G. Completion: what is submitted again and again, where short cuts are taken."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from netcore import EVENT_READ, Recv, Selector, SendAll, wait_for

from .completions import (
    GONE,
    assert_nothing_done,
    done_by,
    finished,
    in_use,
    outcome,
    pattern,
    reader_of,
    stuffed,
)
from .rules import rule
from .tools import SOON, Subject, arrived, assert_same, reset, tcp_pair

Pair = tuple[socket.socket, socket.socket]


@rule(92)
def test_a_reset_of_a_connection_in_use_is_an_error(selector: Selector, pair: Pair) -> None:
    """For who receives, again and again, and for who sends then."""
    recv, send = in_use(selector, pair)
    selector.submit(recv)
    assert_nothing_done(selector, 0.01)
    reset(pair[1])
    for _ in range(3):
        finished(selector, recv)
        with pytest.raises(ConnectionResetError):
            recv.result()
        selector.submit(recv)
    selector.submit(send)
    finished(selector, recv, send)
    for op in (recv, send):
        with pytest.raises(GONE):
            op.result()


@rule(92)
@pytest.mark.parametrize("waiting", [False, True])
def test_a_reset_that_is_met_while_sending_is_an_error_for_who_receives(
    selector: Selector, pair: Pair, waiting: bool
) -> None:
    """The kernel tells it once; it is no end of the stream for the other one."""
    recv, send = in_use(selector, pair)
    if waiting:
        selector.submit(recv)
        assert_nothing_done(selector, 0.01)
    reset(pair[1])
    time.sleep(0.02)
    selector.submit(send)
    finished(selector, send, *([recv] if waiting else []))
    assert isinstance(send.error, GONE)
    if not waiting:
        selector.submit(recv)
        finished(selector, recv)
    with pytest.raises((ConnectionResetError, ConnectionAbortedError)):
        recv.result()
    for op in (send, recv):
        with pytest.raises(GONE):
            done_by(selector, op)


@rule(91)
def test_the_end_of_a_connection_in_use_is_empty(selector: Selector, pair: Pair) -> None:
    """Again and again; sending goes on."""
    recv, send = in_use(selector, pair)
    _a, b = pair
    selector.submit(recv)
    b.send(b"last")
    b.shutdown(socket.SHUT_WR)
    assert outcome(selector, recv) == b"last"
    for _ in range(3):
        assert done_by(selector, recv) == b""
        assert done_by(selector, send) == 4
    assert_nothing_done(selector)


@rule(90)
@pytest.mark.parametrize("size", [1, 4, 5])
def test_what_came_between_two_receives_is_received(
    selector: Selector, pair: Pair, size: int
) -> None:
    """Whether the last one has emptied the stream or not."""
    recv, _ = in_use(selector, pair)
    small = Recv(pair[0], size)
    for _ in range(3):
        pair[1].send(b"0123456789")
        arrived(pair[0], 10)
        got = b""
        while len(got) < 10:
            got += done_by(selector, small)
        assert got == b"0123456789"
        assert_nothing_done(selector, 0.01)
        selector.submit(recv)
        assert_nothing_done(selector, 0.01)
        pair[1].send(b"x")
        assert outcome(selector, recv) == b"x"


@rule(96)
@pytest.mark.parametrize("behind", [1, 2])
def test_a_receive_in_use_takes_its_turn(selector: Selector, pair: Pair, behind: int) -> None:
    """Behind others, which are new."""
    recv, _ = in_use(selector, pair)
    order = [*[Recv(pair[0], 4) for _ in range(behind)], recv]
    for op in order:
        selector.submit(op)
    assert_nothing_done(selector, 0.01)
    pair[1].send(b"0123" * behind + b"last")
    assert finished(selector, *order) == order
    assert [op.result() for op in order] == [b"0123"] * behind + [b"last"]


@rule(97)
def test_a_send_in_use_takes_its_turn(selector: Selector, pair: Pair) -> None:
    """And sends whatever its buffer is then: more than goes at once, nothing, or a bytearray."""
    _recv, send = in_use(selector, pair)
    large, small = SendAll(pair[0], pattern(4 << 20)), SendAll(pair[0], b"small")
    with reader_of(pair[1]) as got:
        expected = b""
        for buffer in (b"one", pattern(2 << 20), b"", bytearray(b"two"), b"three"):
            send.buffer = buffer
            for op in (large, send, small):
                selector.submit(op)
            ops = [large, send, small]
            assert finished(selector, *ops) == ops
            assert send.result() == send.bytes_sent == len(buffer)
            expected += bytes(large.buffer) + bytes(buffer) + b"small"
        pair[0].shutdown(socket.SHUT_WR)
    assert_same(got, expected)


@rule(97)
@pytest.mark.parametrize("buffer", [None, "text", 5, memoryview(bytes(8))[::2]])
def test_a_buffer_of_a_send_in_use_that_cannot_be_sent_is_refused(
    selector: Selector, pair: Pair, buffer: object
) -> None:
    """As of a new one."""
    _, send = in_use(selector, pair)
    send.buffer = buffer  # type: ignore[assignment]
    with pytest.raises((TypeError, ValueError)):
        selector.submit(send)
    assert_nothing_done(selector, 0.01)
    send.buffer = b"good"
    assert done_by(selector, send) == 4


@rule(89)
def test_what_is_in_use_is_refused_while_it_is_pending(subject: Subject, pair: Pair) -> None:
    """RuntimeError, by this selector and another one; the other one takes it when it is done."""
    selector, other = subject.new(), subject.new()
    recv, send = in_use(selector, pair)
    for op in (recv, send):
        selector.submit(op)
        for refusing in (selector, other):
            with pytest.raises(RuntimeError):
                refusing.submit(op)
        assert not op.done
    finished(selector, send)
    pair[1].send(b"x")
    assert outcome(selector, recv) == b"x"
    pair[1].send(b"y")
    assert done_by(other, recv) == b"y"
    assert done_by(other, send) == 4
    pair[1].send(b"z")
    assert done_by(selector, recv) == b"z"


@rule(94)
@pytest.mark.parametrize("how", ["closed", "detached"])
def test_what_is_in_use_is_refused_on_a_socket_that_is_not_what_it_was(
    selector: Selector, pair: Pair, how: str
) -> None:
    """OSError or ValueError from ``submit``, and no wait that blocks."""
    ops = in_use(selector, pair)
    with contextlib.ExitStack() as opened:
        if how == "closed":
            pair[0].close()
        else:
            opened.enter_context(socket.socket(fileno=pair[0].detach()))
        for op in ops:
            with pytest.raises((OSError, ValueError)):
                selector.submit(op)
        assert_nothing_done(selector)


@rule(94)
def test_what_is_in_use_does_not_block_with_its_socket(selector: Selector, pair: Pair) -> None:
    """It is refused, or done as before."""
    a, b = pair
    recv, send = in_use(selector, pair)
    send.buffer = bytes(20 << 20)
    a.setblocking(True)
    try:
        for op in (recv, send):
            selector.submit(op)
    except ValueError:
        return
    assert_nothing_done(selector)
    b.setblocking(False)
    left = len(send.buffer)
    while left:
        selector.wait(0.001)
        with contextlib.suppress(BlockingIOError):
            left -= len(b.recv(1 << 20))
    b.send(b"x")
    finished(selector, *(op for op in (recv, send) if not op.done))
    assert recv.result() == b"x"
    assert send.result() == len(send.buffer)


@rule(97)
@pytest.mark.parametrize("how", ["stuffed", "too long", "reset", "closed"])
def test_sends_in_use_do_not_hold_each_other_up(selector: Selector, how: str) -> None:
    """Submitted together, on three sockets; the one in the middle cannot be done at once."""
    with contextlib.ExitStack() as opened:
        pairs = [tcp_pair() for _ in range(3)]
        for end in (end for pair in pairs for end in pair):
            opened.enter_context(end)
            end.setblocking(False)
        sends = [in_use(selector, pair)[1] for pair in pairs]
        a, b = pairs[1]
        if how == "stuffed":
            stuffed(a)
        elif how == "too long":
            sends[1].buffer = pattern(20 << 20)
        elif how == "reset":
            reset(b)
            assert wait_for(a, EVENT_READ, SOON)
        for send in sends:
            selector.submit(send)
        if how == "closed":
            a.close()
        lost = how in ("reset", "closed")
        finished(selector, *(sends if lost else sends[::2]))
        assert [send.result() for send in sends[::2]] == [4, 4]
        if lost:
            with pytest.raises(GONE if how == "reset" else OSError):
                sends[1].result()
            return
        assert not sends[1].done
        with reader_of(b) as got:
            finished(selector, sends[1], timeout=4 * SOON)
            a.shutdown(socket.SHUT_WR)
        assert sends[1].result() == len(sends[1].buffer)
        assert_same(got[-len(sends[1].buffer) :], sends[1].buffer)
