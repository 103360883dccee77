"""C. Fork: the child works on a private copy, and the parent does not notice."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest

from netcore import EVENT_READ, EVENT_WRITE, Selector

from .rules import rule
from .system import in_child
from .tools import SOON, arrived, assert_quiet, in_thread, tcp_pair, until_waiting

Pair = tuple[socket.socket, socket.socket]


def unregister_then_register(selector: Selector, pair: Pair, other: Pair) -> None:
    selector.unregister(pair[0])
    selector.register(pair[0], EVENT_WRITE)


def wake_and_wait(selector: Selector, pair: Pair, other: Pair) -> None:
    selector.wakeup()
    assert selector.select(SOON) == []
    assert_quiet(selector)


def wait_for_writing(selector: Selector, pair: Pair, other: Pair) -> None:
    key = selector.modify(pair[0], EVENT_WRITE)
    assert selector.select(SOON) == [(key, EVENT_WRITE)]


def close_the_sockets(selector: Selector, pair: Pair, other: Pair) -> None:
    assert_quiet(selector)
    for sock in (*pair, *other):
        sock.close()
    assert_quiet(selector)


IN_CHILD: dict[str, Callable[[Selector, Pair, Pair], object]] = {
    "nothing": lambda selector, pair, other: None,
    "register": lambda selector, pair, other: selector.register(other[0], EVENT_WRITE),
    "modify": lambda selector, pair, other: selector.modify(pair[0], EVENT_WRITE),
    "park": lambda selector, pair, other: selector.modify(pair[0], 0),
    "unregister": lambda selector, pair, other: selector.unregister(pair[0]),
    "unregister_then_register": unregister_then_register,
    "close": lambda selector, pair, other: selector.close(),
    "wakeup": lambda selector, pair, other: selector.wakeup(),
    "wake_and_wait": wake_and_wait,
    "select": lambda selector, pair, other: assert_quiet(selector),
    "wait_for_writing": wait_for_writing,
    "close_the_sockets": close_the_sockets,
    "read_only": lambda selector, pair, other: (selector.get_key(pair[0]), selector.get_map()),
}


@rule(63, platform="unix")
@pytest.mark.parametrize("action", IN_CHILD)
def test_nothing_that_a_child_does_reaches_the_parent(
    selector: Selector, pair: Pair, other: Pair, action: str
) -> None:
    """An epoll set and an eventfd are shared with the child: its changes would be the parent's, its
    wake-ups too. Registrations, waits and wake-ups of the parent are as if there were no child.
    """
    key = selector.register(pair[0], EVENT_READ)
    with in_child(lambda: IN_CHILD[action](selector, pair, other)):
        pass
    assert list(selector.get_map().values()) == [key]
    assert_quiet(selector)
    selector.wakeup()
    assert selector.select(SOON) == []
    assert_quiet(selector)
    pair[1].send(b"x")
    assert selector.select(SOON) == [(key, EVENT_READ)]


@rule(63, platform="unix")
@pytest.mark.parametrize("action", IN_CHILD)
def test_a_child_does_not_disturb_a_wait_of_the_parent(
    selector: Selector, pair: Pair, other: Pair, action: str
) -> None:
    """One that was running when the child was made, and that no lock of the child may know of."""
    key = selector.register(pair[0], EVENT_READ)
    with in_thread(lambda: selector.select(2 * SOON)) as outcome:
        until_waiting(selector)
        with in_child(lambda: IN_CHILD[action](selector, pair, other)):
            pass
        assert outcome == []
        pair[1].send(b"x")
    assert outcome == [[(key, EVENT_READ)]]


@rule(63, platform="unix")
@pytest.mark.parametrize("closed", [False, True])
def test_a_child_sees_its_own_events(
    selector: Selector, pair: Pair, other: Pair, closed: bool
) -> None:
    """It has what was registered before the fork and what it registers, also when the parent has
    closed the selector meanwhile; the parent sees none of it.
    """
    key = selector.register(pair[0], EVENT_READ, "shared")
    reader, writer = os.pipe()

    def child() -> None:
        os.read(reader, 1)
        assert selector.get_key(pair[0]) == key
        assert selector.select(SOON) == [(key, EVENT_READ)]
        pair[0].recv(1)
        assert_quiet(selector)
        added = selector.register(other[0], EVENT_READ | EVENT_WRITE, "own")
        assert selector.select(SOON) == [(added, EVENT_WRITE)]
        selector.unregister(pair[0])
        selector.close()
        with pytest.raises(RuntimeError):
            selector.select(0)

    with in_child(child):
        if closed:
            selector.close()
        pair[1].send(b"x")
        arrived(pair[0])
        os.write(writer, b"x")
    os.close(reader)
    os.close(writer)
    if not closed:
        assert list(selector.get_map().values()) == [key]
        assert_quiet(selector)


@rule(63, platform="unix")
def test_a_selector_closed_before_the_fork_is_closed_in_the_child(
    selector: Selector, pair: Pair
) -> None:
    """RuntimeError, as in the parent."""
    selector.close()

    def child() -> None:
        for method in (selector.select, selector.wakeup, selector.get_map):
            with pytest.raises(RuntimeError):
                method()
        selector.close()

    with in_child(child):
        pass


@rule(63, platform="unix")
def test_a_parked_and_a_closed_registration_stay_so_in_the_child(
    selector: Selector, pair: Pair, other: Pair
) -> None:
    """The private copy is a copy: parked is parked, and what is not open any more is silent."""
    a, b = tcp_pair()
    selector.register(a, EVENT_READ)
    parked = selector.register(pair[0], 0)
    kept = selector.register(other[0], EVENT_READ)
    a.close()
    pair[1].send(b"x")
    arrived(pair[0])

    def child() -> None:
        assert_quiet(selector)
        other[1].send(b"x")
        assert selector.select(SOON) == [(kept, EVENT_READ)]
        assert selector.get_key(pair[0]) == parked
        selector.unregister(a)

    with in_child(child):
        pass
    b.close()


@rule(63, platform="unix")
def test_a_grandchild_works_on_a_copy_of_its_own(selector: Selector, pair: Pair) -> None:
    """Forking goes on: neither the child nor the parent notices the grandchild."""
    key = selector.register(pair[0], EVENT_READ)

    def child() -> None:
        assert_quiet(selector)
        with in_child(lambda: selector.modify(pair[0], EVENT_WRITE)):
            pass
        with in_child(selector.close):
            pass
        assert_quiet(selector)
        pair[1].send(b"x")
        assert selector.select(SOON) == [(key, EVENT_READ)]

    with in_child(child):
        pass
    assert selector.select(SOON) == [(key, EVENT_READ)]


@rule(63, platform="unix")
def test_a_child_gives_its_copies_back(selector: Selector, pair: Pair) -> None:
    """The waits of a child that is killed or leaves without closing do not stay with the parent."""
    key = selector.register(pair[0], EVENT_READ)

    def child() -> None:
        assert_quiet(selector)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(AssertionError, match="wait status 9"), in_child(child):
        pass
    assert_quiet(selector)
    pair[1].send(b"x")
    assert selector.select(SOON) == [(key, EVENT_READ)]
