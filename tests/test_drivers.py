"""Readiness over completion, call by call, on a backend that does what the test says."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable

import pytest

from netcore import EVENT_HANGUP, EVENT_PRIORITY, EVENT_READ, EVENT_WRITE, ONESHOT
from netcore._drivers import ReadinessOverCompletion, readiness_over
from netcore._loader import load
from netcore.contract import CLOSED, CONDITIONS, EDGE, FAILED, WOKEN, CompletionBackend
from netcore.operations import Operation, Poll

Both = EVENT_READ | EVENT_WRITE
Call = tuple[str, int, int]


class Scripted(CompletionBackend):
    """Notes every call; what is done is what the test says."""

    name = "scripted"
    supports = CONDITIONS
    needs = "nothing"
    scalable = True
    max_descriptors = 1000

    @classmethod
    def available(cls) -> bool:
        return True

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.in_flight: list[Poll] = []
        self.packets: list[list[Operation]] = []
        #: Called in ``wait`` or ``submit``, and perhaps raises.
        self.during_wait: Callable[[], object] | None = None
        self.during_submit: Callable[[Poll], object] | None = None
        self.waits: list[tuple[float | None, int | None]] = []

    def check(self, fd: int) -> None:
        self.calls.append(("check", fd, 0))
        if fd == 666:
            raise OSError(errno.EBADF, "closed")

    def submit(self, operation: Operation) -> None:
        assert isinstance(operation, Poll)
        assert not operation.in_flight
        assert operation.fd not in [poll.fd for poll in self.in_flight], "two polls"
        self.calls.append(("submit", operation.fd, operation.events))
        if self.during_submit:
            self.during_submit(operation)
        operation.in_flight, operation.found = True, 0
        self.in_flight.append(operation)

    def cancel(self, operation: Operation) -> None:
        self.calls.append(("cancel", operation.fd, 0))

    def wait(self, timeout: float | None, limit: int | None = None) -> list[Operation]:
        self.waits.append((timeout, limit))
        during, self.during_wait = self.during_wait, None
        if during:
            during()
        return self.packets.pop(0) if self.packets else []

    def wake(self) -> None:
        self.calls.append(("wake", 0, 0))

    def close(self) -> None:
        self.calls.append(("close", 0, 0))

    # -- for the tests

    def ends(self, fd: int, found: int = 0) -> None:
        """The poll of ``fd`` is done; the next ``wait`` without a packet hands it out."""
        self.packets.append([self.finished(fd, found)])

    def finished(self, fd: int, found: int = 0) -> Poll:
        (poll,) = (poll for poll in self.in_flight if poll.fd == fd)
        self.in_flight.remove(poll)
        poll.in_flight, poll.found = False, found
        return poll

    def said(self) -> list[Call]:
        """The calls since the last question."""
        said, self.calls = self.calls, []
        return said


@pytest.fixture
def driver() -> ReadinessOverCompletion:
    return readiness_over(Scripted)()


@pytest.fixture
def native(driver: ReadinessOverCompletion) -> Scripted:
    assert isinstance(driver._native, Scripted)
    return driver._native


def test_the_class_says_what_the_native_one_says() -> None:
    """And one-shot is the driver's own; a name that other processes understand."""
    made = load(Scripted)
    assert made is readiness_over(Scripted)
    assert (made.name, made.supports, made.scalable) == ("scripted", CONDITIONS | ONESHOT, True)
    assert (made.live, made.wakes, made.max_descriptors) == (True, True, 1000)
    assert (made.__module__, made.__qualname__) == (Scripted.__module__, "Scripted")
    assert not made.supports & EDGE


def test_nothing_is_submitted_before_there_is_a_wait(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """Changes between two waits cost nothing; only whether it can be watched is asked at once."""
    driver.watch(5, 0, EVENT_READ)
    driver.watch(5, EVENT_READ, Both)
    assert native.said() == [("check", 5, 0)]
    assert driver.wait(0) == []
    assert native.said() == [("submit", 5, Both)]


def test_what_cannot_be_watched_is_refused_at_once_and_leaves_no_trace(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    for events in (EVENT_READ, 0):
        with pytest.raises(OSError, match="closed"):
            driver.watch(666, 0, events)
    driver.wait(0)
    assert native.said() == [("check", 666, 0)] * 2


def test_what_was_told_is_asked_again_by_the_next_wait(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """Level-triggered, with one call for each time."""
    driver.watch(5, 0, EVENT_READ)
    for _ in range(3):
        native.during_wait = lambda: native.ends(5, EVENT_READ)
        assert driver.wait(1) == [(5, EVENT_READ)]
    assert native.said() == [("check", 5, 0), *[("submit", 5, EVENT_READ)] * 3]


def test_a_poll_that_waits_is_left_alone(driver: ReadinessOverCompletion, native: Scripted) -> None:
    driver.watch(5, 0, EVENT_READ)
    for _ in range(3):
        driver.wait(0)
    assert native.said() == [("check", 5, 0), ("submit", 5, EVENT_READ)]


def test_a_wider_interest_cancels_and_waits_for_the_packet(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """Two polls of one socket are never in flight; what the cancelled one says is not told."""
    driver.watch(5, 0, EVENT_READ)
    driver.wait(0)
    driver.watch(5, EVENT_READ, Both)
    driver.wait(1)
    assert native.said()[-1] == ("cancel", 5, 0)
    driver.wait(1)
    assert native.said() == []
    native.ends(5, EVENT_READ)  # The cancel came too late.
    assert driver.wait(1) == []
    assert driver.wait(1) == []
    assert native.said() == [("submit", 5, Both)]


def test_a_narrower_interest_leaves_the_wider_poll(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """What nobody wants is left out; if that is all there was, it is asked again at once."""
    driver.watch(5, 0, Both)
    driver.wait(0)
    driver.watch(5, Both, EVENT_READ)
    native.ends(5, EVENT_WRITE)
    assert driver.wait(0) == []
    assert native.said() == [
        ("check", 5, 0),
        ("submit", 5, Both),
        ("submit", 5, EVENT_READ),
    ]


def test_one_shot_is_one_answer_until_it_is_watched_again(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    driver.watch(5, 0, Both | ONESHOT)
    driver.wait(0)
    native.ends(5, EVENT_WRITE)
    assert driver.wait(1) == [(5, EVENT_WRITE)]
    native.said()
    assert driver.wait(1) == []
    assert native.said() == []
    driver.watch(5, Both | ONESHOT, Both | ONESHOT)
    driver.wait(0)
    assert native.said() == [("submit", 5, Both)]


def test_a_parked_descriptor_is_cancelled_and_forgotten(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    driver.watch(5, 0, EVENT_READ)
    driver.wait(0)
    driver.watch(5, EVENT_READ, 0)
    assert native.said()[-1] == ("cancel", 5, 0)
    native.ends(5, EVENT_READ)
    assert driver.wait(0) == []
    assert native.said() == []
    assert not driver._watches
    assert not driver._dirty


def test_a_number_that_is_used_again_waits_for_the_old_poll(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """It may be the same socket (wepoll#35), or another; the old result is not the new one's, and
    what the backend knew of the old socket is forgotten.
    """
    driver.watch(5, 0, EVENT_READ)
    driver.wait(0)
    native.in_flight[0].native = "the old socket"
    driver.watch(5, EVENT_READ, 0)
    driver.watch(5, 0, EVENT_READ)
    native.said()
    driver.wait(1)
    assert native.said() == []
    native.ends(5, CLOSED)
    assert driver.wait(1) == []
    driver.wait(1)
    assert native.said() == [("submit", 5, EVENT_READ)]
    assert native.in_flight[0].native is None
    native.ends(5, EVENT_READ)
    assert driver.wait(1) == [(5, EVENT_READ)]


def test_changes_reach_a_wait_that_is_running(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    driver.watch(6, 0, EVENT_READ)
    driver.wait(0)
    native.said()

    def change() -> None:
        driver.watch(5, 0, EVENT_READ)
        driver.watch(6, EVENT_READ, Both)
        assert native.said() == [("check", 5, 0), ("submit", 5, EVENT_READ), ("cancel", 6, 0)]

    native.during_wait = change
    driver.wait(None)
    assert native.said() == []


def test_a_change_that_fails_in_a_running_wait_is_undone(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """OSError, and the old interest goes on."""
    driver.watch(5, 0, EVENT_READ | ONESHOT)
    driver.wait(0)
    native.ends(5, EVENT_READ)

    def fail(poll: Poll) -> None:
        raise OSError(errno.ENOBUFS, "no memory")

    def change() -> None:
        native.during_submit = fail
        with pytest.raises(OSError, match="no memory"):
            driver.watch(7, 0, EVENT_READ)
        native.during_submit = None

    native.during_wait = change
    assert driver.wait(1) == [(5, EVENT_READ)]
    native.said()
    driver.wait(0)
    assert native.said() == []
    assert not driver._watches.get(7) or not driver._watches[7].wanted


@pytest.mark.parametrize("late", [False, True])
def test_a_closed_socket_leaves(
    driver: ReadinessOverCompletion, native: Scripted, late: bool
) -> None:
    """Whether the poll says so or the attempt to submit one; it is told once."""

    def closed(poll: Poll) -> None:
        raise OSError(10038, "no socket")

    driver.watch(5, 0, EVENT_READ)
    if late:
        driver.wait(0)
        native.ends(5, CLOSED)
    else:
        native.during_submit = closed
    assert driver.wait(1) == [(5, CLOSED)]
    native.said()
    assert driver.wait(0) == []
    assert native.said() == []
    driver.watch(5, EVENT_READ, 0)
    assert not driver._watches


def test_a_poll_that_cannot_be_submitted_is_told_as_a_failure(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """Nobody goes deaf; and it is tried again."""

    def fail(poll: Poll) -> None:
        raise OSError(errno.ENOBUFS, "no memory")

    driver.watch(5, 0, EVENT_READ)
    native.during_submit = fail
    assert driver.wait(1) == driver.wait(1) == [(5, EVENT_READ)]
    native.during_submit = None
    assert driver.wait(0) == []
    native.ends(5, FAILED)
    assert driver.wait(0) == [(5, EVENT_READ)]


def test_what_failed_is_told_as_what_was_asked(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """Rather than spin: a system may tell of an error to those who asked for something else."""
    driver.watch(5, 0, EVENT_PRIORITY)
    driver.wait(0)
    native.ends(5, Both | EVENT_HANGUP | FAILED)
    assert driver.wait(1) == [(5, EVENT_PRIORITY)]


def test_waking_is_native(driver: ReadinessOverCompletion, native: Scripted) -> None:
    """Before a wait or in it; several are one."""
    driver.wake()
    driver.wake()
    assert driver.wait(1) == [(WOKEN, 0)]
    assert driver.wait(0) == []
    native.during_wait = driver.wake
    assert driver.wait(1) == [(WOKEN, 0)]
    assert native.said() == [("wake", 0, 0)] * 3


def test_only_stale_results_do_not_end_a_wait_of_no_time(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """What is ready may be queued behind them."""
    for fd in (5, 6):
        driver.watch(fd, 0, EVENT_READ)
    driver.wait(0)
    driver.watch(5, EVENT_READ, 0)
    native.ends(5)
    native.ends(6, EVENT_READ)
    assert driver.wait(0) == [(6, EVENT_READ)]


def test_the_limit_is_passed_on(driver: ReadinessOverCompletion, native: Scripted) -> None:
    driver.wait(2, 3)
    assert native.waits == [(2, 3)]


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the test run."""


def interrupt(*_: object) -> None:
    raise Interrupted


def test_what_an_interrupted_wait_had_in_hand_is_asked_again(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    """The packet is gone, but the operation says that it is done."""
    driver.watch(5, 0, EVENT_READ)
    driver.wait(0)

    def lose() -> None:
        native.finished(5, EVENT_READ)
        interrupt()

    native.during_wait = lose
    with pytest.raises(Interrupted):
        driver.wait(None)
    native.said()
    driver.wait(0)
    assert native.said() == [("submit", 5, EVENT_READ)]


@pytest.mark.parametrize("started", [False, True])
def test_an_interrupted_submit_is_repeated(
    driver: ReadinessOverCompletion, native: Scripted, started: bool
) -> None:
    """If it may be in flight, by another operation: the first is cancelled and counts no more."""

    def begin(poll: Poll) -> None:
        poll.in_flight = started
        interrupt()

    driver.watch(5, 0, EVENT_READ)
    native.during_submit = begin
    with pytest.raises(Interrupted):
        driver.wait(None)
    native.during_submit = None
    driver.wait(0)
    cancel = [("cancel", 5, 0)] if started else []
    submit = ("submit", 5, EVENT_READ)
    assert native.said() == [("check", 5, 0), submit, *cancel, submit]


def test_other_operations_are_nobody_s_event(
    driver: ReadinessOverCompletion, native: Scripted
) -> None:
    native.packets.append([Poll(9)])
    assert driver.wait(1) == []


def test_no_import_needs_cffi() -> None:
    """It is a dependency on Windows only, and slow to import."""
    modules = ["_abi", "_winsock", "_port", "_helper", "_sockets", "_afd", "_backend"]
    code = f"""
import sys, netcore
from importlib import import_module
for name in {modules}:
    import_module("netcore.backends.iocp." + name)
netcore.available_backends()
sys.exit("cffi" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
