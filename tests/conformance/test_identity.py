"""A. Whose readiness is reported: unregistered, registered again, duplicated and shared sockets."""

from __future__ import annotations

import queue
from typing import Any

import pytest

from netcore import EVENT_READ, Selector

from .rules import rule
from .tools import (
    SOON,
    Subject,
    assert_quiet,
    events_for,
    in_thread,
    until_waiting,
)

Ends = tuple[Any, Any]
TURNS = 1000


@rule(31)
def test_what_was_unregistered_is_never_reported(selector: Selector, stream: Ends) -> None:
    """Neither what was reported before nor what the kernel has not told yet."""
    reader, writer = stream
    selector.register(reader, EVENT_READ)
    writer.send(b"x")
    assert events_for(selector, reader) == EVENT_READ
    selector.unregister(reader)
    assert_quiet(selector)
    selector.register(reader, EVENT_READ)
    selector.unregister(reader)
    writer.send(b"x")
    assert_quiet(selector)


@rule(32)
def test_a_ready_descriptor_can_be_registered_again_and_again(
    selector: Selector, stream: Ends
) -> None:
    """The last registration's late answers are not this one's. (wepoll#35)"""
    reader, writer = stream
    writer.send(b"x")
    for turn in range(TURNS):
        key = selector.register(reader, EVENT_READ, turn)
        assert selector.select(SOON) == [(key, EVENT_READ)]
        selector.unregister(reader)


@rule(32)
def test_a_ready_descriptor_can_be_registered_again_while_another_thread_waits(
    selector: Selector, pair: Ends
) -> None:
    """As above, with the change in the middle of a wait."""
    a, b = pair
    b.send(b"x")
    seen: queue.Queue[tuple[int, int]] = queue.Queue()

    def wait() -> None:
        turn = -1
        while turn < TURNS - 1:
            [(key, events)] = selector.select(SOON)
            if key.data != turn:
                turn = key.data
                seen.put((turn, events))

    with in_thread(wait) as outcome:
        until_waiting(selector)
        for turn in range(TURNS):
            selector.register(a, EVENT_READ, turn)
            assert seen.get(timeout=SOON) == (turn, EVENT_READ)
            selector.unregister(a)
    assert outcome == [None]


@rule(33)
@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_a_duplicate_is_a_descriptor_of_its_own(
    selector: Selector, pair: Ends, which: int, close: bool
) -> None:
    """Both are reported; when one is unregistered (and closed), the other one still is."""
    a, b = pair
    with a.dup() as duplicate:
        keys = [selector.register(sock, EVENT_READ) for sock in (a, duplicate)]
        b.send(b"x")
        reported: set[int] = set()
        while len(reported) < 2:  # Two pieces of news.
            rows = selector.select(SOON)
            assert rows, f"only one is reported: {reported}"
            assert {events for _, events in rows} == {EVENT_READ}
            reported |= {key.fd for key, _ in rows}
        assert reported == {key.fd for key in keys}
        gone, left = keys[which], keys[1 - which]
        selector.unregister(gone.fileobj)
        if close:
            gone.fileobj.close()  # type: ignore[union-attr]
        assert [selector.select(SOON) for _ in range(2)] == [[(left, EVENT_READ)]] * 2
        left.fileobj.recv(1)  # type: ignore[union-attr]
        assert selector.select(0) == []


@rule(34)
def test_a_socket_in_two_selectors_is_reported_by_both_or_refused_by_the_second(
    subject: Subject, pair: Ends
) -> None:
    """What never happens is an event that is lost; also not for a wait that is under way."""
    a, b = pair
    first, second = subject.new(), subject.new()
    first.register(a, EVENT_READ)
    with in_thread(lambda: events_for(first, a)) as outcome:
        until_waiting(first)
        try:
            second.register(a, EVENT_READ)
        except OSError:
            assert not second.get_map()
        else:
            assert_quiet(second)
        b.send(b"x")
    assert outcome == [EVENT_READ]
    if second.get_map():
        assert events_for(second, a) == EVENT_READ
        assert events_for(first, a) == EVENT_READ
        second.unregister(a)
    assert events_for(first, a) == EVENT_READ
