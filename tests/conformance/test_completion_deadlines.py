"""H. Completion: an operation that took too long."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable

import pytest

from netcore import (
    EVENT_READ,
    Accept,
    Operation,
    OperationCancelled,
    Poll,
    Post,
    Recv,
    RecvFrom,
    RecvInto,
    Selector,
    Send,
    SendAll,
)

from .completions import assert_nothing_done, done_by, finished, is_pinned, outcome, pins, stuffed
from .rules import rule
from .tools import SOON, arrived, in_thread, until_waiting

Pair = tuple[socket.socket, socket.socket]

#: What waits for something that does not come, on a socket that is full.
STUCK: dict[str, Callable[[socket.socket], Operation]] = {
    "Recv": lambda sock: Recv(sock, 1),
    "RecvInto": lambda sock: RecvInto(sock, bytearray(1)),
    "RecvFrom": lambda sock: RecvFrom(sock, 1),
    "Send": lambda sock: Send(sock, b"x"),
    "SendAll": lambda sock: SendAll(sock, b"x"),
    "Poll": lambda sock: Poll(sock, EVENT_READ),
}


@rule(113)
@pytest.mark.parametrize("kind", STUCK)
@pytest.mark.parametrize("timeout", [0, 0.05])
def test_what_takes_too_long_ends_with_timeout_error(
    selector: Selector, pair: Pair, kind: str, timeout: float
) -> None:
    """Not before the time is over, and not long after; it is an OSError with ETIMEDOUT, and no
    OperationCancelled: nobody has asked for that.
    """
    stuffed(pair[0])
    op = STUCK[kind](pair[0])
    op.timeout = timeout
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(TimeoutError) as raised:
            done_by(selector, op)
        assert timeout <= time.monotonic() - started < timeout + 1
        assert raised.value.errno == errno.ETIMEDOUT
        assert not isinstance(raised.value, OperationCancelled)
        assert_nothing_done(selector, 0.02)


@rule(113)
def test_an_accept_takes_too_long(selector: Selector) -> None:
    """Nobody came; the next one gets who comes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.setblocking(False)
        op = Accept(listener, timeout=0.02)
        with pytest.raises(TimeoutError):
            done_by(selector, op)
        op.timeout = SOON
        with socket.create_connection(listener.getsockname()) as client:
            sock, peer = done_by(selector, op)
            sock.close()
            assert peer == client.getsockname()


@rule(113)
@pytest.mark.parametrize("timeout", [0, -1, 1e-9, 0.2, 1e300, float("inf"), 10**400, True])
def test_what_is_done_in_time_has_its_result(
    selector: Selector, pair: Pair, timeout: float
) -> None:
    """However short the time is, if the data is there and the kernel has said so or can be asked;
    and however long.
    """
    a, b = pair
    b.send(b"x")
    arrived(a)
    assert done_by(selector, Recv(a, 1, timeout=timeout)) == b"x"
    assert done_by(selector, Send(a, b"x", timeout=timeout)) == 1
    assert done_by(selector, Post(data=1, timeout=timeout)) == 1
    assert_nothing_done(selector, 0.01)


@rule(113)
def test_a_result_that_beat_the_timeout_is_delivered(selector: Selector, pair: Pair) -> None:
    """It was done in time, and came out late."""
    a, b = pair
    op = selector.submit(Recv(a, 1, timeout=0.1))
    b.send(b"x")
    deadline = time.monotonic() + SOON
    while not selector._driver.finished and time.monotonic() < deadline:  # type: ignore[union-attr]
        assert selector.select(0.02) == []
    time.sleep(0.15)
    assert outcome(selector, op) == b"x"
    assert_nothing_done(selector)


@rule(113)
def test_the_time_counts_from_submit(selector: Selector, pair: Pair) -> None:
    """And not from the wait."""
    op = selector.submit(Recv(pair[0], 1, timeout=0.1))
    time.sleep(0.12)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        outcome(selector, op)
    assert time.monotonic() - started < 0.1


@rule(113)
def test_timeouts_come_in_their_order(selector: Selector, pair: Pair) -> None:
    """Also behind each other in one queue: who waits is not protected by who waits before."""
    ops = [Recv(pair[n % 2], 1, timeout=0.02 * (5 - n), data=n) for n in range(5)]
    for op in ops:
        selector.submit(op)
    came = finished(selector, *ops)
    assert [op.data for op in came] == [4, 3, 2, 1, 0]
    assert all(isinstance(op.error, TimeoutError) for op in ops)


@rule(113)
def test_a_timeout_takes_nothing_and_lets_the_next_one_through(
    selector: Selector, pair: Pair
) -> None:
    """What comes later is for who is behind it."""
    a, b = pair
    first, second = Recv(a, 10, timeout=0.02), Recv(a, 10)
    selector.submit(first)
    selector.submit(second)
    with pytest.raises(TimeoutError):
        outcome(selector, first)
    b.send(b"x")
    assert outcome(selector, second) == b"x"


@rule(113)
def test_an_old_timeout_does_not_end_the_next_use(selector: Selector, pair: Pair) -> None:
    """Nor does it make a wait spin, or end early."""
    a, b = pair
    op = Recv(a, 1, timeout=0.1)
    b.send(b"x")
    assert done_by(selector, op) == b"x"
    op.timeout = None
    selector.submit(op)
    assert_nothing_done(selector, 0.2)
    b.send(b"y")
    assert outcome(selector, op) == b"y"
    op.timeout = 60
    for _ in range(200):
        b.send(b"z")
        assert done_by(selector, op) == b"z"
    assert_nothing_done(selector, 0.1)


@rule(113)
def test_a_timed_out_send_all_says_how_much_was_sent(selector: Selector, pair: Pair) -> None:
    """As a cancelled one."""
    content = bytes(16 << 20)
    op = SendAll(pair[0], content, timeout=0.05)
    with pytest.raises(TimeoutError) as raised:
        done_by(selector, op)
    assert raised.value.bytes_sent == op.bytes_sent  # type: ignore[attr-defined]
    assert op.bytes_sent < len(content)


@rule(113)
@pins
def test_a_timeout_lets_the_buffer_go(selector: Selector, pair: Pair) -> None:
    """When it has come out."""
    buffer = bytearray(1)
    op = selector.submit(RecvInto(pair[0], buffer, timeout=0.02))
    time.sleep(0.03)
    assert is_pinned(buffer)
    assert selector.select(0) == []
    assert is_pinned(buffer)
    finished(selector, op)
    assert not is_pinned(buffer)


@rule(113)
def test_a_timeout_ends_a_wait_without_timeout(selector: Selector, pair: Pair) -> None:
    """In time, and once; a longer wait of another operation goes on."""
    long, short = Recv(pair[0], 1, timeout=60), Recv(pair[1], 1, timeout=0.1)
    selector.submit(long)
    selector.submit(short)
    with in_thread(lambda: selector.wait(None)) as out:
        until_waiting(selector)
    assert out == [([], [short])]
    assert_nothing_done(selector)
    assert selector.cancel(long)
    finished(selector, long)
    assert isinstance(long.error, OperationCancelled)


@rule(113)
def test_a_cancel_before_the_timeout_is_a_cancel(selector: Selector, pair: Pair) -> None:
    """And comes out once, whatever is over by then."""
    op = selector.submit(Recv(pair[0], 1, timeout=0.05))
    assert_nothing_done(selector, 0.01)
    assert selector.cancel(op)
    with pytest.raises(OperationCancelled):
        outcome(selector, op)
    assert_nothing_done(selector, 0.1)
