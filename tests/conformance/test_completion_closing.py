"""H. Completion: what is closed, or dropped, while something is pending."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterator

import pytest

from netcore import (
    EVENT_READ,
    ONESHOT,
    Operation,
    Poll,
    Recv,
    Selector,
    SendAll,
)

from .completions import ON_SOCKETS, assert_nothing_done, done_by, finished, outcome
from .rules import rule
from .system import pair_with_number
from .tools import (
    QUIET_WORK,
    SOON,
    Subject,
    arrived,
    in_thread,
    tcp_pair,
    until_waiting,
    wait_until,
)

Pair = tuple[socket.socket, socket.socket]


@contextlib.contextmanager
def number_used_again(
    selector: Selector, noticed: bool
) -> Iterator[tuple[Recv, socket.socket, Pair]]:
    """A receive whose socket was closed, which has been ``noticed`` or not; the peer of that
    socket; and a pair, the first of which has its number.
    """
    a, b = tcp_pair()
    number = a.fileno()
    old = selector.submit(Recv(a, 10))
    assert_nothing_done(selector, 0.01)
    with b:
        a.close()
        if noticed:
            finished(selector, old)
        with pair_with_number(number) as pair:
            yield old, b, pair


@rule(115)
@pytest.mark.parametrize("kind", ON_SOCKETS)
def test_a_socket_that_is_closed_before_any_wait_ends_what_is_pending(
    selector: Selector, kind: str
) -> None:
    """With an OSError; nothing of it was begun."""
    with socket.socket() as sock:
        sock.setblocking(False)
        op = selector.submit(ON_SOCKETS[kind](sock))
    finished(selector, op)
    assert isinstance(op.error, OSError)
    assert op.error.errno == errno.EBADF
    assert_nothing_done(selector)


@rule(115)
@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("idle", [0.0, 0.5])
def test_a_socket_that_is_closed_ends_what_is_pending(
    selector: Selector, pair: Pair, registered: bool, idle: float
) -> None:
    """Soon, with an OSError, though Unix tells nobody; without a spin, and the others live on."""
    a, b = tcp_pair()
    with b:
        if registered:
            selector.register(a, EVENT_READ)
        ops: list[Operation] = [Recv(a, 1), Recv(a, 1), Poll(a, EVENT_READ)]
        other = selector.submit(Recv(pair[0], 1))
        for op in ops:
            selector.submit(op)
        assert_nothing_done(selector, idle)
        a.close()
        worked = time.process_time()
        finished(selector, *ops)
        for op in ops:
            with pytest.raises(OSError, match=r"."):
                op.result()
        assert_nothing_done(selector)
        assert time.process_time() - worked < 5 * QUIET_WORK
        pair[1].send(b"x")
        assert outcome(selector, other) == b"x"
        if registered:
            selector.unregister(a)


@rule(115)
def test_a_socket_that_is_closed_during_a_wait_ends_what_is_pending(
    selector: Selector, pair: Pair
) -> None:
    """In that wait."""
    a, b = tcp_pair()
    op = selector.submit(Recv(a, 1))
    with b, in_thread(lambda: finished(selector, op)) as out:
        until_waiting(selector)
        a.close()
    assert out == [[op]]
    assert isinstance(op.error, OSError)


@rule(115)
def test_a_closed_socket_is_noticed_while_others_are_busy(selector: Selector, pair: Pair) -> None:
    """A server that is never idle learns of it as well."""
    a, b = tcp_pair()
    with b:
        op = selector.submit(Recv(a, 1))
        busy = selector.submit(Recv(pair[0], 1))
        selector.wait(0)
        a.close()
        deadline = time.monotonic() + SOON
        while not op.done:
            assert time.monotonic() < deadline, "never noticed"
            pair[1].send(b"x")
            for done in selector.wait(SOON)[1]:
                if done is busy:
                    assert busy.result() == b"x"
                    selector.submit(busy)
        assert isinstance(op.error, OSError)


@rule(115)
@pytest.mark.parametrize("noticed", [False, True])
def test_the_number_of_a_closed_socket_is_used_again(selector: Selector, noticed: bool) -> None:
    """Each of the two gets its own: an error, and the data."""
    with number_used_again(selector, noticed) as (old, b, (c, d)):
        new = selector.submit(Recv(c, 10))
        with contextlib.suppress(OSError):
            b.send(b"old")
        if not noticed:
            finished(selector, old)
        assert_nothing_done(selector)
        d.send(b"new")
        assert outcome(selector, new) == b"new"
        assert isinstance(old.error, OSError)
        assert done_by(selector, SendAll(c, b"x")) == 1
        key = selector.register(c, EVENT_READ)
        assert_nothing_done(selector)
        d.send(b"y")
        assert selector.wait(SOON) == ([(key, EVENT_READ)], [])


@rule(115)
def test_what_was_not_begun_leaves_the_next_owner_of_the_number_alone(subject: Subject) -> None:
    """It fails, however late the wait comes; nothing is read or written."""
    selector, other = subject.new(), subject.new()
    for used in (False, True):
        a, b = tcp_pair()
        number = a.fileno()
        if used:
            assert done_by(selector, SendAll(a, b"x")) == 1
        ops: list[Operation] = [Recv(a, 10), SendAll(a, b"wrong"), Poll(a, EVENT_READ)]
        for op in ops:
            selector.submit(op)
        with b:
            a.close()
            with pair_with_number(number) as (c, d):
                d.send(b"new")
                arrived(c, 3)
                finished(selector, *ops)
                assert all(isinstance(op.error, OSError) for op in ops)
                assert done_by(other, Recv(c, 10)) == b"new"
                with pytest.raises(BlockingIOError):
                    d.recv(10)


@rule(115)
@pytest.mark.parametrize("noticed", [False, True])
def test_the_number_of_a_closed_socket_is_registered(selector: Selector, noticed: bool) -> None:
    """By somebody who submits nothing, and is told of the new socket alone."""
    with number_used_again(selector, noticed) as (old, _, (c, d)):
        key = selector.register(c, EVENT_READ)
        if not noticed:
            finished(selector, old)
        assert_nothing_done(selector)
        d.send(b"new")
        assert selector.wait(SOON) == ([(key, EVENT_READ)], [])
        assert isinstance(old.error, OSError)
        selector.unregister(c)
        assert_nothing_done(selector)


@rule(115, events=ONESHOT)
@pytest.mark.parametrize("begun", [False, True])
def test_the_number_of_a_closed_socket_is_registered_for_once(
    selector: Selector, begun: bool
) -> None:
    """Once it is, also if that is when the closed one is noticed."""
    a, b = tcp_pair()
    number = a.fileno()
    poll = selector.submit(Poll(a, EVENT_READ))
    if begun:
        assert_nothing_done(selector, 0.01)
    with b:
        a.close()
        with pair_with_number(number) as (c, d):
            key = selector.register(c, EVENT_READ | ONESHOT)
            d.send(b"x")
            arrived(c)
            told = []
            while not poll.done or not told:
                told += selector.wait(SOON)[0]
            assert told == [(key, EVENT_READ)]
            assert_nothing_done(selector)
            assert isinstance(poll.error, OSError)
            selector.modify(c, EVENT_READ | ONESHOT)
            assert wait_until(selector, c, EVENT_READ)


@rule(115)
@pytest.mark.parametrize("asked", [False, True])
def test_operations_work_where_a_closed_socket_is_still_registered(
    selector: Selector, asked: bool
) -> None:
    """With the number of the socket that operations are submitted on, as the last of several."""
    a, b = tcp_pair()
    number = a.fileno()
    assert done_by(selector, SendAll(a, b"x")) == 1
    selector.register(a, EVENT_READ)
    if asked:
        assert_nothing_done(selector)
    with b:
        a.close()
        for _ in range(2):
            with pair_with_number(number) as (c, d):
                recv = selector.submit(Recv(c, 10))
                assert_nothing_done(selector)
                d.send(b"new")
                assert outcome(selector, recv) == b"new"
                recv = selector.submit(Recv(c, 10))
                assert_nothing_done(selector)
            assert isinstance(finished(selector, recv)[0].error, OSError)


@rule(115)
@pytest.mark.parametrize("many", [0, 200])
@pytest.mark.parametrize("end", ["closed", "cancelled", "done"])
def test_a_duplicate_of_what_was_pending_does_not_haunt_us(
    selector: Selector, pair: Pair, end: str, many: int
) -> None:
    """No event, no exception and no spin when data comes for it, however large its number is; the
    others are served. (epoll goes on telling of a number that nobody can remove.)
    """
    selector.wait(0)
    with contextlib.ExitStack() as opened:
        for _ in range(many):
            opened.enter_context(socket.socket())
        a, b = (opened.enter_context(sock) for sock in tcp_pair())
        other = selector.submit(Recv(pair[0], 1))
        op = selector.submit(Recv(a, 1))
        assert_nothing_done(selector)
        duplicate = opened.enter_context(a.dup())
        if end == "cancelled":
            assert selector.cancel(op)
            finished(selector, op)
        elif end == "done":
            b.send(b"x")
            assert outcome(selector, op) == b"x"
        a.close()
        if end == "closed":
            finished(selector, op)
            assert isinstance(op.error, OSError)
        for _ in range(2):
            b.send(b"y")
            assert selector.wait(0.05) == ([], [])
            assert_nothing_done(selector)
        arrived(duplicate)
        pair[1].send(b"x")
        assert outcome(selector, other) == b"x"
        duplicate.setblocking(False)
        assert done_by(selector, Recv(duplicate, 10)).strip(b"y") == b""


@rule(115, attempted=True)
def test_what_was_pending_takes_nothing_from_a_duplicate(selector: Selector) -> None:
    """Once it has failed because its socket was closed."""
    a, b = tcp_pair()
    op = selector.submit(Recv(a, 1))
    assert_nothing_done(selector)
    with b, a.dup() as duplicate:
        a.close()
        finished(selector, op)
        assert isinstance(op.error, OSError)
        for _ in range(2):
            b.send(b"y")
            assert_nothing_done(selector)
        arrived(duplicate, 2)
        assert done_by(selector, Recv(duplicate, 10)) == b"yy"
