"""G. Completion: the wait, its timeouts, its limits, and those who come in from other threads."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from netcore import EVENT_READ, Operation, Post, Recv, Selector

from .completions import assert_nothing_done, done_by, finished, outcome
from .rules import rule
from .tools import QUIET_WORK, SOON, assert_slept, in_thread, tcp_pair, until_waiting

Pair = tuple[socket.socket, socket.socket]


@rule(105)
@pytest.mark.parametrize("timeout", [0.001, 0.0123, 0.1])
@pytest.mark.parametrize("method", ["wait", "select"])
def test_a_wait_with_operations_pending_is_never_early_and_hardly_late(
    selector: Selector, pair: Pair, method: str, timeout: float
) -> None:
    """Nor does it spin, though the backend may have to look after what is pending."""
    ops = [selector.submit(Recv(sock, 1, timeout=60)) for sock in pair]
    nothing: Any = ([], []) if method == "wait" else []

    def wait(timeout: float) -> Any:
        started = time.monotonic()
        got = getattr(selector, method)(timeout)
        assert time.monotonic() - started < timeout + 1
        return got

    for _ in range(5):
        assert_slept(wait, nothing, timeout)
    for op in ops:
        selector.cancel(op)
    finished(selector, *ops)


@rule(105)
def test_a_long_wait_with_operations_pending_does_not_spin(selector: Selector, pair: Pair) -> None:
    """Whatever it looks after, it does so seldom."""
    ops = [selector.submit(Recv(sock, 1)) for sock in pair]
    worked = time.process_time()
    assert selector.wait(1.0) == ([], [])
    assert time.process_time() - worked < 2 * QUIET_WORK
    with in_thread(lambda: selector.wait(None)) as out:
        until_waiting(selector)
        worked = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - worked < 2 * QUIET_WORK
        pair[1].send(b"x")
    assert out == [([], [ops[0]])]


@rule(105)
@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_a_wait_without_time_looks_once(selector: Selector, pair: Pair, timeout: float) -> None:
    """What can be done is done by it, or by the next ones."""
    a, b = pair
    assert selector.wait(timeout) == ([], [])
    op = selector.submit(Recv(a, 1))
    assert selector.wait(timeout) == ([], [])
    b.send(b"x")
    deadline = time.monotonic() + SOON
    while not op.done:
        assert time.monotonic() < deadline
        selector.wait(timeout)
    assert op.result() == b"x"


@rule(105)
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_more_than_so_many_come_out(selector: Selector, limit: int) -> None:
    """The rest by the next waits, at once, in order."""
    ops = [selector.post(n) for n in range(5)]
    came: list[Operation] = []
    while len(came) < 5:
        started = time.monotonic()
        ready, done = selector.wait(SOON, max_events=limit)
        assert time.monotonic() - started < SOON / 2
        assert ready == []
        assert 1 <= len(done) <= limit
        came += done
    assert came == ops
    assert_nothing_done(selector)


@rule(105)
@pytest.mark.parametrize("limit", [0, -1, 1.5, "1"])
def test_a_limit_that_is_none_is_refused(selector: Selector, limit: Any) -> None:
    """ValueError or TypeError, and nothing is lost."""
    op = selector.post()
    with pytest.raises((ValueError, TypeError)):
        selector.wait(0, max_events=limit)
    assert finished(selector, op) == [op]


@rule(105)
def test_wakeup_ends_a_wait_with_operations_pending(selector: Selector, pair: Pair) -> None:
    """With nothing, and they stay pending."""
    op = selector.submit(Recv(pair[0], 1))
    for _ in range(3):
        with in_thread(lambda: selector.wait(None)) as out:
            until_waiting(selector)
            selector.wakeup()
        assert out == [([], [])]
        assert_nothing_done(selector)
    selector.wakeup()
    assert selector.wait(SOON) == ([], [])
    pair[1].send(b"x")
    assert outcome(selector, op) == b"x"


@rule(105)
def test_select_keeps_what_is_done_for_the_next_wait(selector: Selector, pair: Pair) -> None:
    """It ends when something is done, and does not spin because of what is kept."""
    a, b = pair
    op = selector.submit(Recv(a, 1))
    with in_thread(lambda: selector.select(None)) as out:
        until_waiting(selector)
        b.send(b"x")
    assert out == [[]]
    assert not op.done
    worked = time.process_time()
    for _ in range(3):
        selector.select(0.03)
    assert time.process_time() - worked < 3 * QUIET_WORK
    started = time.monotonic()
    assert selector.wait(None) == ([], [op])
    assert time.monotonic() - started < SOON
    assert op.result() == b"x"


@rule(105)
def test_what_is_kept_does_not_hide_what_is_ready(selector: Selector, pair: Pair) -> None:
    """A wait that has something to hand out tells of readiness, too."""
    a, b = pair
    key = selector.register(a, EVENT_READ)
    op = selector.post()
    assert selector.select(SOON) == []
    b.send(b"x")
    deadline = time.monotonic() + SOON
    came: Any = ([], [])
    while not (came[0] and came[1]):
        assert time.monotonic() < deadline
        ready, done = selector.wait(SOON)
        came = (came[0] or ready, came[1] + done)
    assert came == ([(key, EVENT_READ)], [op])


@rule(105)
def test_those_who_are_served_at_once_do_not_starve_the_others(
    selector: Selector, pair: Pair
) -> None:
    """A program that submits something in each round, which is done in the next, still hears what
    others send.
    """
    a, b = pair
    key = selector.register(a, EVENT_READ)
    c, d = tcp_pair()
    with c, d:
        op = selector.submit(Recv(c, 1))
        selector.post()
        b.send(b"x")
        d.send(b"y")
        seen: set[Any] = set()
        for _ in range(100):
            ready, done = selector.wait(SOON)
            seen.update([row[0] for row in ready] + done)
            if any(isinstance(other, Post) for other in done):
                selector.post()
            time.sleep(0.001)
        assert key in seen
        assert op in seen


@rule(107)
def test_what_is_posted_comes_out(selector: Selector) -> None:
    """With its data, which is its result, too; in order."""
    data = [object(), None, "text", 4]
    ops = [selector.post(item) for item in data]
    assert finished(selector, *ops) == ops
    assert [op.data for op in ops] == [op.result() for op in ops] == data
    assert all(isinstance(op, Post) for op in ops)
    again = Post(data="again")
    for _ in range(2):
        assert done_by(selector, again) == "again"
