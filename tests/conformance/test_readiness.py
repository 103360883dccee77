"""A. Readiness: what is reported of a stream, and how often."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from netcore import EVENT_READ, EVENT_WRITE, Selector
from netcore.contract import CONDITIONS

from .rules import rule
from .tools import (
    SOON,
    arrived,
    assert_quiet,
    drain,
    events_for,
    fill_up,
    in_thread,
    reset,
    sockets,
    until_waiting,
    wait_until,
)

Ends = tuple[Any, Any]


@rule(1)
@sockets
def test_an_idle_connected_stream_is_writable_and_nothing_else(
    selector: Selector, stream: Ends
) -> None:
    """One entry with EVENT_WRITE alone, though both were asked for."""
    a, _ = stream
    selector.register(a, EVENT_READ | EVENT_WRITE)
    assert events_for(selector, a, 0) == EVENT_WRITE


@rule(2)
def test_an_idle_connected_stream_is_not_readable(selector: Selector, stream: Ends) -> None:
    """Nothing is reported as long as nothing has arrived."""
    selector.register(stream[0], EVENT_READ)
    assert selector.select(0) == []
    assert_quiet(selector)


@rule(3)
def test_data_that_arrives_during_a_wait_ends_it(selector: Selector, stream: Ends) -> None:
    """And it is there to be read."""
    reader, writer = stream
    selector.register(reader, EVENT_READ)
    with in_thread(lambda: events_for(selector, reader)) as outcome:
        until_waiting(selector)
        writer.send(b"x")
    assert outcome == [EVENT_READ]
    assert reader.recv(10) == b"x"


@rule(4)
def test_unread_data_is_reported_until_it_is_read(selector: Selector, stream: Ends) -> None:
    """Level-triggered: a program may read as little as it likes."""
    reader, writer = stream
    selector.register(reader, EVENT_READ)
    writer.send(b"xyz")
    assert [events_for(selector, reader) for _ in range(3)] == [EVENT_READ] * 3
    assert reader.recv(2) == b"xy"
    assert events_for(selector, reader) == EVENT_READ
    assert reader.recv(2) == b"z"
    assert selector.select(0) == []


@rule(5)
@sockets
def test_readable_and_writable_is_one_entry(selector: Selector, stream: Ends) -> None:
    """One entry for one descriptor, though a kernel may tell of each direction by itself."""
    a, b = stream
    b.send(b"x")
    arrived(a)
    selector.register(a, EVENT_READ | EVENT_WRITE)
    assert events_for(selector, a) == EVENT_READ | EVENT_WRITE


@rule(6)
@pytest.mark.parametrize("state", ["idle", "data", "urgent", "end", "reset"])
def test_what_is_reported_is_a_part_of_what_was_asked_and_never_nothing(
    selector: Selector, pair: Ends, state: str
) -> None:
    """Kernels report errors and hang-ups that nobody asked for."""
    a, b = pair
    selector.register(a, EVENT_READ | EVENT_WRITE)
    if state == "data":
        b.send(b"x")
    elif state == "urgent":
        b.send(b"x", socket.MSG_OOB)
    elif state == "end":
        b.shutdown(socket.SHUT_WR)
    elif state == "reset":
        reset(b)
    wait_until(selector, a, EVENT_WRITE if state in ("idle", "urgent") else EVENT_READ)
    for asked in range(1, CONDITIONS + 1):
        if asked & ~selector.supports == 0:
            selector.modify(a, asked)
            for timeout in (0.002, 0):  # events_for() complains of an empty mask.
                assert not events_for(selector, a, timeout) & ~asked


@rule(7)
def test_a_full_stream_is_writable_again_when_the_peer_has_read_everything(
    selector: Selector, stream: Ends
) -> None:
    """Full is not writable. How much has to be read before it is again, every kernel decides."""
    reader, writer = stream
    selector.register(writer, EVENT_WRITE)
    written = fill_up(writer)
    assert_quiet(selector)
    drain(reader, written)
    assert events_for(selector, writer) == EVENT_WRITE


@rule(8)
def test_one_call_returns_all_that_are_ready(selector: Selector) -> None:
    """Nobody waits for a second call."""
    pairs = [socket.socketpair() for _ in range(10)]
    for a, b in pairs:
        selector.register(a, EVENT_READ)
        b.send(b"x")
        arrived(a)
    result = selector.select(SOON)
    assert sorted(key.fd for key, _ in result) == sorted(a.fileno() for a, _ in pairs)
    assert {events for _, events in result} == {EVENT_READ}
    for sock in sum(pairs, ()):
        sock.close()


@rule(9)
@sockets
def test_modify_changes_what_is_reported_next(selector: Selector, stream: Ends) -> None:
    """What was ready before counts, for what is asked now."""
    a, b = stream
    b.send(b"x")
    arrived(a)
    selector.register(a, EVENT_READ)
    assert events_for(selector, a) == EVENT_READ
    selector.modify(a, EVENT_WRITE)
    assert [events_for(selector, a) for _ in range(2)] == [EVENT_WRITE] * 2
    selector.modify(a, EVENT_READ)
    assert [events_for(selector, a) for _ in range(2)] == [EVENT_READ] * 2


@rule(10)
def test_modify_that_changes_only_the_data_is_seen_in_the_next_event(
    selector: Selector, stream: Ends
) -> None:
    """The key that is delivered is the latest one."""
    reader, writer = stream
    selector.register(reader, EVENT_READ, "old")
    writer.send(b"x")
    assert [key.data for key, _ in selector.select(SOON)] == ["old"]
    key = selector.modify(reader, EVENT_READ, "new")
    assert selector.select(SOON) == [(key, EVENT_READ)]
    assert key.data == "new"


@rule(11)
@pytest.mark.parametrize("by", ["register", "modify"])
@pytest.mark.parametrize("state", ["data", "end", "both ends", "reset"])
def test_a_parked_descriptor_delivers_nothing_and_does_not_spin(
    selector: Selector, pair: Ends, by: str, state: str
) -> None:
    """Kernels report errors and hang-ups even to those who asked for nothing."""
    a, b = pair
    if by == "register":
        selector.register(a, 0)
    else:
        selector.register(a, EVENT_READ | EVENT_WRITE)
        assert events_for(selector, a) == EVENT_WRITE
        selector.modify(a, 0)
    if state == "data":
        b.send(b"x")
    elif state == "reset":
        reset(b)
    else:
        b.shutdown(socket.SHUT_WR)
        if state == "both ends":
            a.shutdown(socket.SHUT_WR)
    assert_quiet(selector)
    assert selector.get_key(a).events == 0


@rule(12)
def test_what_arrived_while_parked_is_reported_after_modify(
    selector: Selector, stream: Ends
) -> None:
    """Parking loses nothing."""
    reader, writer = stream
    selector.register(reader, 0)
    writer.send(b"x")
    assert_quiet(selector)
    selector.modify(reader, EVENT_READ)
    assert events_for(selector, reader) == EVENT_READ
