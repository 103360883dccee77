"""G. Completion: sending on a stream."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from netcore import EVENT_WRITE, OperationCancelled, Poll, Recv, Selector, Send, SendAll

from .completions import (
    GONE,
    assert_nothing_done,
    done_by,
    finished,
    is_pinned,
    outcome,
    pattern,
    pins,
    reader_of,
    received,
    stuffed,
)
from .rules import rule
from .tools import SOON, arrived, assert_same, drain, reset, sockets

Ends = tuple[Any, Any]
MUCH = 8 << 20


@pytest.fixture(scope="module")
def content() -> Iterator[bytes]:
    """So much that it cannot go at once."""
    return pattern(MUCH)


@rule(95)
@sockets
@pytest.mark.parametrize("buffer", [b"hello", bytearray(b"hello"), memoryview(b"xhello")[1:]])
def test_send_sends(selector: Selector, stream: Ends, buffer: Any) -> None:
    """Any buffer of bytes; a few go at once."""
    a, b = stream
    assert done_by(selector, Send(a, buffer)) == 5
    assert done_by(selector, Recv(b, 10)) == b"hello"
    op = SendAll(a, buffer)
    assert done_by(selector, op) == 5
    assert op.bytes_sent == 5
    assert done_by(selector, Recv(b, 10)) == b"hello"


@rule(95)
@sockets
def test_send_may_send_a_part(selector: Selector, stream: Ends, content: bytes) -> None:
    """At least a byte, and the result says how many."""
    a, b = stream
    op = Send(a, content)
    with reader_of(b) as got:
        sent = done_by(selector, op)
        assert 1 <= sent <= len(content)
        a.shutdown(socket.SHUT_WR)
    assert_same(got, content[:sent])


@rule(95)
@sockets
def test_send_waits_for_room(selector: Selector, stream: Ends) -> None:
    """As long as it takes, without spinning; never 0 bytes."""
    a, b = stream
    under_way = stuffed(a)
    op = selector.submit(Send(a, b"more"))
    assert_nothing_done(selector)
    drain(b, under_way)
    assert outcome(selector, op) == 4
    assert done_by(selector, Recv(b, 10)) == b"more"


@rule(95)
@sockets
@pytest.mark.parametrize("mutable", [False, True])
def test_send_all_sends_all(
    selector: Selector, stream: Ends, content: bytes, mutable: bool
) -> None:
    """8 MiB to somebody who takes his time; every byte, once and in its place."""
    a, b = stream
    op = SendAll(a, bytearray(content) if mutable else content)
    with reader_of(b, pause=0.002) as got:
        assert done_by(selector, op, 4 * SOON) == len(content)
        assert op.bytes_sent == len(content)
        a.shutdown(socket.SHUT_WR)
    assert_same(got, content)


@rule(95)
def test_send_all_again_sends_all_again(selector: Selector, pair: Ends) -> None:
    """From the beginning of whatever is the buffer then."""
    a, b = pair
    op = SendAll(a, pattern(3 << 20))
    with reader_of(b) as got:
        for buffer in (op.buffer, b"short", bytearray(3 << 20), b"end"):
            op.buffer = buffer
            assert done_by(selector, op) == len(buffer)
            assert op.bytes_sent == len(buffer)
        a.shutdown(socket.SHUT_WR)
    assert_same(got, pattern(3 << 20) + b"short" + bytes(3 << 20) + b"end")


@rule(95)
@pytest.mark.parametrize("kind", [Send, SendAll])
def test_nothing_is_sent_at_once(selector: Selector, pair: Ends, kind: Any) -> None:
    """An empty buffer is done with 0; the stream is as it was."""
    a, b = pair
    assert done_by(selector, kind(a, b"")) == 0
    assert done_by(selector, kind(a, bytearray())) == 0
    assert done_by(selector, kind(a, b"x")) == 1
    assert done_by(selector, Recv(b, 10)) == b"x"


@rule(95)
@pins
def test_what_is_sent_cannot_be_resized(selector: Selector, pair: Ends, content: bytes) -> None:
    """Until it has come out; then it can, whatever the outcome."""
    a, b = pair
    buffer = bytearray(content)
    op = SendAll(a, buffer)
    for end in ("cancelled", "reset"):
        assert not is_pinned(buffer)
        selector.submit(op)
        assert is_pinned(buffer)
        assert selector.wait(0.05) == ([], [])
        assert is_pinned(buffer)
        assert selector.cancel(op) if end == "cancelled" else reset(b) is None
        finished(selector, op)
        assert not is_pinned(buffer)
        with pytest.raises(OSError, match=r"."):
            op.result()


@rule(95)
@pytest.mark.parametrize("kind", [Send, SendAll])
def test_sending_to_who_is_gone_fails(selector: Selector, pair: Ends, kind: Any) -> None:
    """With an error of the connection, not with 0 bytes; again and again."""
    a, b = pair
    reset(b)
    assert done_by(selector, Poll(a, EVENT_WRITE)) == EVENT_WRITE
    for _ in range(3):
        with pytest.raises(GONE):
            done_by(selector, kind(a, b"x"))
    assert_nothing_done(selector)


@rule(95)
def test_a_reset_ends_a_send_that_waits(selector: Selector, pair: Ends, content: bytes) -> None:
    """The error of SendAll says how much was sent, as the operation does: no less than arrived."""
    a, b = pair
    op = selector.submit(SendAll(a, content))
    assert selector.wait(0.05) == ([], [])
    waiting = selector.submit(Send(a, b"x"))
    reset(b)
    finished(selector, op, waiting)
    with pytest.raises(GONE) as raised:
        op.result()
    assert raised.value.bytes_sent == op.bytes_sent
    assert 0 < op.bytes_sent < len(content)
    with pytest.raises(GONE):
        waiting.result()


@rule(97)
@sockets
def test_those_who_send_are_served_in_order(selector: Selector, stream: Ends) -> None:
    """One message after the other: none begins in the midst of another."""
    a, b = stream
    messages = [bytes([n]) * (1 << 20) for n in range(4)] + [b"small", b"", b"last"]
    ops = [SendAll(a, message) for message in messages]
    for op in ops[:3]:
        selector.submit(op)
    selector.wait(0)
    left = [op for op in ops if not op.done]
    for op in ops[3:]:
        selector.submit(op)
    with reader_of(b) as got:
        assert finished(selector, *left, timeout=2 * SOON) == left
        a.shutdown(socket.SHUT_WR)
    assert_same(got, b"".join(messages))


@rule(97)
def test_who_cannot_send_any_more_fails_in_its_turn(
    selector: Selector, pair: Ends, content: bytes
) -> None:
    """Behind what was submitted before and is still on its way."""
    a, b = pair
    ops: list[Any] = [selector.submit(SendAll(a, content))]
    assert_nothing_done(selector)
    a.shutdown(socket.SHUT_WR)
    ops += [selector.submit(op) for op in (Send(a, b"x"), SendAll(a, b"y"))]
    ready, done = selector.wait(0.01)
    assert not ready
    with reader_of(b):
        done += finished(selector, *ops[len(done) :])
    assert done == ops
    for op in ops[1:]:
        with pytest.raises(BrokenPipeError):
            op.result()


@rule(97)
def test_those_who_send_from_several_threads_do_not_interleave(
    selector: Selector, pair: Ends
) -> None:
    """In the order of each thread; submitted while another thread waits."""
    a, b = pair
    size, count = 100_000, 10
    ops: list[SendAll] = []

    def submit(number: int) -> None:
        for n in range(count):
            head = bytes([number, n])
            ops.append(selector.submit(SendAll(a, head * (size // 2), data=head)))

    with reader_of(b) as got:
        threads = [threading.Thread(target=submit, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        done: list[Any] = []
        while len(done) < 3 * count:
            done += selector.wait(SOON)[1]
        for thread in threads:
            thread.join()
        a.shutdown(socket.SHUT_WR)
    messages = [bytes(got[n : n + size]) for n in range(0, len(got), size)]
    heads = [message[:2] for message in messages]
    assert all(message == message[:2] * (size // 2) for message in messages), "interleaved"
    assert heads == [op.data for op in done]
    for number in range(3):
        assert [n for thread, n in heads if thread == number] == list(range(count))


@rule(98)
@sockets
def test_sending_and_receiving_do_not_wait_for_each_other(selector: Selector, stream: Ends) -> None:
    """A send that is stuck leaves the receive alone, and the other way round."""
    a, b = stream
    recv = selector.submit(Recv(a, 10))
    assert_nothing_done(selector)
    assert done_by(selector, SendAll(a, b"out")) == 3
    assert done_by(selector, Recv(b, 10)) == b"out"
    stuffed(a)
    send = selector.submit(SendAll(a, b"stuck"))
    assert_nothing_done(selector)
    b.send(b"in")
    assert outcome(selector, recv) == b"in"
    b.send(b"again")
    assert done_by(selector, Recv(a, 10)) == b"again"
    assert selector.cancel(send)
    with pytest.raises(OperationCancelled):
        outcome(selector, send)


@rule(98)
def test_both_ways_at_once(selector: Selector, pair: Ends, content: bytes) -> None:
    """Two that send 8 MiB to each other before either reads get it all."""
    a, b = pair
    sends = {selector.submit(SendAll(end, content)) for end in pair}
    got = {end: bytearray() for end in pair}
    recvs: dict[Any, Any] = {selector.submit(Recv(end, 1 << 20)): end for end in pair}
    while recvs or sends:
        _ready, done = selector.wait(SOON)
        assert done, f"stuck: {sends} {recvs}"
        for op in done:
            if op in sends:
                assert op.result() == len(content)
                sends.discard(op)
            else:
                end = recvs.pop(op)
                got[end] += op.result()
                if len(got[end]) < len(content):
                    recvs[selector.submit(op)] = end
    for end in (a, b):
        assert_same(got[end], content)


@rule(97)
def test_a_stream_goes_through_three_sizes(selector: Selector, pair: Ends) -> None:
    """Messages smaller than, as large as and larger than what is asked for at a time."""
    a, b = pair
    for size in (1, 999, 1000, 1001, 65536, 300_000):
        content = pattern(size)
        send = selector.submit(SendAll(a, content))
        got = b""
        while len(got) < size:
            recv = selector.submit(Recv(b, 1000 if size < 65536 else 65536))
            while not recv.done:
                done = selector.wait(SOON)[1]
                assert done
            got += recv.result()
        if not send.done:
            finished(selector, send)
        assert_same(got, content)
    b.send(b"x")
    arrived(a)
    assert received(selector, a, 1) == b"x"
