"""A. Readiness of out-of-band data, which TCP calls urgent."""

from __future__ import annotations

import socket
from typing import Any

from netcore import EVENT_PRIORITY, EVENT_READ, EVENT_WRITE, Selector

from .rules import rule
from .tools import assert_quiet, events_for

Ends = tuple[Any, Any]


@rule(28)
def test_out_of_band_data_is_not_readable(selector: Selector, pair: Ends) -> None:
    """recv() would not return it; Winsock's select() reports it as an exception, whoever asks."""
    a, b = pair
    selector.register(a, EVENT_READ)
    b.send(b"!", socket.MSG_OOB)
    assert_quiet(selector)
    selector.modify(a, EVENT_READ | EVENT_WRITE)
    assert events_for(selector, a) == EVENT_WRITE
    b.send(b"x")
    selector.modify(a, EVENT_READ)
    assert events_for(selector, a) == EVENT_READ


@rule(28)
def test_out_of_band_data_that_is_kept_in_line_is_readable(selector: Selector, pair: Ends) -> None:
    """With SO_OOBINLINE recv() returns it."""
    a, b = pair
    a.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    selector.register(a, EVENT_READ)
    b.send(b"!", socket.MSG_OOB)
    assert events_for(selector, a) == EVENT_READ
    assert a.recv(10) == b"!"


@rule(28, events=EVENT_PRIORITY)
def test_out_of_band_data_is_an_event_of_its_own(selector: Selector, pair: Ends) -> None:
    """And other data is not."""
    a, b = pair
    selector.register(a, EVENT_PRIORITY)
    b.send(b"x")
    assert_quiet(selector)
    assert a.recv(10) == b"x"
    b.send(b"!", socket.MSG_OOB)
    assert events_for(selector, a) == EVENT_PRIORITY
    selector.modify(a, EVENT_READ | EVENT_PRIORITY)
    assert events_for(selector, a) == EVENT_PRIORITY
    assert a.recv(1, socket.MSG_OOB) == b"!"


@rule(28, events=EVENT_PRIORITY)
def test_the_end_of_a_stream_is_not_out_of_band_data(selector: Selector, pair: Ends) -> None:
    """It is readable, for those who ask for that."""
    a, b = pair
    selector.register(a, EVENT_PRIORITY)
    b.shutdown(socket.SHUT_WR)
    assert_quiet(selector)
