"""D. Time: a wait is never shorter than asked for, and hardly longer."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from netcore import EVENT_READ, Selector
from netcore.contract import ReadinessBackend

from .rules import rule
from .tools import SOON, assert_quiet, in_thread, until_waiting

Pair = tuple[socket.socket, socket.socket]


def duration(selector: Selector, timeout: Any) -> float:
    """How long a wait without events takes."""
    started = time.monotonic()
    assert selector.select(timeout) == []
    return time.monotonic() - started


def least(function: Callable[[], float], enough: float, times: int = 10) -> float:
    """The least of some measurements, as the machine has other things to do; ``enough`` ends it."""
    measured = []
    for _ in range(times):
        measured.append(function())
        if measured[-1] < enough:
            break
    return min(measured)


@rule(65)
def test_a_wait_without_timeout_ends_with_the_first_event(selector: Selector, pair: Pair) -> None:
    """Not before it, and soon after it."""
    key = selector.register(pair[0], EVENT_READ)

    def send() -> float:
        until_waiting(selector)
        time.sleep(0.1)
        sent = time.monotonic()
        pair[1].send(b"x")
        return sent

    with in_thread(send) as sent:
        assert selector.select(None) == [(key, EVENT_READ)]
        received = time.monotonic()
    assert 0 <= received - sent[0] < 1


@rule(65)
def test_a_wait_without_timeout_is_the_default(selector: Selector, pair: Pair) -> None:
    """``select()`` waits; a backend that takes "no timeout" for 0 comes back at once."""
    key = selector.register(pair[0], EVENT_READ)
    with in_thread(lambda: selector.select()) as outcome:
        until_waiting(selector)
        assert outcome == []
        pair[1].send(b"x")
    assert outcome == [[(key, EVENT_READ)]]


@rule(66)
@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("timeout", [0, -1, 0.0, -0.0, -0.001, -1e20, float("-inf"), False])
def test_a_timeout_of_zero_or_less_does_not_wait(
    selector: Selector, pair: Pair, timeout: float, registered: bool
) -> None:
    """Negative is not for ever, as it is to poll(2) and epoll_wait(2)."""
    if registered:
        selector.register(pair[0], EVENT_READ)
    assert least(lambda: duration(selector, timeout), 0.05) < 0.05


@rule(66)
def test_a_timeout_of_zero_reports_what_is_ready(selector: Selector, pair: Pair) -> None:
    """Not to wait is not the same as not to look."""
    key = selector.register(pair[0], EVENT_READ)
    pair[1].send(b"x")
    selector.select(SOON)
    for timeout in (0, -1):
        assert selector.select(timeout) == [(key, EVENT_READ)]


ODD = [0.0001, 0.0005, 0.001, 0.00100001, 0.0015, 0.003, 0.009, 0.0099999, 0.01, 0.0101, 0.0155]
ODD += [0.0157, 0.029, 0.0315, 0.0575, 0.1, 1 / 30, 1 / 7 / 3]


@rule(67)
@pytest.mark.parametrize("timeout", [*ODD, 0.2])
def test_a_wait_is_never_early_and_hardly_late(
    selector: Selector, pair: Pair, timeout: float
) -> None:
    """Kernels that count in milliseconds or ticks round down; a program whose timer is not due yet
    then asks again and again.
    """
    selector.register(pair[0], EVENT_READ)
    latest = timeout + selector.timeout_granularity + 0.5
    assert timeout <= least(lambda: duration(selector, timeout), latest) <= latest


@rule(67)
def test_no_wait_of_many_is_early(selector: Selector, pair: Pair) -> None:
    """The clock stands anywhere in its tick when a wait begins."""
    selector.register(pair[0], EVENT_READ)
    for i in range(100):
        timeout = 0.0005 + i * 0.000037
        assert duration(selector, timeout) >= timeout


@rule(67)
@pytest.mark.parametrize("timeout", [1, True, Fraction(1, 50), 0.02])
def test_every_real_number_is_a_timeout(selector: Selector, timeout: Any) -> None:
    """Integers and fractions wait as floats do."""
    if timeout is not True and timeout != 1:
        assert duration(selector, timeout) >= timeout
    else:
        selector.wakeup()
        assert selector.select(timeout) == []


@rule(67)
def test_a_wait_with_changes_in_it_ends_in_time(selector: Selector, pair: Pair) -> None:
    """A change wakes a backend that is not live: the time that has gone by counts, else the wait
    lasts as long as there are changes, or ends with the first.
    """
    a, b = pair
    selector.register(a, EVENT_READ)
    over = threading.Event()

    def change() -> None:
        while not over.wait(0.002):
            selector.register(b, EVENT_READ)
            selector.modify(a, EVENT_READ, object())
            selector.unregister(b)

    with in_thread(change) as outcome:
        try:
            latest = 0.2 + selector.timeout_granularity + 0.5
            assert 0.2 <= least(lambda: duration(selector, 0.2), latest, 3) <= latest
        finally:
            over.set()
    assert outcome == [None]


@rule(68)
def test_a_short_wait_is_late_by_the_granularity_at_most(selector: Selector, pair: Pair) -> None:
    """What ``timeout_granularity`` declares is true; half a millisecond is never none."""
    selector.register(pair[0], EVENT_READ)
    measured = [duration(selector, 0.0005) for _ in range(50)]
    assert min(measured) >= 0.0005
    assert 0 < selector.timeout_granularity < 0.1
    assert statistics.median(measured) <= 0.0005 + selector.timeout_granularity + 0.02


@rule(69)
@pytest.mark.parametrize("timeout", [0.0005, 0.05, 0.2])
def test_an_empty_selector_sleeps(selector: Selector, timeout: float) -> None:
    """For the whole timeout; Winsock's select() refuses to wait for nothing."""
    assert duration(selector, timeout) >= timeout
    if timeout >= 0.05:
        assert_quiet(selector, timeout)


@rule(69)
def test_a_selector_that_is_empty_again_sleeps(selector: Selector, pair: Pair) -> None:
    """Also with all that is registered parked."""
    selector.register(pair[0], EVENT_READ)
    pair[1].send(b"x")
    selector.select(SOON)
    selector.modify(pair[0], 0)
    assert_quiet(selector)
    selector.unregister(pair[0])
    assert_quiet(selector)


HUGE = [float("inf"), 1e20, 1e300, 1 << 31, (1 << 31) / 1000, 1 << 32, 1 << 63, 1 << 64, 10**400]


@rule(70)
@pytest.mark.parametrize("timeout", HUGE, ids=[f"{value:.30}"[:12] for value in map(str, HUGE)])
def test_a_huge_timeout_is_as_good_as_none(selector: Selector, timeout: float) -> None:
    """No OverflowError and no wrap-around to "at once"; ``wakeup`` ends it."""
    with in_thread(lambda: selector.select(timeout)) as outcome:
        until_waiting(selector)
        assert outcome == []
        selector.wakeup()
    assert outcome == [[]]


@rule(70)
@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (float("nan"), ValueError),
        ("1", TypeError),
        (b"1", TypeError),
        ([1], TypeError),
        (1j, TypeError),
        (object(), TypeError),
        (Decimal("nan"), (TypeError, ValueError)),
    ],
)
def test_what_is_no_time_is_refused(
    selector: Selector, pair: Pair, timeout: Any, error: Any, registered: bool
) -> None:
    """ValueError for NaN, TypeError for no number, also with an event there; then the selector
    works as before.
    """
    if registered:
        selector.register(pair[0], EVENT_READ)
        pair[1].send(b"x")
    with pytest.raises(error):
        selector.select(timeout)
    if registered:
        assert len(selector.select(SOON)) == 1
    else:
        assert_quiet(selector, 0.02)


@rule(68)
def test_the_granularity_is_that_of_the_backend(
    selector: Selector, backend: type[ReadinessBackend]
) -> None:
    """The selector passes it on, so that a program can choose its timers by it."""
    assert selector.timeout_granularity == backend.timeout_granularity
