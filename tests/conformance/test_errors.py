"""A. Readiness of connections that break."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from netcore import EVENT_HANGUP, EVENT_PRIORITY, EVENT_READ, EVENT_WRITE, Selector
from netcore.contract import ReadinessBackend

from .rules import rule
from .tools import (
    QUIET_WORK,
    arrived,
    events_for,
    fill_up,
    in_thread,
    open_stream,
    reset,
    until_waiting,
)

Ends = tuple[Any, Any]
RESET = (ConnectionResetError, ConnectionAbortedError)  # The second one is Windows'.


@pytest.fixture
def pipe(backend: type[ReadinessBackend]) -> Iterator[Ends]:
    """The reading and the writing end of a pipe."""
    yield from open_stream("pipe", backend)


@rule(15)
def test_a_reset_connection_is_readable(selector: Selector, pair: Ends) -> None:
    """The next recv() tells the error: looking does not consume it."""
    a, b = pair
    selector.register(a, EVENT_READ)
    reset(b)
    assert [events_for(selector, a) for _ in range(2)] == [EVENT_READ] * 2
    with pytest.raises(RESET):
        a.recv(1)


@rule(16)
@pytest.mark.parametrize("full", [False, True])
def test_a_reset_connection_is_writable(selector: Selector, pair: Ends, full: bool) -> None:
    """Also when the send buffer was full: who waits for room learns that there will be none."""
    a, b = pair
    if full:
        fill_up(a)
    selector.register(a, EVENT_WRITE)
    assert events_for(selector, a, 0.05) == (0 if full else EVENT_WRITE)
    reset(b)
    assert [events_for(selector, a) for _ in range(2)] == [EVENT_WRITE] * 2


@rule(17)
def test_a_reset_during_a_wait_ends_it(selector: Selector, pair: Ends) -> None:
    """An error is news."""
    a, b = pair
    selector.register(a, EVENT_READ)
    with in_thread(lambda: events_for(selector, a)) as outcome:
        until_waiting(selector)
        reset(b)
    assert outcome == [EVENT_READ]


@rule(18)
def test_a_peer_that_closes_without_reading_makes_us_readable(
    selector: Selector, pair: Ends
) -> None:
    """Most kernels reset the connection then; BSD's end it (tcp_disconnect() sends a FIN)."""
    a, b = pair
    selector.register(a, EVENT_READ)
    a.send(b"never read")
    arrived(b)
    b.close()
    assert events_for(selector, a) == EVENT_READ
    with contextlib.suppress(*RESET):
        assert a.recv(1) == b""


@rule(19, pipes=True, platform="unix")
@pytest.mark.parametrize("full", [False, True])
def test_a_pipe_whose_reader_is_gone_is_writable(
    selector: Selector, pipe: Ends, full: bool
) -> None:
    """The next write() tells the error."""
    reader, writer = pipe
    if full:
        fill_up(writer)
    selector.register(writer, EVENT_WRITE)
    assert events_for(selector, writer, 0.05) == (0 if full else EVENT_WRITE)
    reader.close()
    assert [events_for(selector, writer) for _ in range(2)] == [EVENT_WRITE] * 2
    with pytest.raises(BrokenPipeError):
        os.write(writer.fileno(), b"x")


@rule(19, pipes=True, platform="unix")
def test_a_pipe_whose_reader_went_before_is_writable_or_refused(
    selector: Selector, pipe: Ends
) -> None:
    """register() may tell the error as well (kqueue on FreeBSD: EPIPE), but not nobody."""
    reader, writer = pipe
    reader.close()
    try:
        selector.register(writer, EVENT_WRITE)
    except BrokenPipeError:
        assert not selector.get_map()
    else:
        assert events_for(selector, writer) == EVENT_WRITE


@rule(30, events=EVENT_HANGUP)
def test_a_reset_connection_is_a_hangup(selector: Selector, pair: Ends) -> None:
    """Alone, and with everything that it ends."""
    a, b = pair
    selector.register(a, EVENT_HANGUP)
    reset(b)
    assert [events_for(selector, a) for _ in range(2)] == [EVENT_HANGUP] * 2
    everything = EVENT_READ | EVENT_WRITE | EVENT_HANGUP
    selector.modify(a, everything)
    assert events_for(selector, a) == everything


@rule(30, events=EVENT_HANGUP)
def test_a_reset_connection_is_a_hangup_in_spite_of_unread_data(
    selector: Selector, pair: Ends
) -> None:
    """Nobody has to read first, which may be more than a program wants to hold."""
    a, b = pair
    fill_up(b)
    selector.register(a, EVENT_HANGUP)
    reset(b)
    assert events_for(selector, a) == EVENT_HANGUP


@rule(30, events=EVENT_HANGUP, pipes=True, platform="unix")
def test_a_pipe_whose_reader_is_gone_is_hung_up(selector: Selector, pipe: Ends) -> None:
    """The reader is the writer's peer."""
    reader, writer = pipe
    selector.register(writer, EVENT_HANGUP)
    assert events_for(selector, writer, 0.05) == 0
    reader.close()
    assert events_for(selector, writer) == EVENT_HANGUP


@rule(30)
def test_a_reset_connection_is_no_hangup_for_those_who_did_not_ask(
    selector: Selector, pair: Ends
) -> None:
    """It is readable and writable, no more."""
    a, b = pair
    selector.register(a, EVENT_READ | EVENT_WRITE)
    reset(b)
    assert events_for(selector, a, 0.05) & ~(EVENT_READ | EVENT_WRITE) == 0
    selector.modify(a, EVENT_READ)
    assert events_for(selector, a) == EVENT_READ


@rule(30, events=EVENT_PRIORITY)
def test_a_reset_connection_does_not_spin_for_those_who_wait_for_urgent_data(
    selector: Selector, pair: Ends
) -> None:
    """It is either nothing, slept away, or an event; never an empty mask."""
    a, b = pair
    selector.register(a, EVENT_PRIORITY)
    reset(b)
    for _ in range(2):
        worked = time.process_time()
        assert events_for(selector, a, 0.05) in (0, EVENT_PRIORITY)
        assert time.process_time() - worked < QUIET_WORK
