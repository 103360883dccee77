"""B. Modes: one-shot and edge-triggered, and asking for what the backend lacks."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from netcore import (
    EDGE,
    EVENT_HANGUP,
    EVENT_PRIORITY,
    EVENT_READ,
    EVENT_WRITE,
    ONESHOT,
    Selector,
)
from netcore._loader import backends_with
from netcore.contract import ReadinessBackend, event_names

from .rules import rule
from .tools import (
    SOON,
    arrived,
    assert_quiet,
    drain,
    events_for,
    fill_up,
    reset,
)

Ends = tuple[Any, Any]


def assert_refused(backend: type[ReadinessBackend], ends: Ends, bit: int) -> None:
    """Without ``bit`` among what ``backend`` declares, it is refused, and nothing has changed."""
    a, b = ends
    lacking = type("Lacking", (backend,), {"supports": backend.supports & ~bit})
    with Selector(lacking) as selector:
        with pytest.raises(ValueError, match=event_names(bit)) as refusal:
            selector.register(a, EVENT_READ | bit)
        assert {backend.name, *backends_with(bit)} <= set(re.findall(r"\w+", str(refusal.value)))
        assert not selector.get_map()

        key = selector.register(a, EVENT_READ, "data")
        with pytest.raises(ValueError, match=event_names(bit)):
            selector.modify(a, EVENT_READ | bit)
        assert selector.get_key(a) is key
        b.send(b"x")
        assert selector.select(SOON) == [(key, EVENT_READ)]


def assert_one_event_until_modify(selector: Selector, ends: Ends, mode: int, news: str) -> None:
    """One event, whatever ``news`` there are; then one more by ``modify``."""
    a, b = ends
    selector.register(a, EVENT_READ | mode)
    b.send(b"x")
    assert events_for(selector, a) == EVENT_READ
    if news == "data":
        b.send(b"x")
    elif news == "end":
        b.shutdown(socket.SHUT_WR)
    else:
        reset(b)
    assert_quiet(selector)
    selector.modify(a, EVENT_READ | mode)
    assert events_for(selector, a) == EVENT_READ
    assert_quiet(selector)


@rule(29)
@pytest.mark.parametrize("bit", [EVENT_PRIORITY, EVENT_HANGUP], ids=event_names)
def test_an_event_that_the_backend_does_not_declare_is_refused(
    backend: type[ReadinessBackend], pair: Ends, bit: int
) -> None:
    """With ValueError and the names of the backends that do; nothing changes."""
    assert_refused(backend, pair, bit)


@rule(35)
def test_a_mode_that_the_backend_does_not_declare_is_refused(
    backend: type[ReadinessBackend], pair: Ends
) -> None:
    """As an event is. One-shot is there always."""
    assert_refused(backend, pair, EDGE)


@rule(36)
@pytest.mark.parametrize("ready", ["before", "after"])
def test_one_shot_is_one_event(selector: Selector, stream: Ends, ready: str) -> None:
    """Then silence, with the data unread, whether it came before the registration or after."""
    reader, writer = stream
    if ready == "before":
        writer.send(b"x")
    selector.register(reader, EVENT_READ | ONESHOT)
    if ready == "after":
        assert selector.select(0) == []
        writer.send(b"x")
    assert events_for(selector, reader) == EVENT_READ
    assert_quiet(selector)
    assert selector.get_key(reader).events == EVENT_READ | ONESHOT


@rule(37)
def test_modify_arms_one_shot_again(selector: Selector, stream: Ends) -> None:
    """What still holds is reported at once, as often as it is asked for."""
    reader, writer = stream
    selector.register(reader, EVENT_READ | ONESHOT)
    writer.send(b"x")
    for _ in range(2):
        assert events_for(selector, reader) == EVENT_READ
        assert_quiet(selector)
        selector.modify(reader, EVENT_READ | ONESHOT)
    drain(reader, 1)
    assert selector.select(0) == []
    writer.send(b"x")
    assert events_for(selector, reader) == EVENT_READ


@rule(37)
def test_modify_makes_one_shot_level_triggered(selector: Selector, pair: Ends) -> None:
    """The mode is part of the mask; and back again."""
    a, b = pair
    selector.register(a, EVENT_READ | ONESHOT)
    b.send(b"x")
    assert events_for(selector, a) == EVENT_READ
    selector.modify(a, EVENT_READ)
    assert [events_for(selector, a) for _ in range(3)] == [EVENT_READ] * 3
    selector.modify(a, EVENT_READ | ONESHOT)
    assert events_for(selector, a) == EVENT_READ
    assert_quiet(selector)


@rule(38)
def test_one_shot_readable_disarms_writable(selector: Selector, pair: Ends) -> None:
    """One event for the descriptor, though a kernel may have a one-shot for each direction."""
    a, b = pair
    written = fill_up(a)
    b.send(b"x")
    arrived(a)
    selector.register(a, EVENT_READ | EVENT_WRITE | ONESHOT)
    assert events_for(selector, a) == EVENT_READ
    drain(b, written)
    assert_quiet(selector)
    selector.modify(a, EVENT_WRITE)
    assert events_for(selector, a) == EVENT_WRITE  # So there was something to be silent about.


@rule(38)
def test_one_shot_writable_disarms_readable(selector: Selector, pair: Ends) -> None:
    """As above, in the other direction."""
    a, b = pair
    selector.register(a, EVENT_READ | EVENT_WRITE | ONESHOT)
    assert events_for(selector, a) == EVENT_WRITE
    b.send(b"x")
    arrived(a)
    assert_quiet(selector)


@rule(39)
@pytest.mark.parametrize("news", ["data", "end", "reset"])
def test_a_one_shot_that_was_delivered_hears_nothing(
    selector: Selector, pair: Ends, news: str
) -> None:
    """Neither new data nor an error; and does not spin. Nothing is lost: modify brings it."""
    assert_one_event_until_modify(selector, pair, ONESHOT, news)


@rule(40, events=EDGE)
def test_edge_reports_what_holds_already_once(selector: Selector, stream: Ends) -> None:
    """Then nothing without activity, in either direction."""
    reader, writer = stream
    writer.send(b"x")
    for end, events in [(reader, EVENT_READ), (writer, EVENT_WRITE)]:
        selector.register(end, events | EDGE)
        assert events_for(selector, end) == events
        assert_quiet(selector)


@rule(41, events=EDGE)
def test_edge_reports_new_data(selector: Selector, stream: Ends) -> None:
    """Whether the old data was read or not."""
    reader, writer = stream
    selector.register(reader, EVENT_READ | EDGE)
    for _ in range(2):
        writer.send(b"x")
        assert events_for(selector, reader) == EVENT_READ
        assert_quiet(selector)
    drain(reader, 2)
    with pytest.raises(BlockingIOError):
        reader.recv(1)
    assert_quiet(selector)
    writer.send(b"x")
    assert events_for(selector, reader) == EVENT_READ


@rule(41, events=EDGE)
def test_edge_reports_room_to_write_again(selector: Selector, stream: Ends) -> None:
    """After a send() that found none."""
    reader, writer = stream
    written = fill_up(writer)
    selector.register(writer, EVENT_WRITE | EDGE)
    assert_quiet(selector)
    drain(reader, written)
    assert events_for(selector, writer) == EVENT_WRITE


@rule(42, events=EDGE)
def test_modify_makes_edge_report_again(selector: Selector, stream: Ends) -> None:
    """The mask may be the same: modify asks for the state that holds now."""
    reader, writer = stream
    selector.register(reader, EVENT_READ | EDGE)
    writer.send(b"x")
    for _ in range(2):
        assert events_for(selector, reader) == EVENT_READ
        assert_quiet(selector)
        selector.modify(reader, EVENT_READ | EDGE)
    drain(reader, 1)
    assert_quiet(selector)


@rule(43, events=EDGE)
@pytest.mark.parametrize("news", ["data", "end", "reset"])
def test_edge_with_one_shot_is_one_event_until_modify(
    selector: Selector, pair: Ends, news: str
) -> None:
    """Nothing new is reported in between, and nothing of it is lost."""
    assert_one_event_until_modify(selector, pair, EDGE | ONESHOT, news)


@rule(44, events=EDGE)
def test_modify_switches_between_level_and_edge(selector: Selector, stream: Ends) -> None:
    """Both ways. (kqueue keeps the mode of a filter that exists already.)"""
    reader, writer = stream
    writer.send(b"x")
    selector.register(reader, EVENT_READ)
    for _ in range(2):
        assert [events_for(selector, reader) for _ in range(2)] == [EVENT_READ] * 2
        selector.modify(reader, EVENT_READ | EDGE)
        assert events_for(selector, reader) == EVENT_READ
        assert_quiet(selector)
        selector.modify(reader, EVENT_READ)
