"""A. Readiness: what is reported, and when."""

from __future__ import annotations

from typing import Any

from netcore import EVENT_READ, EVENT_WRITE, Selector

from .rules import rule
from .tools import events_for


@rule(1)
def test_an_idle_connected_stream_is_writable_and_nothing_else(
    selector: Selector, pair: tuple[Any, Any]
) -> None:
    """One entry with EVENT_WRITE alone, though both were asked for."""
    a, _ = pair
    selector.register(a, EVENT_READ | EVENT_WRITE)
    assert events_for(selector, a, 0) == EVENT_WRITE


@rule(2)
def test_an_idle_connected_stream_is_not_readable(
    selector: Selector, pair: tuple[Any, Any]
) -> None:
    """Nothing is reported as long as nothing has arrived."""
    selector.register(pair[0], EVENT_READ)
    assert selector.select(0) == []
