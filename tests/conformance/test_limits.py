"""F. Limits: many descriptors, large numbers, short answers, and what idle ones cost."""

from __future__ import annotations

import contextlib
import random
import socket
import statistics
from collections.abc import Iterator
from time import perf_counter

import pytest

from netcore import EVENT_READ, Selector

from .rules import rule
from .tools import SOON, Subject, allow_descriptors, arrived, assert_quiet, events_for


class Crowd(contextlib.ExitStack):
    """Many UDP sockets, which cost one descriptor each, and one that sends to them."""

    def __init__(self, number: int) -> None:
        super().__init__()
        allow_descriptors(number + 100)
        self.sender = self.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        self.sockets = [self._receiver() for _ in range(number)]

    def _receiver(self) -> socket.socket:
        sock = self.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        return sock

    def fire(self, sock: socket.socket) -> None:
        """Make one of them readable."""
        self.sender.sendto(b"x", sock.getsockname())
        arrived(sock)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """2000 connected socket pairs."""
    allow_descriptors(4100)
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(2000)]
        for sock in sum(pairs, ()):
            stack.enter_context(sock)
        yield pairs


@rule(84, descriptors=2000)
def test_ten_of_two_thousand_are_reported_and_no_others(
    selector: Selector, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    """In one call, wherever they are among the others."""
    for a, _ in pairs:
        selector.register(a, EVENT_READ)
    assert selector.select(0) == []
    chosen = random.Random(84).sample(pairs, 10)
    for a, b in chosen:
        b.send(b"x")
        arrived(a)
    result = selector.select(SOON)
    assert sorted(key.fd for key, _ in result) == sorted(a.fileno() for a, _ in chosen)
    assert {events for _, events in result} == {EVENT_READ}


def fire_all(selector: Selector, count: int) -> None:
    """Register so many sockets, make all of them ready, unregister them."""
    with Crowd(count) as crowd:
        keys = [selector.register(sock, EVENT_READ) for sock in crowd.sockets]
        assert selector.select(0) == []
        for sock in crowd.sockets:
            crowd.fire(sock)
        result = selector.select(SOON)
        assert sorted(key.fd for key, _ in result) == sorted(key.fd for key in keys)
        for sock in crowd.sockets:
            selector.unregister(sock)
        assert selector.select(0) == []


@rule(85, descriptors=129)
@pytest.mark.parametrize("count", [1, 31, 32, 33, 63, 64, 65, 127, 128, 129])
def test_any_number_of_sockets_can_be_ready_at_once(selector: Selector, count: int) -> None:
    """At the edges of the groups that backends may work in."""
    fire_all(selector, count)


@rule(85, descriptors=513)
@pytest.mark.parametrize("count", [511, 512, 513])
def test_more_than_five_hundred_sockets_can_be_ready_at_once(
    selector: Selector, count: int
) -> None:
    """CPython's select() on Windows holds 512."""
    fire_all(selector, count)


@rule(86, platform="unix")
@pytest.mark.parametrize("number", [1022, 1023, 1024, 1025, 2000])
def test_a_descriptor_with_a_large_number_works_or_is_refused(
    selector: Selector, pair: tuple[socket.socket, socket.socket], number: int
) -> None:
    """register() says so, with ValueError; the wait never does. 1024 is FD_SETSIZE."""
    import fcntl

    allow_descriptors(2100)
    a, b = pair
    b.send(b"x")
    with socket.socket(fileno=fcntl.fcntl(a, fcntl.F_DUPFD, number)) as large:
        assert large.fileno() >= number
        try:
            selector.register(large, EVENT_READ)
        except ValueError:
            assert not selector.get_map()
            assert selector.max_descriptors is not None
            assert large.fileno() >= selector.max_descriptors
            assert_quiet(selector)
        else:
            assert events_for(selector, large) == EVENT_READ
            selector.unregister(large)


@rule(87, descriptors=100)
def test_an_answer_that_is_limited_leaves_nobody_out(selector: Selector) -> None:
    """At most so many entries as asked for; those left out get their turn in later calls."""
    with Crowd(100) as crowd:
        for sock in crowd.sockets:
            selector.register(sock, EVENT_READ)
            crowd.fire(sock)
        assert len(selector.select(SOON, max_events=1000)) == 100
        seen: set[int] = set()
        for _ in range(20):
            rows = selector.select(SOON, max_events=10)
            assert 0 < len(rows) <= 10
            assert len({key.fd for key, _ in rows}) == len(rows)
            seen.update(key.fd for key, _ in rows)
        assert len(seen) == 100


@rule(88, descriptors=1001, scalable=True)
def test_idle_sockets_cost_nothing(subject: Subject) -> None:
    """The median of 100 waits may grow by a factor of 20, from 10 idle sockets to 1000."""
    assert median_wait(subject.new(), 1000) <= 20 * median_wait(subject.new(), 10)


def median_wait(selector: Selector, idle: int) -> float:
    """The seconds of a wait with one active socket among so many idle ones."""
    with Crowd(idle + 1) as crowd:
        for sock in crowd.sockets:
            selector.register(sock, EVENT_READ)
        active = crowd.sockets[idle // 2]
        crowd.fire(active)
        times = []
        for _ in range(100):
            started = perf_counter()
            rows = selector.select(SOON)
            times.append(perf_counter() - started)
            assert [key.fileobj for key, _ in rows] == [active]
        return statistics.median(times)
