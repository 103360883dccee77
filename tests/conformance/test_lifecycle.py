"""C. Life cycle: closing, collecting, leaking, and what other processes get."""

from __future__ import annotations

import gc
import socket
import sys
import warnings
from collections.abc import Callable

import pytest

from netcore import EVENT_READ, EVENT_WRITE, Selector
from netcore.contract import ReadinessBackend

from .rules import rule
from .system import descriptors
from .tools import SOON, Subject, events_for

Pair = tuple[socket.socket, socket.socket]


@rule(57)
def test_close_is_idempotent_and_leaves_the_sockets_open(
    subject: Subject, selector: Selector, pair: Pair
) -> None:
    """The registered files are the user's; what the selector opened itself is gone."""
    selector.register(pair[0], EVENT_READ)
    selector.close()
    selector.close()
    pair[1].send(b"x")
    other = subject.new()
    other.register(pair[0], EVENT_READ)
    assert events_for(other, pair[0]) == EVENT_READ
    assert pair[0].recv(2) == b"x"


@rule(57)
@pytest.mark.parametrize("used", [False, True])
def test_close_gives_every_descriptor_back(
    backend: type[ReadinessBackend], pair: Pair, used: bool
) -> None:
    """Those of the backend and those of the wake-up channel, by ``close`` itself and not by the
    collector.
    """
    before = descriptors()
    selector = Selector(backend)
    if used:
        selector.register(pair[0], EVENT_READ | EVENT_WRITE)
        selector.wakeup()
        selector.select(0)
    selector.close()
    assert not descriptors().keys() - before.keys()  # Others may have gone meanwhile.


AFTER_CLOSE: dict[str, Callable[[Selector, socket.socket], object]] = {
    "register": lambda selector, sock: selector.register(sock, EVENT_READ),
    "register 0": lambda selector, sock: selector.register(sock, 0),
    "modify": lambda selector, sock: selector.modify(sock, EVENT_WRITE),
    "modify data": lambda selector, sock: selector.modify(sock, EVENT_READ, "data"),
    "unregister": lambda selector, sock: selector.unregister(sock),
    "unregister number": lambda selector, sock: selector.unregister(sock.fileno()),
    "select": lambda selector, sock: selector.select(),
    "select 0": lambda selector, sock: selector.select(0),
    "select max_events": lambda selector, sock: selector.select(0.1, max_events=1),
    "get_key": lambda selector, sock: selector.get_key(sock),
    "get_key number": lambda selector, sock: selector.get_key(sock.fileno()),
    "get_map": lambda selector, sock: selector.get_map(),
    "wakeup": lambda selector, sock: selector.wakeup(),
    "fileno": lambda selector, sock: selector.fileno(),
    "with": lambda selector, sock: selector.__enter__(),
}


@rule(57)
@pytest.mark.parametrize("method", AFTER_CLOSE)
def test_a_closed_selector_raises_runtime_error(
    selector: Selector, pair: Pair, method: str
) -> None:
    """Every method, at once and every time; a mapping that was obtained before is empty."""
    selector.register(pair[0], EVENT_READ)
    found = selector.get_map()
    selector.close()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            AFTER_CLOSE[method](selector, pair[0])
    assert (len(found), list(found), pair[0] in found) == (0, [], False)
    with pytest.raises(KeyError):
        found[pair[0]]


@rule(58)
def test_the_context_manager_closes(subject: Subject) -> None:
    """Its value is the selector, which is closed after the block and after an exception in it."""
    selector = subject.new()
    with selector as entered:
        assert entered is selector
    with pytest.raises(RuntimeError):
        selector.get_map()
    selector = subject.new()
    with pytest.raises(ZeroDivisionError), selector:
        raise ZeroDivisionError
    with pytest.raises(RuntimeError):
        selector.get_map()


@rule(59)
def test_making_and_closing_selectors_leaks_nothing(
    backend: type[ReadinessBackend], pair: Pair
) -> None:
    """2000 of them, some used: as many descriptors as before."""
    before = len(descriptors())
    for i in range(2000):
        with Selector(backend) as selector:
            if i % 4 == 0:
                selector.register(pair[0], EVENT_WRITE)
                selector.wakeup()
                selector.select(0)
    assert len(descriptors()) <= before


def blocks() -> int:
    """How many pieces of memory Python holds, where it counts them (PyPy does not)."""
    gc.collect()
    return sys.getallocatedblocks() if hasattr(sys, "getallocatedblocks") else 0


def assert_flat(step: Callable[[], object], times: int = 10_000) -> None:
    """After some practice, ``step`` takes neither memory nor descriptors."""
    for _ in range(200):
        step()
    held, opened = blocks(), len(descriptors())
    for _ in range(times):
        step()
    assert len(descriptors()) <= opened
    assert blocks() - held < times // 20, "memory grows"


@rule(60)
def test_waiting_leaks_nothing(selector: Selector, pair: Pair) -> None:
    """10 000 waits for one event."""
    selector.register(pair[0], EVENT_READ | EVENT_WRITE)
    pair[1].send(b"x")
    assert_flat(lambda: selector.select(SOON))


@rule(60)
def test_registering_leaks_nothing(selector: Selector, pair: Pair) -> None:
    """10 000 times, with a change and a wait that finds nothing any more."""

    def step() -> None:
        selector.register(pair[0], EVENT_READ, object())
        selector.modify(pair[0], EVENT_WRITE, object())
        selector.unregister(pair[0])

    assert_flat(step)
    assert selector.select(0) == []


@rule(60)
def test_wakeups_and_files_closed_too_early_leak_nothing(selector: Selector) -> None:
    """1000 sockets that were closed while registered, half of them never unregistered."""

    def step() -> None:
        for unregister in (False, True):
            one, other = socket.socketpair()
            selector.register(one, EVENT_READ)
            one.close()
            other.close()
            if unregister:
                selector.unregister(one)
            selector.wakeup()
            assert selector.select(SOON) == []

    assert_flat(step, 500)


@rule(61)
def test_descriptors_are_not_inherited(backend: type[ReadinessBackend], pair: Pair) -> None:
    """A program that is started gets none of ours (PEP 446)."""
    before = descriptors()
    with Selector(backend) as selector:
        selector.register(pair[0], EVENT_READ | EVENT_WRITE)
        selector.wakeup()
        selector.select(0)
        ours = {fd: kept for fd, kept in descriptors().items() if fd not in before}
    assert not any(ours.values()), f"inheritable: {ours}"


@rule(62)
def test_an_unclosed_selector_says_so_and_is_closed(
    backend: type[ReadinessBackend], pair: Pair
) -> None:
    """ResourceWarning, as from an unclosed socket; the registered sockets stay open."""
    gc.collect()
    before = descriptors()
    selector = Selector(backend)
    selector.register(pair[0], EVENT_READ)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del selector
        gc.collect()
        gc.collect()  # PyPy.
    ours = [str(warning.message) for warning in caught if warning.category is ResourceWarning]
    assert len(ours) == 1
    assert "unclosed" in ours[0]
    assert not descriptors().keys() - before.keys()  # Others may have gone meanwhile.
    pair[1].send(b"x")
    with Selector(backend) as other:
        other.register(pair[0], EVENT_READ)
        assert events_for(other, pair[0]) == EVENT_READ


@rule(62)
def test_a_closed_selector_is_collected_in_silence(
    backend: type[ReadinessBackend], pair: Pair
) -> None:
    """No warning, no exception that nobody can catch, also if it could not be made at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        selector = Selector(backend)
        selector.register(pair[0], EVENT_READ)
        selector.close()
        del selector
        with pytest.raises(ValueError, match="no such backend"):
            Selector("no such backend")
        gc.collect()
