"""C. Failures: what the kernel or an interruption may leave behind, which is nothing."""

from __future__ import annotations

import contextlib
import errno
import gc
import socket
from typing import Any

import pytest

from netcore import EVENT_READ, EVENT_WRITE, Selector
from netcore.contract import ReadinessBackend

from .rules import rule
from .system import descriptors
from .tools import SOON, assert_quiet, fill, tcp_pair

Pair = tuple[socket.socket, socket.socket]


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the test run."""


def failing(backend: type[ReadinessBackend]) -> Any:
    """``backend``, the next ``watch`` of which raises ``error`` before or after it has worked."""

    class Failing(backend):  # type: ignore[misc, valid-type]
        error: BaseException | None = None
        late = False

        def watch(self, fd: int, old: int, new: int) -> None:
            error, Failing.error = Failing.error, None
            if error and not Failing.late:
                raise error
            super().watch(fd, old, new)
            if error:
                raise error

    return Failing


def assert_consistent(selector: Selector, pair: Pair) -> None:
    """For the first of ``pair``, the kernel reports what the map says, and nothing else."""
    a, b = pair
    key = selector.get_map().get(a)
    interest = key.events if key else 0
    if not interest & EVENT_WRITE:
        assert_quiet(selector)
    b.send(b"x")
    expected = interest  # Both hold now.
    if expected:
        assert selector.select(SOON) == [(key, expected)]
    else:
        assert_quiet(selector)
    if key:
        selector.unregister(a)
    key = selector.register(a, EVENT_READ)
    assert selector.select(SOON) == [(key, EVENT_READ)]


@rule(64)
@pytest.mark.parametrize("events", [EVENT_WRITE, EVENT_READ | EVENT_WRITE, 0])
def test_a_failing_modify_keeps_the_old_key(
    backend: type[ReadinessBackend], pair: Pair, events: int
) -> None:
    """The error of the kernel comes out, and the old interest goes on in the map and in the
    kernel; the stdlib loses the registration.
    """
    make = failing(backend)
    with Selector(make) as selector:
        key = selector.register(pair[0], EVENT_READ, "old")
        make.error = OSError(errno.ENOMEM, "no memory")
        with pytest.raises(OSError, match="no memory") as raised:
            selector.modify(pair[0], events, "new")
        assert raised.value.errno == errno.ENOMEM
        assert selector.get_key(pair[0]) is key
        assert_consistent(selector, pair)


@rule(64)
def test_a_failing_register_leaves_no_trace(backend: type[ReadinessBackend], pair: Pair) -> None:
    """The error of the kernel comes out; the next attempt works."""
    make = failing(backend)
    with Selector(make) as selector:
        make.error = OSError(errno.ENOSPC, "no space")
        with pytest.raises(OSError, match="no space"):
            selector.register(pair[0], EVENT_READ)
        assert len(selector.get_map()) == 0
        assert_consistent(selector, pair)


@rule(64)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("change", ["register", "modify", "unregister"])
def test_an_interrupted_change_leaves_map_and_kernel_in_agreement(
    backend: type[ReadinessBackend], pair: Pair, change: str, late: bool
) -> None:
    """Ctrl-C comes between the system call and the line after it: then either the old key holds or
    the new one or none, but never one in the map and another in the kernel, which spins or is deaf.
    """
    make = failing(backend)
    make.late = late
    arguments = {"register": (EVENT_READ,), "modify": (EVENT_WRITE,), "unregister": ()}[change]
    with Selector(make) as selector:
        if change != "register":
            selector.register(pair[0], EVENT_READ)
        make.error = Interrupted()
        with pytest.raises(Interrupted):
            getattr(selector, change)(pair[0], *arguments)
        assert_consistent(selector, pair)


@rule(64)
def test_modify_of_a_number_that_was_closed_keeps_some_key(selector: Selector) -> None:
    """It fails with OSError and keeps the old key, or is taken (poll does not ask): no spin, and
    the number can be unregistered.
    """
    a, b = tcp_pair()
    number = a.fileno()
    key = selector.register(number, EVENT_READ)
    a.close()
    try:
        key = selector.modify(number, EVENT_READ | EVENT_WRITE)
    except OSError:
        pass  # One of the two.
    assert_quiet(selector)
    assert selector.unregister(number) is key
    b.close()


@rule(64)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.filterwarnings("error")
def test_a_selector_that_cannot_be_made_leaves_nothing_open(
    backend: type[ReadinessBackend], late: bool
) -> None:
    """With the descriptors used up (EMFILE), nothing is held and nothing is said at collection."""
    make = failing(backend)
    make.late = late
    gc.collect()
    before = descriptors()
    for _ in range(3):
        make.error = OSError(errno.EMFILE, "too many")
        with contextlib.suppress(OSError):
            Selector(make).close()  # One that wakes natively has nothing to watch yet.
    gc.collect()
    assert not descriptors().keys() - before.keys()  # Others may have gone meanwhile.


@rule(64)
def test_a_full_buffer_is_no_reason_to_spin_after_modify(selector: Selector, pair: Pair) -> None:
    """What was asked for last is what is watched: no old interest stays in the kernel."""
    a, _ = pair
    selector.register(a, EVENT_READ | EVENT_WRITE)
    fill(a)
    selector.modify(a, EVENT_READ)
    assert_quiet(selector)
    for events in (EVENT_WRITE, EVENT_READ) * 20:
        selector.modify(a, events)
    assert_quiet(selector)
