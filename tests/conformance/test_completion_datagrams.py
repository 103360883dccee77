"""G. Completion: datagrams, each of which is whole, cut and flagged, or nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from netcore import (
    Operation,
    OperationCancelled,
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
    assert_nothing_done,
    done_by,
    finished,
    is_pinned,
    outcome,
    pins,
)
from .rules import rule
from .tools import SOON

Datagrams = tuple[socket.socket, socket.socket]
UDP = socket.SOCK_DGRAM


@pytest.fixture
def udp() -> Iterator[Datagrams]:
    """Two bound UDP sockets, non-blocking, connected to nobody."""
    with socket.socket(type=UDP) as one, socket.socket(type=UDP) as other:
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield one, other


@pytest.fixture
def nobody() -> Any:
    """The address of a UDP port at which there is nobody."""
    with socket.socket(type=UDP) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()


@rule(103)
def test_a_datagram_is_received_with_its_address(selector: Selector, udp: Datagrams) -> None:
    """One at a time, whether it comes before or after; in order."""
    one, other = udp
    op = selector.submit(RecvFrom(one, 100))
    assert_nothing_done(selector)
    sends = [SendTo(other, text, one.getsockname()) for text in (b"first", b"second")]
    for send in sends:
        selector.submit(send)
    finished(selector, op, *sends)
    assert [send.result() for send in sends] == [5, 6]
    assert op.result() == (b"first", other.getsockname())
    buffer = bytearray(8)
    into = RecvFromInto(one, buffer)
    assert done_by(selector, into) == (6, other.getsockname())
    assert buffer == b"second\0\0"
    assert (op.truncated, into.truncated) == (False, False)
    assert_nothing_done(selector)


@rule(103)
def test_an_empty_datagram_is_received(selector: Selector, udp: Datagrams) -> None:
    """It is a datagram like any other, with an address, and no end of anything."""
    one, other = udp
    for _ in range(2):
        assert done_by(selector, SendTo(other, b"", one.getsockname())) == 0
        assert done_by(selector, RecvFrom(one, 10)) == (b"", other.getsockname())
    other.sendto(b"", one.getsockname())
    assert done_by(selector, Recv(one, 10)) == b""
    other.sendto(b"", one.getsockname())
    assert done_by(selector, RecvFromInto(one, bytearray(1))) == (0, other.getsockname())
    other.sendto(b"x", one.getsockname())
    assert done_by(selector, Recv(one, 10)) == b"x"


@rule(103)
def test_a_truncated_datagram_is_flagged(selector: Selector, udp: Datagrams) -> None:
    """The part that there is room for, and no exception (Windows: WSAEMSGSIZE); the rest is gone.
    The flag is about the last time, when an operation is submitted again.
    """
    one, other = udp
    peer, buffer = other.getsockname(), bytearray(4)
    ops: dict[Any, Any] = {
        RecvFrom(one, 4): (b"0123", peer),
        RecvFromInto(one, buffer): (4, peer),
        Recv(one, 4): b"0123",
        RecvInto(one, buffer): 4,
    }
    for op, expected in ops.items():
        for text in (b"0123456789", b"0123"):
            buffer[:] = b"----"
            other.sendto(text, one.getsockname())
            assert done_by(selector, op) == expected
            assert op.truncated is (len(text) > 4)
            if hasattr(op, "buffer"):
                assert buffer == b"0123"
    assert_nothing_done(selector)


@rule(103)
@pins
def test_the_buffer_of_a_datagram_cannot_be_resized(selector: Selector, udp: Datagrams) -> None:
    """Until it has come out."""
    one, other = udp
    buffer = bytearray(4)
    op = selector.submit(RecvFromInto(one, buffer))
    assert is_pinned(buffer)
    assert_nothing_done(selector)
    other.sendto(b"x", one.getsockname())
    finished(selector, op)
    assert not is_pinned(buffer)


@rule(103)
def test_the_largest_datagram_goes_through(selector: Selector, udp: Datagrams) -> None:
    """65507 bytes over IPv4; a byte more is an error and not a part."""
    one, other = udp
    largest = bytes(range(256)) * 256
    try:
        sent = done_by(selector, SendTo(other, largest[:65507], one.getsockname()))
    except OSError:  # macOS: net.inet.udp.maxdgram is 9216.
        sent = done_by(selector, SendTo(other, largest[:9000], one.getsockname()))
    assert done_by(selector, RecvFrom(one, 70_000)) == (largest[:sent], other.getsockname())
    with pytest.raises(OSError, match=r"."):
        done_by(selector, SendTo(other, largest, one.getsockname()))
    assert_nothing_done(selector)


@rule(103)
def test_those_who_receive_datagrams_are_served_in_order(
    selector: Selector, udp: Datagrams
) -> None:
    """One for each."""
    one, other = udp
    ops = [selector.submit(RecvFrom(one, 100)) for _ in range(5)]
    assert_nothing_done(selector, 0.01)
    for number in range(5):
        other.sendto(b"%d" % number, one.getsockname())
    assert finished(selector, *ops) == ops
    assert [op.result()[0] for op in ops] == [b"%d" % number for number in range(5)]


@rule(103)
@pytest.mark.parametrize("most", [None, 1, 2])
def test_a_datagram_that_cannot_be_sent_fails_in_its_turn(
    selector: Selector, udp: Datagrams, most: int | None
) -> None:
    """It overtakes nobody, and nobody overtakes it."""
    one, other = udp
    contents = [b"first", *[bytes(70_000)] * 3, b"second", bytes(70_000), b"third"]
    ops = [selector.submit(SendTo(one, content, other.getsockname())) for content in contents]
    came: list[Operation] = []
    while len(came) < len(ops):
        done = selector.wait(SOON, most)[1]
        assert 0 < len(done) <= (most or len(ops))
        came += done
    assert came == ops
    assert [op.error is None for op in ops] == [len(content) < 100 for content in contents]
    for content in (b"first", b"second", b"third"):
        assert done_by(selector, Recv(other, 100)) == content


@rule(103)
def test_what_cannot_be_sent_can_be_cancelled(selector: Selector, udp: Datagrams) -> None:
    """As long as it has not come out."""
    one, other = udp
    sends = [SendTo(one, content, other.getsockname()) for content in (b"x", bytes(70_000), b"y")]
    for send in sends:
        selector.submit(send)
    assert selector.select(0) == []
    selector.cancel(sends[1])
    assert set(finished(selector, *sends)) == set(sends)
    assert [sends[0].result(), sends[2].result()] == [1, 1]
    with pytest.raises(OSError, match=r"."):
        sends[1].result()
    assert done_by(selector, SendTo(one, b"z", other.getsockname())) == 1
    assert [done_by(selector, Recv(other, 9)) for _ in range(3)] == [b"x", b"y", b"z"]


@rule(103)
def test_datagrams_between_connected_sockets(selector: Selector, udp: Datagrams) -> None:
    """Send, SendAll, Recv and RecvInto work as with a stream."""
    one, other = udp
    one.connect(other.getsockname())
    other.connect(one.getsockname())
    assert done_by(selector, Send(one, b"first")) == 5
    op = SendAll(one, bytearray(b"second"))
    assert done_by(selector, op) == op.bytes_sent == 6
    assert done_by(selector, Recv(other, 100)) == b"first"
    assert done_by(selector, RecvInto(other, bytearray(100))) == 6


@rule(103)
def test_a_cancelled_receive_takes_no_datagram(selector: Selector, udp: Datagrams) -> None:
    """The next one gets it."""
    one, other = udp
    op = selector.submit(RecvFrom(one, 100))
    assert_nothing_done(selector, 0.01)
    assert selector.cancel(op)
    with pytest.raises(OperationCancelled):
        outcome(selector, op)
    other.sendto(b"x", one.getsockname())
    assert done_by(selector, op) == (b"x", other.getsockname())


@rule(103, platform="unix")
@pytest.mark.parametrize("kind", ["SOCK_DGRAM", "SOCK_SEQPACKET"])
def test_messages_in_the_family_of_unix(selector: Selector, kind: str) -> None:
    """They keep their bounds, and are cut and flagged as well."""
    family = socket.AF_UNIX  # type: ignore[attr-defined, unused-ignore]
    try:
        one, other = socket.socketpair(family, getattr(socket, kind))
    except (OSError, AttributeError):
        pytest.skip(f"rule 103: no {kind} here")
    with one, other:
        one.setblocking(False)
        other.setblocking(False)
        for text in (b"long message", b"short", b"third"):
            assert done_by(selector, SendAll(one, text)) == len(text)
        op = Recv(other, 5)
        assert (done_by(selector, op), op.truncated) == (b"long ", True)
        assert (done_by(selector, op), op.truncated) == (b"short", False)
        assert done_by(selector, RecvInto(other, bytearray(10))) == 5


@rule(104)
def test_an_unreachable_port_does_not_fail_an_unconnected_socket(
    selector: Selector, udp: Datagrams, nobody: Any
) -> None:
    """What one peer has not got says nothing about the others. (Windows: WSAECONNRESET, until
    SIO_UDP_CONNRESET is off.)
    """
    one, other = udp
    waiting = selector.submit(RecvFrom(one, 100))
    assert_nothing_done(selector, 0.01)
    for _ in range(3):
        send = selector.submit(SendTo(one, b"anybody?", nobody))
        finished(selector, send)
        assert send.result() == 8
    time.sleep(0.05)
    assert_nothing_done(selector)
    other.sendto(b"x", one.getsockname())
    assert outcome(selector, waiting) == (b"x", other.getsockname())
    selector.submit(send)
    finished(selector, send)
    time.sleep(0.05)
    other.sendto(b"y", one.getsockname())
    assert done_by(selector, RecvFrom(one, 100)) == (b"y", other.getsockname())


@rule(104)
def test_an_unreachable_port_is_told_to_a_connected_socket(
    selector: Selector, udp: Datagrams, nobody: Any
) -> None:
    """There is but one peer: who waits for it learns that it is not there, or goes on waiting where
    the system does not tell; the next operation works.
    """
    one, _ = udp
    one.connect(nobody)
    op = selector.submit(Recv(one, 100, timeout=0.5))
    send = selector.submit(Send(one, b"anybody?"))
    finished(selector, op, send)
    with pytest.raises((ConnectionRefusedError, ConnectionResetError, TimeoutError)):
        op.result()
    with socket.socket(type=UDP) as late:
        late.bind(nobody)
        late.connect(one.getsockname())
        late.send(b"here")
        time.sleep(0.02)
        try:
            got = done_by(selector, Recv(one, 100))
        except ConnectionError:  # One more of the errors before.
            got = done_by(selector, Recv(one, 100))
        assert got == b"here"


@rule(104)
def test_a_socket_that_is_not_bound_receives(selector: Selector, udp: Datagrams) -> None:
    """From when it has sent, or been asked to receive (which Windows calls invalid)."""
    _, other = udp
    for sends in (True, False):
        with socket.socket(type=UDP) as sock:
            sock.setblocking(False)
            if sends:
                assert done_by(selector, SendTo(sock, b"x", other.getsockname())) == 1
                [_, address] = done_by(selector, RecvFrom(other, 10))
                assert done_by(selector, SendTo(other, b"reply", address)) == 5
                assert done_by(selector, RecvFrom(sock, 10)) == (b"reply", other.getsockname())
            else:
                op = selector.submit(RecvFrom(sock, 10))
                assert_nothing_done(selector)
                assert done_by(selector, SendTo(other, b"z", other.getsockname())) == 1
                assert selector.cancel(op)
                finished(selector, op)
