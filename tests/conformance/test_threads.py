"""E. Threads: changes reach a wait that is running, and one thread waits at a time."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from netcore import EVENT_READ, EVENT_WRITE, ONESHOT, Selector
from netcore.contract import ReadinessBackend

from .rules import rule
from .system import descriptors, pair_with_number
from .tools import SOON, Subject, arrived, assert_quiet, in_thread, tcp_pair, until_waiting

Pair = tuple[socket.socket, socket.socket]


@rule(77)
@pytest.mark.parametrize("timeout", [None, 2 * SOON])
@pytest.mark.parametrize("events", [EVENT_READ, EVENT_READ | EVENT_WRITE, EVENT_READ | ONESHOT])
def test_a_registration_reaches_a_wait_that_is_running(
    selector: Selector, pair: Pair, other: Pair, timeout: float | None, events: int
) -> None:
    """What is ready already when it is registered is delivered in that very wait."""
    selector.register(other[0], EVENT_READ)
    pair[1].send(b"x")
    arrived(pair[0])
    with in_thread(lambda: selector.select(timeout)) as outcome:
        until_waiting(selector)
        assert outcome == []
        key = selector.register(pair[0], events, "late")
    assert outcome == [[(key, events & ~ONESHOT)]]


@rule(77)
def test_what_is_registered_during_a_wait_is_watched_in_it(selector: Selector, pair: Pair) -> None:
    """Ready only later, and in a selector that was empty."""
    with in_thread(lambda: selector.select(None)) as outcome:
        until_waiting(selector)
        key = selector.register(pair[0], EVENT_READ)
        until_waiting(selector)
        assert outcome == []
        pair[1].send(b"x")
    assert outcome == [[(key, EVENT_READ)]]


@rule(78)
@pytest.mark.parametrize("before", [0, EVENT_WRITE, EVENT_WRITE | ONESHOT])
def test_a_changed_interest_reaches_a_wait_that_is_running(
    selector: Selector, pair: Pair, before: int
) -> None:
    """What was not asked for when the wait began is delivered in it, with the new data."""
    a, b = pair
    selector.register(a, before, "before")
    if before & ONESHOT:
        assert selector.select(SOON) == [(selector.get_key(a), EVENT_WRITE)]
    elif before:
        selector.modify(a, 0)
    b.send(b"x")
    arrived(a)
    with in_thread(lambda: selector.select(None)) as outcome:
        until_waiting(selector)
        assert outcome == []
        key = selector.modify(a, EVENT_READ, "after")
    assert outcome == [[(key, EVENT_READ)]]


@rule(78)
def test_changed_data_reaches_a_wait_that_is_running(selector: Selector, pair: Pair) -> None:
    """An event that comes after the change carries the new data."""
    selector.register(pair[0], EVENT_READ, "before")
    with in_thread(lambda: selector.select(None)) as outcome:
        until_waiting(selector)
        key = selector.modify(pair[0], EVENT_READ, "after")
        pair[1].send(b"x")
    assert outcome == [[(key, EVENT_READ)]]


@rule(78)
def test_a_thread_that_keeps_changing_does_not_starve_the_wait(
    selector: Selector, pair: Pair
) -> None:
    """What is ready is delivered, be it between two changes of its own data."""
    selector.register(pair[0], EVENT_READ)
    pair[1].send(b"x")
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            selector.modify(pair[0], EVENT_READ, object())

    with in_thread(change) as outcome:
        try:
            for _ in range(20):
                started = time.monotonic()
                assert [row[0].fileobj for row in selector.select(SOON)] == [pair[0]]
                assert time.monotonic() - started < SOON
        finally:
            over.set()
    assert outcome == [None]


@rule(79)
@pytest.mark.parametrize("change", ["unregister", "park", "write only"])
def test_what_is_taken_away_during_a_wait_is_not_delivered_in_it(
    selector: Selector, pair: Pair, other: Pair, change: str
) -> None:
    """The wait goes on; data that comes after ``unregister`` has returned is nobody's."""
    a, b = pair
    selector.register(a, EVENT_READ)
    key = selector.register(other[0], EVENT_READ)
    with in_thread(lambda: selector.select(None)) as outcome:
        until_waiting(selector)
        if change == "unregister":
            selector.unregister(a)
        else:
            selector.modify(a, 0)
        b.send(b"x")
        arrived(a)
        until_waiting(selector)
        assert outcome == []
        other[1].send(b"x")
    assert outcome == [[(key, EVENT_READ)]]


@rule(79)
def test_a_number_that_changes_hands_during_a_wait_speaks_for_the_new_owner(
    selector: Selector,
) -> None:
    """Unregistered, closed, opened anew and registered within one wait, with the same number."""
    a, b = tcp_pair()
    number = a.fileno()
    selector.register(a, EVENT_READ, "old")
    with in_thread(lambda: selector.select(SOON)) as outcome:
        until_waiting(selector)
        selector.unregister(a)
        a.close()
        with pair_with_number(number) as (c, d):
            key = selector.register(c, EVENT_READ, "new")
            until_waiting(selector)
            assert outcome == []
            d.send(b"x")
            arrived(c)
            deadline = time.monotonic() + SOON
            while not outcome and time.monotonic() < deadline:
                time.sleep(0.001)
    assert outcome == [[(key, EVENT_READ)]]
    b.close()


@rule(79)
def test_level_triggered_events_survive_any_race_of_changes(selector: Selector, pair: Pair) -> None:
    """Parked, unregistered or changed at any moment of a wait: once the interest is back, so is the
    event, without anything new from the peer.
    """
    a, b = pair
    b.send(b"x")
    arrived(a)
    over, seen = threading.Event(), 0

    def wait() -> None:
        nonlocal seen
        while not over.is_set():
            for key, events in selector.select(SOON):
                assert (key.fileobj, events) == (a, EVENT_READ)
                seen += 1

    with in_thread(wait) as outcome:
        try:
            for i in range(300):
                selector.register(a, EVENT_READ, i)
                if i % 3 == 0:
                    selector.modify(a, 0)
                    selector.modify(a, EVENT_READ)
                elif i % 3 == 1:
                    selector.unregister(a)
                    selector.register(a, EVENT_READ)
                before, deadline = seen, time.monotonic() + SOON
                while seen == before and not outcome:
                    assert time.monotonic() < deadline, f"the event was lost in round {i}"
                    time.sleep(0)
                selector.unregister(a)
        finally:
            over.set()
            selector.wakeup()
    assert outcome == [None]


@rule(80)
@pytest.mark.parametrize("timeout", [None, 2 * SOON, float("inf")])
@pytest.mark.parametrize("registered", [False, True])
def test_close_ends_the_wait_of_another_thread(
    selector: Selector, pair: Pair, timeout: float | None, registered: bool
) -> None:
    """RuntimeError soon: no hang, no descriptor closed under a system call."""
    if registered:
        selector.register(pair[0], EVENT_READ)
    started = time.monotonic()
    with in_thread(lambda: selector.select(timeout)) as outcome:
        until_waiting(selector)
        assert outcome == []
        selector.close()
    assert [type(error) for error in outcome] == [RuntimeError]
    assert time.monotonic() - started < SOON
    with pytest.raises(RuntimeError):
        selector.select(0)


@rule(80)
def test_close_and_select_may_meet_at_any_moment(
    backend: type[ReadinessBackend], pair: Pair
) -> None:
    """Whoever is first, the waiter gets RuntimeError and the descriptors are given back."""
    before = descriptors()
    for _ in range(100):
        selector = Selector(backend)
        selector.register(pair[0], EVENT_READ)
        with in_thread(lambda: selector.select(2 * SOON)) as outcome, in_thread(selector.close):  # noqa: B023 - joined within the round
            selector.close()
        assert [type(error) for error in outcome] == [RuntimeError]
    assert not descriptors().keys() - before.keys()  # Others may have gone meanwhile.


@rule(80)
@pytest.mark.parametrize("wait", [Selector.select, Selector.wait])
def test_close_ends_a_wait_that_something_else_ends_just_then(
    subject: Subject, pair: Pair, wait: Any
) -> None:
    """The waiter sees it only when it has the lock, or the interpreter, again."""
    a, b = pair
    for delay in range(40):
        selector = subject.new()
        selector.register(a, EVENT_READ)
        started = time.monotonic()
        with in_thread(lambda: wait(selector, 2 * SOON)) as outcome:  # noqa: B023
            until_waiting(selector, pause=0.0001 * delay)
            with selector._lock:
                b.send(b"x")
                arrived(a)
                selector.close()
        assert time.monotonic() - started < SOON
        if isinstance(outcome[0], Exception):
            assert type(outcome[0]) is RuntimeError
        a.recv(1)


@rule(82)
def test_a_second_waiter_is_refused_at_once(selector: Selector, pair: Pair) -> None:
    """RuntimeError for the second, whatever its timeout; the first notices nothing; when it has
    come back, others may wait.
    """
    key = selector.register(pair[0], EVENT_READ)
    with in_thread(lambda: selector.select(2 * SOON)) as outcome:
        until_waiting(selector)
        for timeout in (None, 0, SOON):
            started = time.monotonic()
            with pytest.raises(RuntimeError):
                selector.select(timeout)
            assert time.monotonic() - started < 1
        assert outcome == []
        pair[1].send(b"x")
    assert outcome == [[(key, EVENT_READ)]]
    assert selector.select(SOON) == [(key, EVENT_READ)]
    pair[0].recv(1)
    assert_quiet(selector)


class Meeting(float):
    """A timeout that is looked at by ``select`` in two threads at the same moment."""

    barrier: threading.Barrier

    def __add__(self, other: float) -> float:
        # Broken if one of them was refused before.
        with suppress(threading.BrokenBarrierError):
            self.barrier.wait(0.2)
        return float(self) + other


@rule(82)
def test_of_waiters_that_begin_together_one_waits(subject: Subject, pair: Pair) -> None:
    """The other gets RuntimeError, and a change still reaches the one."""
    for _ in range(5):
        selector = subject.new()
        timeout = Meeting(SOON)
        timeout.barrier = threading.Barrier(2)

        def wait(selector: Selector = selector, timeout: float = timeout) -> object:
            return selector.select(timeout)

        with in_thread(wait) as one, in_thread(wait) as two:
            deadline = time.monotonic() + SOON
            while not one + two and time.monotonic() < deadline:
                time.sleep(0.001)
            key = selector.register(pair[0], EVENT_WRITE)
        assert (one + two).count([(key, EVENT_WRITE)]) == 1
        assert [type(outcome) for outcome in one + two].count(RuntimeError) == 1
        selector.unregister(pair[0])
