"""E. Waking: a wait can be ended from elsewhere, once for each time it is asked."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from netcore import EVENT_READ, EVENT_WRITE, Selector

from .rules import rule
from .tools import SOON, Subject, assert_quiet, in_thread, until_waiting

Pair = tuple[socket.socket, socket.socket]


@rule(74)
@pytest.mark.parametrize("timeout", [None, 2 * SOON])
@pytest.mark.parametrize("registered", [False, True])
def test_wakeup_ends_the_wait_of_another_thread(
    selector: Selector, pair: Pair, timeout: float | None, registered: bool
) -> None:
    """Soon, with an empty list: the internal channel is nobody's event."""
    if registered:
        selector.register(pair[0], EVENT_READ)
    for _ in range(2):
        with in_thread(lambda: selector.select(timeout)) as outcome:
            until_waiting(selector)
            assert outcome == []
            started = time.monotonic()
            selector.wakeup()
        assert outcome == [[]]
        assert time.monotonic() - started < SOON
        assert len(selector.get_map()) == registered
    assert_quiet(selector)


@rule(74)
def test_no_wakeup_is_lost(selector: Selector, pair: Pair) -> None:
    """Each ends a wait that ends after it, also while changes wake a backend that is not live."""
    over, turns = threading.Event(), 0

    def change() -> None:
        while not over.is_set():
            selector.register(pair[0], EVENT_READ)
            selector.unregister(pair[0])

    def wait() -> None:
        nonlocal turns
        while not over.is_set():
            assert selector.select(2 * SOON) == []
            turns += 1

    with in_thread(wait) as waited, in_thread(change) as changed:
        try:
            for _ in range(200):
                before, deadline = turns, time.monotonic() + SOON
                selector.wakeup()
                while turns == before and not waited:
                    assert time.monotonic() < deadline, "a wake-up was lost"
                    time.sleep(0)
        finally:
            over.set()
            selector.wakeup()
    assert waited == changed == [None]


@rule(74)
def test_many_threads_may_wake(selector: Selector) -> None:
    """At the same time: the wait ends, and afterwards nothing is left but one wake-up at most."""
    with in_thread(lambda: selector.select(None)) as outcome:
        until_waiting(selector)
        threads = [threading.Thread(target=selector.wakeup) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
    assert outcome == [[]]
    selector.select(0)
    assert_quiet(selector)


@rule(75)
@pytest.mark.parametrize("times", [1, 2, 1000, 100_000])
def test_a_wakeup_is_kept_for_the_next_wait(selector: Selector, times: int) -> None:
    """The next wait returns at once, the one after it waits: many are one (two at most), and more
    than a pipe holds do not block.
    """
    for _ in range(2):
        for _ in range(times):
            selector.wakeup()
        started = time.monotonic()
        assert selector.select(SOON) == []
        assert time.monotonic() - started < SOON / 2
        if times > 1:
            selector.select(0)
        assert_quiet(selector)


@rule(75)
@pytest.mark.parametrize("max_events", [None, 1])
def test_a_wakeup_hides_no_event(selector: Selector, pair: Pair, max_events: int | None) -> None:
    """What is ready is reported, now or by the next wait, and the channel is not counted."""
    key = selector.register(pair[0], EVENT_WRITE)
    for _ in range(10):
        selector.wakeup()
        answers = [selector.select(SOON, max_events) for _ in range(2)]
        assert [(key, EVENT_WRITE)] in answers
        assert selector.select(SOON, max_events) == [(key, EVENT_WRITE)]


def shut_down(waker: Any) -> None:
    """Close or shut down the writing end of a pipe or of a pair of sockets."""
    if isinstance(waker._writer, int):
        os.close(waker._writer)
    else:
        waker._writer.shutdown(socket.SHUT_RDWR)


def close_all(waker: Any) -> None:
    """Close everything, as a program does that closes "all descriptors from 3 on"."""
    if isinstance(waker._writer, int):
        for fd in {waker._reader, waker._writer}:
            os.close(fd)
    else:
        waker._reader.close()
        waker._writer.close()


def break_channel(selector: Selector, how: Callable[[Any], None]) -> None:
    """Break what wakes ``selector``; skips where it is no channel that could be broken."""
    waker = getattr(selector, "_waker", None)
    if not hasattr(waker, "_writer"):
        pytest.skip("rule 76: it is woken by no channel that could be broken")
    how(waker)


@pytest.fixture
def on_channel(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Selector:
    """A selector that is woken by two ends, a pipe or sockets, and not by an eventfd."""
    monkeypatch.delattr(os, "eventfd", raising=False)
    return subject.new()


def assert_works(selector: Selector, pair: Pair) -> None:
    """It does not spin, ``wakeup`` ends a wait, and what is registered is reported."""
    assert_quiet(selector)
    for _ in range(2):
        with in_thread(lambda: selector.select(None)) as outcome:
            until_waiting(selector)
            assert outcome == []
            selector.wakeup()
        assert outcome == [[]]
        assert_quiet(selector)
    key = selector.register(pair[0], EVENT_READ)
    pair[1].send(b"x")
    assert selector.select(SOON) == [(key, EVENT_READ)]


@rule(76)
@pytest.mark.parametrize("how", [shut_down, close_all])
def test_a_broken_channel_is_replaced(
    on_channel: Selector, pair: Pair, how: Callable[[Any], None]
) -> None:
    """A loopback connection breaks when the machine sleeps; the end of it is "readable" for ever,
    and a writer that fails wakes nobody.
    """
    break_channel(on_channel, how)
    assert_works(on_channel, pair)


@rule(76)
@pytest.mark.parametrize("how", [shut_down, close_all])
def test_a_channel_that_broke_before_the_wakeup_is_replaced(
    on_channel: Selector, pair: Pair, how: Callable[[Any], None]
) -> None:
    """``wakeup`` is the first to notice; it is not lost."""
    break_channel(on_channel, how)
    on_channel.wakeup()
    started = time.monotonic()
    assert on_channel.select(SOON) == []
    assert time.monotonic() - started < SOON / 2
    assert_works(on_channel, pair)


@rule(76)
def test_a_channel_that_breaks_while_a_thread_waits_is_replaced(
    on_channel: Selector, pair: Pair
) -> None:
    """The waiting thread goes on to wait, and can be woken."""
    with in_thread(lambda: on_channel.select(2 * SOON)) as outcome:
        until_waiting(on_channel)
        break_channel(on_channel, shut_down)
        until_waiting(on_channel)
        assert outcome == []
        on_channel.wakeup()
    assert outcome == [[]]
    assert_works(on_channel, pair)


@rule(76)
@pytest.mark.parametrize("wake_first", [False, True])
def test_a_closed_eventfd_is_replaced(selector: Selector, pair: Pair, wake_first: bool) -> None:
    """Whatever wakes here: closed while nobody waits, by somebody who closes all descriptors."""
    break_channel(selector, close_all)
    if wake_first:
        selector.wakeup()
        assert selector.select(SOON) == []
    assert_works(selector, pair)


@rule(76)
def test_a_selector_with_a_broken_channel_can_be_closed(on_channel: Selector) -> None:
    """From another thread, too: the waiter is woken by what replaces the channel."""
    break_channel(on_channel, close_all)
    with in_thread(lambda: on_channel.select(None)) as outcome:
        until_waiting(on_channel)
        on_channel.close()
    assert [type(error) for error in outcome] == [RuntimeError]
