"""G. Completion: connections that are accepted and made."""

from __future__ import annotations

import errno
import socket

import pytest

from netcore import (
    EVENT_WRITE,
    Accept,
    Connect,
    OperationCancelled,
    Poll,
    Recv,
    Selector,
    SendAll,
)

from .completions import assert_nothing_done, done_by, finished
from .rules import rule
from .tools import REFUSED_SOON


@rule(99)
def test_connections_over_ipv6(selector: Selector) -> None:
    """With the four parts of its addresses."""
    if not socket.has_ipv6:
        pytest.skip("rule 99: no IPv6 here")
    with socket.socket(socket.AF_INET6) as listener, socket.socket(socket.AF_INET6) as client:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("rule 99: no IPv6 here")
        listener.listen(1)
        for sock in (listener, client):
            sock.setblocking(False)
        accept = selector.submit(Accept(listener))
        connect = selector.submit(Connect(client, listener.getsockname()))
        finished(selector, accept, connect)
        connect.result()
        sock, peer = accept.result()
        sock.close()
        assert peer == client.getsockname()


@rule(101)
@pytest.mark.parametrize("bound", [False, True])
def test_a_connection_is_made(
    selector: Selector, listener: socket.socket, client: socket.socket, bound: bool
) -> None:
    """The result is None; all calls work on it, and an address that it was bound to is kept."""
    if bound:
        client.bind(("127.0.0.1", 0))
        before = client.getsockname()
    assert done_by(selector, Connect(client, listener.getsockname())) is None
    if bound:
        assert client.getsockname() == before
    assert client.getpeername() == listener.getsockname()
    server, peer = done_by(selector, Accept(listener))
    with server:
        assert peer == client.getsockname()
        assert done_by(selector, Poll(client, EVENT_WRITE)) == EVENT_WRITE
        assert done_by(selector, SendAll(client, b"hello")) == 5
        client.shutdown(socket.SHUT_WR)
        assert done_by(selector, Recv(server, 10)) == b"hello"
        assert done_by(selector, Recv(server, 10)) == b""
        assert done_by(selector, SendAll(server, b"bye")) == 3
        assert done_by(selector, Recv(client, 10)) == b"bye"


@rule(101)
def test_what_is_sent_before_it_is_connected_goes_when_it_is(
    selector: Selector, listener: socket.socket, client: socket.socket
) -> None:
    """It is behind the connect in the queue."""
    connect = selector.submit(Connect(client, listener.getsockname()))
    send = selector.submit(SendAll(client, b"hello"))
    assert finished(selector, connect, send) == [connect, send]
    assert connect.result() is None
    assert send.result() == 5
    server, _ = done_by(selector, Accept(listener))
    with server:
        assert done_by(selector, Recv(server, 10)) == b"hello"


@rule(101)
def test_a_datagram_socket_is_connected(selector: Selector) -> None:
    """At once; it sends to that address then."""
    udp = socket.SOCK_DGRAM
    with socket.socket(type=udp) as receiver, socket.socket(type=udp) as sender:
        for sock in (receiver, sender):
            sock.setblocking(False)
        receiver.bind(("127.0.0.1", 0))
        assert done_by(selector, Connect(sender, receiver.getsockname())) is None
        assert done_by(selector, SendAll(sender, b"x")) == 1
        assert done_by(selector, Recv(receiver, 9)) == b"x"


@rule(102)
def test_a_connect_that_is_refused_fails(selector: Selector, client: socket.socket) -> None:
    """Soon, with ConnectionRefusedError and its errno; the socket can be closed at once."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # Taken, but it does not listen.
        with pytest.raises(ConnectionRefusedError) as raised:
            done_by(selector, Connect(client, nobody.getsockname()), REFUSED_SOON)
    assert raised.value.errno == errno.ECONNREFUSED
    client.close()
    assert_nothing_done(selector)


@rule(102)
def test_what_waits_for_a_connection_that_is_refused_ends(
    selector: Selector, client: socket.socket
) -> None:
    """A receive does not take the reason from the connect."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        connect = Connect(client, nobody.getsockname())
        sends = [SendAll(client, b"x"), SendAll(client, b"y")]
        recv = Recv(client, 10)
        for op in (connect, sends[0], recv, sends[1]):
            selector.submit(op)
        came = finished(selector, connect, *sends, recv, timeout=REFUSED_SOON)
    assert [op for op in came if op is not recv] == [connect, *sends]
    with pytest.raises(ConnectionRefusedError):
        connect.result()
    for op in (*sends, recv):
        with pytest.raises(OSError, match=r"."):
            op.result()


@rule(102)
def test_what_waits_for_a_connect_that_is_cancelled_ends_with_the_socket(
    selector: Selector, client: socket.socket
) -> None:
    """Nothing is left behind."""
    ops = [Connect(client, ("192.0.2.1", 9)), Recv(client, 10), SendAll(client, b"x")]
    for op in ops:
        selector.submit(op)
    selector.wait(0.01)
    selector.cancel(ops[0])
    left = [op for op in ops if not op.done]
    client.close()
    finished(selector, *left)


@rule(102)
def test_a_connect_that_is_cancelled_ends(
    selector: Selector, listener: socket.socket, client: socket.socket
) -> None:
    """Cancelled, or connected if that was faster; the socket can be closed then."""
    op = selector.submit(Connect(client, listener.getsockname()))
    assert selector.cancel(op)
    finished(selector, op)
    try:
        assert op.result() is None
    except OperationCancelled:
        pass
    else:
        assert client.getpeername() == listener.getsockname()
    client.close()
    assert_nothing_done(selector)
