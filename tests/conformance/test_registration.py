"""C. Registration: what is watched, under which key, and what becomes of a closed object."""

from __future__ import annotations

import socket
from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest

from netcore import EDGE, EVENT_READ, EVENT_WRITE, ONESHOT, Selector, SelectorKey

from .rules import rule
from .system import pair_with_number
from .tools import SOON, Subject, arrived, assert_quiet, events_for, tcp_pair, wait_until

Pair = tuple[socket.socket, socket.socket]


class Numbered:
    """An object with ``fileno()``, of which there may be several with one number."""

    def __init__(self, number: Any) -> None:
        self.number = number

    def fileno(self) -> Any:
        return self.number


@rule(45)
def test_register_returns_a_key_that_is_found_by_object_and_by_number(
    selector: Selector, pair: Pair
) -> None:
    """The key says what was registered: object, descriptor, events and data, the very same."""
    a, b = pair
    data = object()
    key = selector.register(a, EVENT_READ, data)
    assert isinstance(key, SelectorKey)
    assert key == (a, a.fileno(), EVENT_READ, data)
    assert selector.get_key(a) is selector.get_key(a.fileno()) is key
    assert selector.register(b.fileno(), EVENT_WRITE) == (b.fileno(), b.fileno(), EVENT_WRITE, None)
    assert selector.get_key(b).fileobj == b.fileno()
    assert selector.unregister(a) is key


@rule(45)
def test_the_map_is_live_and_read_only(selector: Selector, pair: Pair) -> None:
    """One mapping follows every change; programs keep it (asyncio asks it before each change)."""
    a, b = pair
    found = selector.get_map()
    assert isinstance(found, Mapping)
    assert not isinstance(found, MutableMapping)
    assert len(found) == 0
    assert a not in found
    key = selector.register(a, EVENT_READ)
    assert found[a] is found[a.fileno()] is found.get(a) is key
    assert list(found) == [a.fileno()]
    assert (a in found, a.fileno() in found, b in found) == (True, True, False)
    key = selector.modify(a, EVENT_WRITE)
    assert found[a] is key
    selector.unregister(a)
    assert len(found) == 0
    assert found.get(a) is None
    with pytest.raises(KeyError):
        found[a]


@rule(46)
@pytest.mark.parametrize("kind", ["object", "number", "other object"])
def test_a_descriptor_is_registered_once(selector: Selector, pair: Pair, kind: str) -> None:
    """KeyError for the second time, whoever asks, and the first registration goes on working."""
    a, b = pair
    key = selector.register(a, EVENT_READ, "first")
    again = {"object": a, "number": a.fileno(), "other object": Numbered(a.fileno())}[kind]
    with pytest.raises(KeyError):
        selector.register(again, EVENT_READ | EVENT_WRITE, "second")
    assert selector.get_key(a) is key
    assert_quiet(selector)
    b.send(b"x")
    assert [row[0].data for row in selector.select(SOON)] == ["first"]


@rule(46)
def test_a_number_is_registered_once(selector: Selector, pair: Pair) -> None:
    """A bare number cannot be closed: whatever has it now, the second time is a KeyError."""
    a, _ = pair
    key = selector.register(a.fileno(), EVENT_WRITE)
    for again in (a.fileno(), a):
        with pytest.raises(KeyError):
            selector.register(again, EVENT_READ)
    assert selector.get_key(a) is key
    assert selector.select(SOON) == [(key, EVENT_WRITE)]


BAD_MASKS = [-1, 64, 1 << 10, 1 << 70, EVENT_READ | 64, ONESHOT, EDGE, "1", None, 1.0, 1.5, [1]]


@rule(47)
@pytest.mark.parametrize("mask", BAD_MASKS)
def test_a_bad_mask_is_refused_and_changes_nothing(
    selector: Selector, pair: Pair, mask: Any
) -> None:
    """ValueError (TypeError for no int), and the registration is not lost, as it is in the
    stdlib's ``modify``.
    """
    a, b = pair
    refused = ValueError if isinstance(mask, int) else (ValueError, TypeError)
    with pytest.raises(refused):
        selector.register(a, mask)
    assert len(selector.get_map()) == 0
    key = selector.register(a, EVENT_READ, "data")
    with pytest.raises(refused):
        selector.modify(a, mask, "other")
    assert selector.get_key(a) is key
    assert_quiet(selector)
    b.send(b"x")
    assert selector.select(SOON) == [(key, EVENT_READ)]


BAD_OBJECTS = [-1, -(1 << 70), 1 << 31, 1 << 70, None, "1", 1.5, object()]
BAD_NUMBERS = [-1, None, "1", 1.5, 1 << 70]


@rule(48)
@pytest.mark.parametrize("bad", BAD_OBJECTS + [Numbered(number) for number in BAD_NUMBERS])
def test_what_has_no_descriptor_is_refused(selector: Selector, bad: Any) -> None:
    """ValueError or TypeError (OSError for a number that could be one), the map is unchanged."""
    refused = (ValueError, TypeError, OSError) if bad == 1 << 31 else (ValueError, TypeError)
    with pytest.raises(refused):
        selector.register(bad, EVENT_READ)
    assert len(selector.get_map()) == 0
    assert_quiet(selector, 0.02)


@rule(49)
@pytest.mark.parametrize("events", [EVENT_READ, EVENT_READ | EVENT_WRITE, 0])
def test_a_closed_descriptor_is_refused(selector: Selector, events: int) -> None:
    """OSError or ValueError at once; poll and select would take it and fail later."""
    a, b = tcp_pair()
    number = a.fileno()
    a.close()
    b.close()
    for closed in (a, number, Numbered(number)):
        with pytest.raises((OSError, ValueError)):
            selector.register(closed, events)
    assert len(selector.get_map()) == 0
    assert_quiet(selector, 0.02)


@rule(50)
def test_what_is_not_registered_is_a_key_error(selector: Selector, pair: Pair) -> None:
    """For an open object and for a number, before it was registered and after it was removed."""
    a, b = pair
    selector.register(b, EVENT_WRITE)
    for _ in range(2):
        for unknown in (a, a.fileno()):
            for method, *arguments in (("modify", EVENT_READ), ("unregister",), ("get_key",)):
                with pytest.raises(KeyError):
                    getattr(selector, method)(unknown, *arguments)
        selector.register(a, EVENT_WRITE)
        selector.unregister(a)
    assert events_for(selector, b) == EVENT_WRITE


@rule(51)
@pytest.mark.parametrize("close", [socket.socket.close, lambda a: socket.close(a.detach())])
def test_a_closed_object_can_be_unregistered(selector: Selector, pair: Pair, close: Any) -> None:
    """``close`` before ``unregister`` is the commonest mistake: the object still finds its key."""
    a, b = tcp_pair()
    key = selector.register(a, EVENT_READ, "data")
    selector.register(pair[0], EVENT_WRITE)
    close(a)
    assert selector.get_key(a) is key
    assert selector.unregister(a) is key
    assert len(selector.get_map()) == 1
    assert events_for(selector, pair[0]) == EVENT_WRITE
    b.close()


@rule(51)
def test_a_closed_object_can_be_unregistered_by_its_number(selector: Selector) -> None:
    """Whoever kept the number only can still say goodbye, once."""
    a, b = tcp_pair()
    number = a.fileno()
    key = selector.register(a, EVENT_READ)
    a.close()
    assert selector.unregister(number) is key
    with pytest.raises(KeyError):
        selector.unregister(number)
    b.close()


@rule(51)
def test_modify_of_a_closed_object_fails_and_keeps_the_key(selector: Selector) -> None:
    """OSError or ValueError: there is nothing to watch; it can still be unregistered."""
    a, b = tcp_pair()
    key = selector.register(a, EVENT_READ)
    a.close()
    with pytest.raises((OSError, ValueError)):
        selector.modify(a, EVENT_WRITE)
    assert selector.unregister(a) is key
    b.close()


@rule(52)
def test_unregistering_a_closed_object_spares_the_file_that_has_its_number_now(
    subject: Subject, selector: Selector
) -> None:
    """The new file was never ours, and stays as it is where it is registered."""
    elsewhere = subject.new()
    a, b = tcp_pair()
    number = a.fileno()
    key = selector.register(a, EVENT_READ)
    a.close()
    with pair_with_number(number) as (c, d):
        registered = elsewhere.register(c, EVENT_READ)
        d.send(b"x")
        arrived(c)
        assert_quiet(selector)
        assert selector.unregister(a) is key
        assert_quiet(selector)
        assert elsewhere.select(SOON) == [(registered, EVENT_READ)]
        with pytest.raises(KeyError):
            selector.get_key(c)
    b.close()


@rule(53)
@pytest.mark.parametrize("events", [EVENT_READ, EVENT_WRITE, 0])
def test_a_new_object_takes_the_place_of_a_closed_one(selector: Selector, events: int) -> None:
    """A number is used again at once; the forgotten key makes room, and its object is unknown."""
    a, b = tcp_pair()
    number = a.fileno()
    selector.register(a, events, "old")
    a.close()
    with pair_with_number(number) as (c, d):
        key = selector.register(c, EVENT_READ, "new")
        assert list(selector.get_map().values()) == [key]
        with pytest.raises((KeyError, ValueError)):
            selector.unregister(a)
        assert_quiet(selector)
        d.send(b"x")
        assert selector.select(SOON) == [(key, EVENT_READ)]
        assert wait_until(selector, c, EVENT_READ) == EVENT_READ
        assert selector.unregister(c) is key
        assert_quiet(selector)
    b.close()
