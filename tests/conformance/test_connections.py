"""A. Readiness of connections while they are made, and when they end in order."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from netcore import EVENT_HANGUP, EVENT_READ, EVENT_WRITE, Selector

from .rules import rule
from .tools import (
    REFUSED_SOON,
    arrived,
    assert_quiet,
    drain,
    events_for,
    fill_up,
    reset,
    sockets,
)

Ends = tuple[Any, Any]
CONNECTING = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


@pytest.fixture
def refused(client: socket.socket) -> Iterator[socket.socket]:
    """A TCP socket whose connect is under way and will be refused."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # Taken, but it does not listen.
        status = client.connect_ex(nobody.getsockname())
        if status == errno.ECONNREFUSED:
            pytest.skip("this kernel refuses at once: there is nothing to wait for")
        assert status in CONNECTING
        yield client


@rule(13)
def test_the_end_of_a_stream_is_readable_again_and_again(selector: Selector, stream: Ends) -> None:
    """After what was sent before it. Some kernels report an end apart from data."""
    reader, writer = stream
    selector.register(reader, EVENT_READ)
    writer.send(b"bye")
    writer.shutdown(socket.SHUT_WR)
    assert [events_for(selector, reader) for _ in range(2)] == [EVENT_READ] * 2
    assert reader.recv(10) == b"bye"
    assert [events_for(selector, reader) for _ in range(2)] == [EVENT_READ] * 2
    assert reader.recv(10) == b""
    assert [events_for(selector, reader) for _ in range(2)] == [EVENT_READ] * 2
    assert reader.recv(10) == b""


@rule(14)
@sockets
def test_shutting_down_our_own_side_makes_nothing_readable(
    selector: Selector, stream: Ends
) -> None:
    """The peer may still send, and is heard when it does."""
    a, b = stream
    selector.register(a, EVENT_READ)
    a.shutdown(socket.SHUT_WR)
    assert_quiet(selector)
    selector.modify(a, EVENT_READ | EVENT_WRITE)
    assert not events_for(selector, a, 0.05) & EVENT_READ
    selector.modify(a, EVENT_READ)
    b.send(b"x")
    assert events_for(selector, a) == EVENT_READ


@rule(20)
def test_a_connect_that_succeeds_is_writable(
    selector: Selector, listener: socket.socket, client: socket.socket
) -> None:
    """Without an error, and not readable."""
    assert client.connect_ex(listener.getsockname()) in CONNECTING
    selector.register(client, EVENT_READ | EVENT_WRITE)
    assert events_for(selector, client) == EVENT_WRITE
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert client.getpeername() == listener.getsockname()


@rule(21)
def test_a_connect_that_is_refused_is_writable(selector: Selector, refused: socket.socket) -> None:
    """The error is still there to be asked for: looking does not consume it."""
    selector.register(refused, EVENT_WRITE)
    assert events_for(selector, refused, REFUSED_SOON) == EVENT_WRITE
    assert refused.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


@rule(22)
def test_a_connect_that_is_refused_is_readable(selector: Selector, refused: socket.socket) -> None:
    """Who waits only for data learns that none will come. (Winsock's select() tells nobody.)"""
    selector.register(refused, EVENT_READ)
    assert events_for(selector, refused, REFUSED_SOON) == EVENT_READ


@rule(23)
def test_a_listener_is_readable_until_its_queue_is_empty(
    selector: Selector, listener: socket.socket
) -> None:
    """A program may accept one connection at a time."""
    selector.register(listener, EVENT_READ)
    assert_quiet(selector)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(2)]
    for client in clients:
        assert [events_for(selector, listener) for _ in range(2)] == [EVENT_READ] * 2
        listener.accept()[0].close()
        client.close()
    assert_quiet(selector)


@rule(24)
def test_a_listener_is_never_writable(selector: Selector, listener: socket.socket) -> None:
    """Neither idle nor with a client in its queue."""
    selector.register(listener, EVENT_WRITE)
    assert_quiet(selector)
    with socket.create_connection(listener.getsockname()):
        assert_quiet(selector)
        selector.modify(listener, EVENT_READ | EVENT_WRITE)
        assert events_for(selector, listener) == EVENT_READ


@rule(25)
def test_a_client_that_is_gone_before_accept_does_not_hide_the_next(
    selector: Selector, listener: socket.socket
) -> None:
    """accept() gives a dead socket (Linux), fails (BSD), or has nothing; then the next one."""
    selector.register(listener, EVENT_READ)
    gone = socket.create_connection(listener.getsockname())
    events_for(selector, listener)
    reset(gone)
    try:
        dead, _ = listener.accept()
    except (BlockingIOError, ConnectionAbortedError, ConnectionResetError):
        pass
    else:
        with dead, pytest.raises(ConnectionError):
            dead.recv(1)
    with socket.create_connection(listener.getsockname()) as client:
        assert events_for(selector, listener) == EVENT_READ
        accepted, address = listener.accept()
        accepted.close()
        assert address == client.getsockname()


@rule(30, events=EVENT_HANGUP)
def test_the_end_of_a_stream_is_a_hangup(selector: Selector, stream: Ends) -> None:
    """Also for those who watch nothing else, and while there is data to be read before it."""
    reader, writer = stream
    selector.register(reader, EVENT_HANGUP)
    writer.send(b"x")
    assert_quiet(selector)
    writer.shutdown(socket.SHUT_WR)
    assert [events_for(selector, reader) for _ in range(2)] == [EVENT_HANGUP] * 2
    selector.modify(reader, EVENT_READ | EVENT_HANGUP)
    assert events_for(selector, reader) == EVENT_READ | EVENT_HANGUP
    drain(reader, 1)
    assert events_for(selector, reader) == EVENT_READ | EVENT_HANGUP


@rule(30)
def test_the_end_of_a_stream_is_no_hangup_for_those_who_did_not_ask(
    selector: Selector, stream: Ends
) -> None:
    """It is readable, no more."""
    reader, writer = stream
    selector.register(reader, EVENT_READ)
    writer.shutdown(socket.SHUT_WR)
    assert events_for(selector, reader) == EVENT_READ


@rule(30, events=EVENT_HANGUP)
def test_unread_data_is_no_hangup_however_much(selector: Selector, stream: Ends) -> None:
    """Nor does it spin. (A filter with a low-water mark fires when the buffer is full.)"""
    reader, writer = stream
    selector.register(reader, EVENT_HANGUP)
    written = fill_up(writer)
    assert_quiet(selector)
    drain(reader, written)
    assert_quiet(selector)
    writer.shutdown(socket.SHUT_WR)
    assert events_for(selector, reader) == EVENT_HANGUP


@rule(30, events=EVENT_HANGUP)
@sockets
def test_shutting_down_our_own_side_is_no_hangup(selector: Selector, stream: Ends) -> None:
    """A hangup is what the peer does."""
    a, b = stream
    selector.register(a, EVENT_READ | EVENT_HANGUP)
    a.shutdown(socket.SHUT_WR)
    assert_quiet(selector)
    b.close()
    arrived(a)
    assert events_for(selector, a) == EVENT_READ | EVENT_HANGUP
