"""A. Readiness of datagram sockets: one datagram is one piece of news."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from netcore import EVENT_READ, EVENT_WRITE, Selector

from .rules import rule
from .tools import assert_quiet, events_for

Datagrams = tuple[socket.socket, socket.socket]


@pytest.fixture
def udp() -> Iterator[Datagrams]:
    """A UDP socket that receives, and one that sends to it."""
    with socket.socket(type=socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.connect(receiver.getsockname())
            yield receiver, sender


@rule(26)
def test_datagrams_are_reported_until_the_last_is_read(selector: Selector, udp: Datagrams) -> None:
    """Reading one leaves the other; an idle socket is writable and nothing else."""
    receiver, sender = udp
    selector.register(receiver, EVENT_READ)
    assert_quiet(selector)
    for expected in (b"one", b"two"):
        sender.send(expected)
    for expected in (b"one", b"two"):
        assert [events_for(selector, receiver) for _ in range(2)] == [EVENT_READ] * 2
        assert receiver.recv(10) == expected
    assert_quiet(selector)
    selector.modify(receiver, EVENT_READ | EVENT_WRITE)
    assert events_for(selector, receiver) == EVENT_WRITE


@rule(26)
def test_an_empty_datagram_is_reported_until_it_is_read(selector: Selector, udp: Datagrams) -> None:
    """It is a datagram like any other, and no end of anything."""
    receiver, sender = udp
    selector.register(receiver, EVENT_READ)
    sender.send(b"")
    assert events_for(selector, receiver) == EVENT_READ
    assert receiver.recv(10) == b""
    assert_quiet(selector)


@rule(27)
def test_the_rest_of_a_truncated_datagram_is_not_reported(
    selector: Selector, udp: Datagrams
) -> None:
    """The kernel has thrown it away. Windows raises an error for it."""
    receiver, sender = udp
    selector.register(receiver, EVENT_READ)
    sender.send(b"0123456789")
    assert events_for(selector, receiver) == EVENT_READ
    try:
        assert receiver.recv(4) == b"0123"
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
    assert_quiet(selector)
