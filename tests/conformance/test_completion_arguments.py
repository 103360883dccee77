"""G. Completion: what is refused leaves no trace."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from netcore import (
    Operation,
    Read,
    Recv,
    RecvFrom,
    RecvFromInto,
    RecvInto,
    Selector,
    Send,
    SendAll,
    SendTo,
)

from .completions import (
    ON_SOCKETS,
    assert_nothing_done,
    done_by,
    finished,
    is_pinned,
    pins,
    refused,
)
from .rules import rule

Pair = tuple[socket.socket, socket.socket]


kinds = pytest.mark.parametrize("kind", ON_SOCKETS)


PIECES = memoryview(bytearray(8))[::2]


def type_name(value: object) -> str:
    return type(value).__name__


@rule(94)
@kinds
def test_a_blocking_socket_is_refused(selector: Selector, kind: str) -> None:
    """ValueError, whether it would block for ever or for a while; when it is not any more, the same
    operation is accepted.
    """
    with socket.socket() as sock:
        op = ON_SOCKETS[kind](sock)
        assert "setblocking" in refused(selector, op, ValueError)
        sock.settimeout(1)
        refused(selector, op, ValueError)
        sock.setblocking(False)
        selector.submit(op)
        selector.cancel(op)
        finished(selector, op)


@rule(94)
def test_a_socket_that_became_blocking_is_refused(selector: Selector, pair: Pair) -> None:
    """An operation that was done already is looked at like a new one."""
    a, b = pair
    recv, send = Recv(a, 1), Send(a, b"x")
    b.send(b"x")
    assert done_by(selector, recv) == b"x"
    assert done_by(selector, send) == 1
    a.setblocking(True)
    for op in (recv, send):
        with pytest.raises(ValueError, match="blocking"):
            selector.submit(op)
    assert selector.wait(0) == ([], [])


@rule(94)
@kinds
def test_a_closed_socket_is_refused(selector: Selector, kind: str) -> None:
    """OSError or ValueError, also for an operation that was done before."""
    sock = socket.socket()
    sock.setblocking(False)
    op, again = ON_SOCKETS[kind](sock), ON_SOCKETS[kind](sock)
    selector.submit(again)
    selector.cancel(again)
    finished(selector, again)
    sock.close()
    refused(selector, op, (OSError, ValueError))
    with pytest.raises((OSError, ValueError)):
        selector.submit(again)


@rule(94)
@pytest.mark.parametrize("size", [0, -1, 1.5, "1", None])
def test_receiving_nothing_is_refused(selector: Selector, pair: Pair, size: Any) -> None:
    """0 bytes would look like the end of the stream."""
    for kind in (Recv, RecvFrom, Read):
        with pytest.raises((ValueError, TypeError)):
            selector.submit(kind(pair[0], size))
    assert_nothing_done(selector, 0.01)


@rule(94)
@pytest.mark.parametrize("kind", [RecvInto, RecvFromInto])
@pytest.mark.parametrize(
    "buffer",
    [b"read-only", bytearray(), memoryview(bytearray(8))[::2], "text", 5, None, [1]],
    ids=type_name,
)
def test_a_buffer_that_cannot_be_received_into_is_refused(
    selector: Selector, pair: Pair, kind: Any, buffer: Any
) -> None:
    """One that is read-only, empty, in pieces, or none at all."""
    op = kind(pair[0], buffer)
    refused(selector, op, (ValueError, TypeError))
    op.buffer = bytearray(4)
    pair[1].send(b"x")
    result = done_by(selector, op)
    assert (result if kind is RecvInto else result[0]) == 1


@rule(94)
@pytest.mark.parametrize("kind", [Send, SendAll])
@pytest.mark.parametrize(
    "buffer", [memoryview(bytearray(8))[::2], "text", 5, None, [1]], ids=type_name
)
def test_a_buffer_that_cannot_be_sent_is_refused(
    selector: Selector, pair: Pair, kind: Any, buffer: Any
) -> None:
    """One that is in pieces, or none at all."""
    op = kind(pair[0], buffer)
    refused(selector, op, (ValueError, TypeError))
    op.buffer = b"x"
    assert done_by(selector, op) == 1


@rule(94)
@pins
def test_what_is_refused_pins_nothing(selector: Selector) -> None:
    """Whatever the reason: the buffer is the user's at once."""
    buffer = bytearray(4)
    with socket.socket() as sock:
        ops: list[Operation] = [RecvInto(sock, buffer), RecvFromInto(sock, buffer)]
        ops += [Send(sock, buffer), SendAll(sock, buffer), SendTo(sock, buffer, ("127.0.0.1", 9))]
        for op in ops:
            refused(selector, op)
            assert not is_pinned(buffer)
        sock.setblocking(False)
        for op in ops:
            op.timeout = "soon"  # type: ignore[assignment]
            refused(selector, op)
            assert not is_pinned(buffer)
        with memoryview(buffer) as view, view[::2] as pieces:
            refused(selector, RecvInto(sock, pieces))
        assert not is_pinned(buffer)


@rule(94)
@pytest.mark.parametrize("timeout", ["1", float("nan"), [], 1j])
def test_a_timeout_that_is_no_number_is_refused(
    selector: Selector, pair: Pair, timeout: Any
) -> None:
    """TypeError or ValueError, as for a wait."""
    refused(selector, Recv(pair[0], 1, timeout=timeout), (TypeError, ValueError))
