"""H. Completion: selectors that are closed, and sockets with two of them."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import time

import pytest

from netcore import (
    EVENT_READ,
    Accept,
    Operation,
    OperationCancelled,
    Poll,
    Recv,
    RecvInto,
    Selector,
    SendAll,
)
from netcore.contract import ReadinessBackend

from .completions import PYPY, assert_nothing_done, done_by, finished, is_pinned, outcome, pins
from .rules import WINDOWS, rule
from .system import descriptors
from .tools import SOON, Subject, arrived, in_thread, until_waiting

Pair = tuple[socket.socket, socket.socket]


class Closing:
    """Something whose number is asked for in the very moment in which the selector is closed."""

    def __init__(self, selector: Selector, sock: socket.socket) -> None:
        self.selector, self.sock = selector, sock

    def fileno(self) -> int:
        self.selector.close()
        return self.sock.fileno()


@rule(116)
@pins
@pytest.mark.parametrize("waited", [False, True])
def test_close_ends_everything(selector: Selector, pair: Pair, waited: bool) -> None:
    """At once: operations raise OperationCancelled, their buffers are the user's again, and nothing
    can be asked of the selector any more. The sockets live on.
    """
    a, b = pair
    buffers = [bytearray(1 << 22) for _ in range(3)]
    ops: list[Operation] = [RecvInto(a, buffers[0]), RecvInto(b, buffers[1], timeout=60)]
    ops += [SendAll(a, buffers[2]), Poll(b, EVENT_READ), Recv(a, 1)]
    for op in ops[:1] if waited else ops:
        selector.submit(op)
    if waited:
        assert_nothing_done(selector, 0.01)
        for op in ops[1:]:
            selector.submit(op)
    started = time.monotonic()
    selector.close()
    assert time.monotonic() - started < SOON
    for op in ops:
        assert op.done
        with pytest.raises(OperationCancelled):
            op.result()
    assert not any(is_pinned(buffer) for buffer in buffers)
    for call in (
        lambda: selector.wait(0),
        lambda: selector.submit(Recv(a, 1)),
        lambda: selector.submit(ops[0]),
        lambda: selector.cancel(ops[0]),
        lambda: selector.cancel_all(a),
        selector.post,
    ):
        with pytest.raises(RuntimeError):
            call()
    assert not any(is_pinned(buffer) for buffer in buffers)
    a.setblocking(False)


@rule(116)
def test_what_was_done_and_not_handed_out_keeps_its_result(selector: Selector, pair: Pair) -> None:
    """``close`` does not take back what has happened."""
    op = selector.post("posted")
    assert selector.select(SOON) == []
    selector.close()
    assert op.done
    assert op.result() == "posted"


@rule(116)
def test_close_ends_a_wait_with_operations_pending(selector: Selector, pair: Pair) -> None:
    """In another thread, with RuntimeError; then everything is cancelled."""
    buffer = bytearray(1)
    op = selector.submit(RecvInto(pair[0], buffer))
    with in_thread(lambda: selector.wait(None)) as out:
        until_waiting(selector)
        selector.close()
    assert isinstance(out[0], RuntimeError)
    assert op.done
    with pytest.raises(OperationCancelled):
        op.result()
    assert PYPY or not is_pinned(buffer)


@rule(116)
def test_what_a_closed_selector_had_can_be_submitted_to_another(
    subject: Subject, pair: Pair
) -> None:
    """It is a new one then."""
    selector, other = subject.new(), subject.new()
    op = selector.submit(Recv(pair[0], 1))
    selector.close()
    other.submit(op)
    pair[1].send(b"x")
    assert outcome(other, op) == b"x"


@rule(116)
def test_a_submit_while_it_is_closed_is_refused_or_cancelled(
    selector: Selector, pair: Pair
) -> None:
    """It does not stay pending for ever, in a selector that nobody can wait on."""
    selector.wait(0)
    finished(selector, selector.post())
    op = Poll(Closing(selector, pair[0]), EVENT_READ)
    with contextlib.suppress(RuntimeError):
        selector.submit(op)
        assert op.done
        assert isinstance(op.error, OperationCancelled)


@rule(116)
def test_close_with_operations_gives_every_descriptor_back(
    backend: type[ReadinessBackend], pair: Pair
) -> None:
    """With operations pending and without."""
    Selector(backend).close()
    before = descriptors()
    for _ in range(3):
        selector = Selector(backend)
        selector.submit(Recv(pair[0], 1))
        selector.wait(0)
        selector.post()
        selector.close()
    gc.collect()
    assert WINDOWS or set(descriptors()) == set(before)
    assert len(descriptors()) <= len(before) + 2


@rule(118)
@pytest.mark.parametrize("first", ["closed", "open"])
def test_a_socket_works_with_one_selector_after_the_other(
    subject: Subject, pair: Pair, first: str
) -> None:
    """And with both at a time. (A socket belongs to one completion port for life: the other one
    does without, and nobody notices.)
    """
    a, b = pair
    one, two = subject.new(), subject.new()
    assert done_by(one, SendAll(a, b"1")) == 1
    assert done_by(one, Recv(b, 1)) == b"1"
    if first == "closed":
        one.close()
    assert done_by(two, SendAll(a, b"2")) == 1
    assert done_by(two, Recv(b, 1)) == b"2"
    recv = two.submit(Recv(b, 10))
    assert_nothing_done(two)
    assert two.cancel(recv)
    with pytest.raises(OperationCancelled):
        outcome(two, recv)
    if first == "open":
        op = one.submit(Recv(a, 10))
        assert done_by(two, SendAll(b, b"3")) == 1
        assert outcome(one, op) == b"3"
        key = two.register(a, EVENT_READ)
        b.send(b"4")
        assert two.wait(SOON) == ([(key, EVENT_READ)], [])
        assert done_by(one, Recv(a, 10)) == b"4"


@rule(118)
def test_a_listener_works_with_two_selectors(subject: Subject) -> None:
    """And what one has accepted works with the other."""
    one, two = subject.new(), subject.new()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        listener.setblocking(False)
        for selector, other in ((one, two), (two, one)):
            with socket.create_connection(listener.getsockname()) as client:
                sock, _ = done_by(selector, Accept(listener))
                with sock:
                    assert done_by(other, SendAll(sock, b"x")) == 1
                    assert client.recv(1) == b"x"


@rule(118)
def test_operations_leave_the_descriptor_as_it_was(selector: Selector, pair: Pair) -> None:
    """Plain calls work between them, and afterwards in blocking mode, too."""
    a, b = pair
    assert done_by(selector, SendAll(a, b"1")) == 1
    arrived(b)
    assert b.recv(1) == b"1"
    assert a.gettimeout() == 0
    assert WINDOWS or not os.get_blocking(a.fileno())
    a.settimeout(SOON)
    b.send(b"2")
    assert a.recv(1) == b"2"
