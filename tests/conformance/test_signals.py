"""D. Signals: they are handled at once, and a wait goes on as if nothing had been."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from netcore import EVENT_READ, EVENT_WRITE, Selector
from netcore.contract import ReadinessBackend

from .rules import rule
from .system import path_of, signals
from .tools import SOON, assert_quiet, in_thread, until_waiting

Pair = tuple[socket.socket, socket.socket]


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the test run."""


def interrupt() -> None:
    raise Interrupted


@rule(71, platform="unix")
@pytest.mark.parametrize("registered", [False, True])
def test_a_signal_does_not_shorten_a_wait(selector: Selector, pair: Pair, registered: bool) -> None:
    """Handlers run while we wait (PEP 475), and the deadline stays where it was."""
    if registered:
        selector.register(pair[0], EVENT_READ)
    seen: list[float] = []
    with signals(selector, lambda: seen.append(time.monotonic()), times=5):
        started = time.monotonic()
        assert selector.select(0.3) == []
        ended = time.monotonic()
    assert 0.3 <= ended - started < 1.3
    assert seen
    assert seen[0] < ended, "the handlers ran after the wait"


@rule(71, platform="unix")
def test_a_signal_does_not_end_a_wait_without_timeout(selector: Selector, pair: Pair) -> None:
    """Nor does it lose the event that comes after it."""
    key = selector.register(pair[0], EVENT_READ)
    seen = []

    def handler() -> None:
        seen.append(1)
        if len(seen) == 3:
            pair[1].send(b"x")

    with signals(selector, handler, times=3):
        assert selector.select(None) == [(key, EVENT_READ)]
    assert len(seen) == 3


@contextmanager
def timer(interval: float, handler: Callable[[], object]) -> Iterator[None]:
    """SIGALRM calls ``handler`` every ``interval`` seconds; then what was there before."""
    if not hasattr(signal, "setitimer"):
        pytest.skip("rule 71: no setitimer() here")
    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    left, every = signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, interval, interval)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            left = max(left - (time.monotonic() - started), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left, every)


@rule(71, platform="unix")
@pytest.mark.parametrize("timeout", [0.0101, 0.0575, 0.1])
def test_a_storm_of_signals_neither_shortens_nor_prolongs_a_wait(
    selector: Selector, timeout: float
) -> None:
    """More than one a millisecond: whoever begins again with the whole timeout, or rounds up each
    time, never comes back; whoever rounds down comes back early.
    """
    seen: list[None] = []
    with timer(0.0007, lambda: seen.append(None)):
        for _ in range(2):
            started = time.monotonic()
            assert selector.select(timeout) == []
            assert timeout <= time.monotonic() - started < timeout + 1
    assert len(seen) > 3


@rule(72, platform="unix")
@pytest.mark.parametrize("timeout", [None, 2 * SOON])
def test_an_exception_of_a_signal_handler_ends_the_wait(
    selector: Selector, pair: Pair, timeout: float | None
) -> None:
    """That very exception, soon; afterwards everything works, again and again."""
    raised = Interrupted()

    def handler() -> None:
        raise raised

    key = selector.register(pair[0], EVENT_READ)
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(Interrupted) as caught, signals(selector, handler):
            selector.select(timeout)
        assert caught.value is raised
        assert time.monotonic() - started < SOON
        assert_quiet(selector)
    selector.modify(pair[0], EVENT_READ | EVENT_WRITE)
    key = selector.modify(pair[0], EVENT_READ, "data")
    with in_thread(lambda: selector.select(SOON)) as outcome:
        until_waiting(selector)
        pair[1].send(b"x")
    assert outcome == [[(key, EVENT_READ)]]
    pair[0].recv(1)
    selector.wakeup()
    assert selector.select(SOON) == []
    assert selector.unregister(pair[0]) is key


@rule(72, platform="unix")
def test_the_selector_can_be_closed_after_an_exception_of_a_signal_handler(
    selector: Selector,
) -> None:
    """Nobody waits any more: ``close`` does not count on the waiting thread to finish it."""
    with pytest.raises(Interrupted), signals(selector, interrupt):
        selector.select(None)
    selector.close()
    with pytest.raises(RuntimeError):
        selector.select(0)


@rule(80, platform="unix")
def test_close_in_a_signal_handler_ends_the_wait(selector: Selector, pair: Pair) -> None:
    """The thread that waits closes under its own feet: RuntimeError, no deadlock."""
    selector.register(pair[0], EVENT_READ)
    with pytest.raises(RuntimeError), signals(selector, selector.close):
        selector.select(None)
    with pytest.raises(RuntimeError):
        selector.get_map()


@rule(83, platform="unix")
def test_wakeup_in_a_signal_handler_ends_the_wait(selector: Selector, pair: Pair) -> None:
    """What an event loop does to have its own signal handlers run (set_wakeup_fd)."""
    selector.register(pair[0], EVENT_READ)
    for _ in range(3):
        with signals(selector, selector.wakeup):
            assert selector.select(None) == []
    assert_quiet(selector)


@rule(83, platform="unix")
def test_changes_in_a_signal_handler_reach_the_wait(selector: Selector, pair: Pair) -> None:
    """A handler may do what another thread may: the locks are ours already, or free."""
    a, b = pair
    selector.register(b, EVENT_READ)
    with signals(selector, lambda: selector.register(a, EVENT_WRITE)):
        assert selector.select(SOON) == [(selector.get_key(a), EVENT_WRITE)]
    selector.unregister(a)
    with signals(selector, lambda: selector.modify(b, EVENT_WRITE, "changed")):
        assert selector.select(SOON) == [(selector.get_key(b), EVENT_WRITE)]


@rule(83, platform="unix")
def test_wakeup_in_a_signal_handler_may_come_at_any_moment(selector: Selector, pair: Pair) -> None:
    """Also in the midst of ``wakeup``, ``register`` and ``select``: no deadlock, no exception, and
    every wait ends, as there is one more wake-up for each.
    """
    a, _ = pair
    deadline = time.monotonic() + 0.3
    with timer(0.0003, selector.wakeup):
        while time.monotonic() < deadline:
            selector.register(a, EVENT_READ)
            selector.wakeup()
            assert selector.select(SOON) == []
            selector.modify(a, 0)
            selector.unregister(a)
            started = time.monotonic()
            assert selector.select(SOON) == []
            assert time.monotonic() - started < SOON / 2, "a wake-up was lost"
    selector.wakeup()
    assert selector.select(SOON) == []
    assert_quiet(selector)


WITH_A_CONSOLE = """
import ctypes, sys, threading, time
import netcore
kernel32 = ctypes.windll.kernel32
kernel32.SetConsoleCtrlHandler(None, False)  # Not ignored, whatever the parent does.
selector = netcore.Selector(sys.argv[1])
def press():
    deadline = time.monotonic() + 10
    while not selector._waiting and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.2)
    assert kernel32.GenerateConsoleCtrlEvent(0, 0), ctypes.GetLastError()
threading.Thread(target=press, daemon=True).start()
try:
    selector.select(None)
except KeyboardInterrupt:
    print("interrupted")
selector.close()
"""


@rule(73, platform="windows")
def test_control_c_ends_the_wait_of_the_main_thread(backend: type[ReadinessBackend]) -> None:
    """KeyboardInterrupt soon, though the kernel does not wake the main thread for it.

    In a process with a console of its own, which alone gets the CTRL_C_EVENT.
    """
    done = subprocess.run(
        [sys.executable, "-c", WITH_A_CONSOLE, path_of(backend)],
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        capture_output=True,
        text=True,
        timeout=4 * SOON,
        check=False,
    )
    assert done.stdout.split() == ["interrupted"], done.stderr
