"""G. Completion: what a backend or the system cannot do is refused at once."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from netcore import (
    EDGE,
    EVENT_PRIORITY,
    EVENT_READ,
    ONESHOT,
    AcceptPipe,
    Connect,
    ConnectPipe,
    Operation,
    Overlapped,
    Poll,
    Read,
    Recv,
    RecvFrom,
    RecvInto,
    Selector,
    SendTo,
    WaitHandle,
    Write,
)
from netcore.contract import ReadinessBackend

from .completions import ON_SOCKETS, assert_nothing_done, done_by, finished, refused
from .rules import rule
from .tools import SOON

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    """A UDP socket, non-blocking."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


@rule(94)
@pytest.mark.parametrize("wrong", [5, None, "socket", object()], ids=["5", "None", "str", "object"])
def test_operations_on_what_is_no_socket_are_refused(selector: Selector, wrong: Any) -> None:
    """TypeError or ValueError; a bare number is none, since nobody could tell when it is closed."""
    for kind in ON_SOCKETS.values():
        with pytest.raises((TypeError, ValueError)):
            selector.submit(kind(wrong))


@rule(94)
def test_a_tls_socket_is_refused(selector: Selector, pair: Pair) -> None:
    """TypeError: its bytes are not those on the wire. (asyncio's proactor and others take it.)"""
    context = ssl.create_default_context()
    tls = context.wrap_socket(pair[0], server_hostname="localhost", do_handshake_on_connect=False)
    with tls:
        for kind in ON_SOCKETS.values():
            with pytest.raises(TypeError):
                selector.submit(kind(tls))


@rule(94)
@pytest.mark.parametrize(
    "address",
    [
        *(("localhost", 9), ("example.invalid", 9), ("127.1", 9), ("", "http")),
        *(("127.0.0.1",), ("127.0.0.1", -1), ("127.0.0.1", 65536), ("127.0.0.1", "9")),
        *(("127.0.0.1", None), (None, 9), ("::1", 9), (b"localhost", 9), "127.0.0.1:9", None, 9),
    ],
    ids=repr,
)
def test_an_address_that_is_no_number_is_refused(
    selector: Selector, udp: socket.socket, address: Any
) -> None:
    """Names are not looked up, because that blocks; nor does what is no address at all come to
    light only in a wait.
    """
    with socket.socket() as sock:
        sock.setblocking(False)
        refused(selector, Connect(sock, address), (ValueError, TypeError, OverflowError))
    refused(selector, SendTo(udp, b"x", address), (ValueError, TypeError, OverflowError))
    udp.sendto(b"y", udp.getsockname())
    assert done_by(selector, RecvFrom(udp, 9))[0] == b"y"


@rule(94, platform="unix")
@pytest.mark.parametrize("address", [5, None, ("127.0.0.1", 9), "x" * 200], ids=repr)
def test_an_address_of_another_family_fails(selector: Selector, address: Any) -> None:
    """When it is submitted, or when it comes out; not in between."""
    sock = socket.socket(socket.AF_UNIX)  # type: ignore[attr-defined, unused-ignore]
    with sock:
        sock.setblocking(False)
        with pytest.raises((ValueError, TypeError, OSError)):
            done_by(selector, Connect(sock, address))
        assert_nothing_done(selector, 0.01)


@rule(94)
@pytest.mark.parametrize(
    "events", [0, 1 << 10, -1, EVENT_READ | ONESHOT, EVENT_READ | EDGE, None, "r"]
)
def test_polling_for_no_condition_is_refused(selector: Selector, pair: Pair, events: Any) -> None:
    """A poll is told once; it takes conditions and no modifiers."""
    refused(selector, Poll(pair[0], events), (ValueError, TypeError))


@rule(94)
def test_polling_what_is_closed_is_refused(selector: Selector, pair: Pair) -> None:
    """As every operation on it: with OSError."""
    a, _ = pair
    poll = Poll(a, EVENT_READ)
    a.close()
    with pytest.raises(OSError, match=r"closed") as raised:
        selector.submit(poll)
    assert raised.value.errno == errno.EBADF
    assert_nothing_done(selector)


@rule(94)
def test_polling_for_what_the_backend_cannot_watch_is_refused(
    selector: Selector, pair: Pair
) -> None:
    """With the names of the backend and of the event, as ``register`` does."""
    if selector.supports & EVENT_PRIORITY:
        selector.submit(op := Poll(pair[0], EVENT_PRIORITY))
        assert selector.cancel(op)
        finished(selector, op)
    else:
        message = refused(selector, Poll(pair[0], EVENT_PRIORITY), ValueError)
        assert selector.backend in message
        assert "EVENT_PRIORITY" in message


@rule(94, platform="unix")
@pytest.mark.parametrize(
    "operation",
    [
        *(AcceptPipe(5), ConnectPipe(r"\\.\pipe\nobody"), WaitHandle(5)),
        *(Overlapped(5, lambda overlapped: 0), Operation()),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_only_windows_has_is_refused(
    selector: Selector, backend: type[ReadinessBackend], operation: Operation
) -> None:
    """ValueError that names the backend and the operation."""
    message = refused(selector, operation, ValueError)
    assert backend.name in message
    assert type(operation).__name__ in message


@rule(94, platform="unix")
@pytest.mark.parametrize("kind", [Read, Write, Poll])
def test_a_file_is_refused_as_by_register(selector: Selector, kind: Any) -> None:
    """It is always ready: nothing to wait for, as with ``register``."""
    with tempfile.TemporaryFile() as file:
        argument = {Read: 1, Write: b"x", Poll: EVENT_READ}[kind]
        for blocking in (True, False):
            os.set_blocking(file.fileno(), blocking)
            refused(selector, kind(file, argument), (ValueError, OSError))
            refused(selector, kind(file.fileno(), argument), (ValueError, OSError))


@rule(94)
def test_submit_does_not_take_what_is_no_operation(selector: Selector) -> None:
    """Nothing comes out of it."""
    for wrong in (None, 5, "Recv"):
        with pytest.raises((TypeError, AttributeError)):
            selector.submit(wrong)  # type: ignore[type-var]
    assert selector.wait(0) == ([], [])


@rule(94)
def test_a_failure_of_one_leaves_the_others_alone(selector: Selector, pair: Pair) -> None:
    """What is pending before and after it comes out as if it had not been."""
    a, b = pair
    before = selector.submit(Recv(a, 1))
    for wrong in (Recv(a, 1, timeout="x"), RecvInto(a, b"x")):  # type: ignore[arg-type]
        with pytest.raises((ValueError, TypeError)):
            selector.submit(wrong)
    after = selector.submit(Recv(a, 1))
    b.send(b"12")
    assert selector.wait(SOON)[1][0] is before
    assert before.result() == b"1"
    if not after.done:
        finished(selector, after)
    assert after.result() == b"2"


@rule(94, platform="unix")
def test_a_number_that_is_too_large_is_refused(selector: Selector, pair: Pair) -> None:
    """ValueError or OSError where the interface cannot hold it, from ``submit`` and not from a
    wait; else it works.
    """
    import resource

    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1100)
    if limit < 1100:
        pytest.skip("rule 94: RLIMIT_NOFILE does not allow such a number")
    import fcntl

    a, b = pair
    high = socket.socket(fileno=fcntl.fcntl(a.fileno(), fcntl.F_DUPFD, 1090))
    with high:
        high.setblocking(False)
        b.send(b"x")
        if selector.max_descriptors is None:
            assert done_by(selector, Recv(high, 1)) == b"x"
        else:
            refused(selector, Recv(high, 1), (ValueError, OSError))
            assert done_by(selector, Recv(a, 1)) == b"x"
