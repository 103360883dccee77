"""What only the Windows backend has to show: numbers, handles, sockets that others use as well."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import Iterator

import pytest

import netcore
from netcore import EVENT_HANGUP, EVENT_PRIORITY, EVENT_READ, EVENT_WRITE
from netcore.backends.iocp import _abi, _afd, _winsock
from netcore.backends.iocp._backend import Iocp
from netcore.backends.iocp._port import CompletionPort
from netcore.contract import CLOSED, FAILED
from netcore.operations import Operation, Poll

windows_only = pytest.mark.skipif(sys.platform != "win32", reason="needs Windows")
SOON = 5.0


# -- the masks, which need no Windows


@pytest.mark.parametrize("event", [EVENT_READ, EVENT_WRITE, EVENT_PRIORITY, EVENT_HANGUP])
def test_whatever_is_asked_of_afd_is_an_event_that_was_asked_for(event: int) -> None:
    """A bit of AFD that is no answer to what was wanted would come at once, again and again."""
    asked = _afd.afd_events(event)
    for bit in (1 << number for number in range(16)):
        if asked & bit and bit != _abi.AFD_POLL_LOCAL_CLOSE:
            assert _afd.event_bits(bit) & event
    assert asked & _abi.AFD_POLL_LOCAL_CLOSE
    assert not asked & _abi.AFD_POLL_CONNECT


def test_a_lost_connection_is_everything_but_urgent() -> None:
    everything = EVENT_READ | EVENT_WRITE | EVENT_HANGUP | FAILED
    assert _afd.event_bits(_abi.AFD_POLL_ABORT) == everything
    assert _afd.event_bits(_abi.AFD_POLL_CONNECT_FAIL) == everything
    assert _afd.event_bits(_abi.AFD_POLL_LOCAL_CLOSE) == CLOSED
    assert _afd.event_bits(_abi.AFD_POLL_RECEIVE_EXPEDITED) == EVENT_PRIORITY


def test_it_is_available_on_windows_only() -> None:
    assert Iocp.available() == ("iocp" in netcore.available_backends())
    assert Iocp.available() <= (sys.platform == "win32")


# -- on Windows


def handles() -> int:
    from conformance.handles import handles

    return len(handles())


@pytest.fixture
def selector() -> Iterator[netcore.Selector]:
    with netcore.Selector("iocp") as selector:
        yield selector


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    a, b = socket.socketpair()
    with a, b:
        yield a, b


def afd_of(selector: netcore.Selector) -> _afd.Afd:
    native = selector._backend._native  # type: ignore[attr-defined]
    assert isinstance(native, Iocp)
    return native._afd


@contextlib.contextmanager
def datagram_sockets(number: int) -> Iterator[list[socket.socket]]:
    """One handle each; they send to themselves."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(number):
            sock = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            sock.bind(("127.0.0.1", 0))
            sock.connect(sock.getsockname())
            sock.setblocking(False)
            sockets.append(sock)
        yield sockets


@windows_only
def test_it_is_the_default() -> None:
    assert netcore.available_backends()[:2] == ["iocp", "select"]
    with netcore.Selector() as selector:
        assert selector.backend == "iocp"
        assert selector.max_descriptors is None


@windows_only
def test_five_thousand_sockets(selector: netcore.Selector) -> None:
    """Registered, idle; then fifty are ready, then all of them; then none is registered, and no
    more helpers are left than one.
    """
    with datagram_sockets(5000) as sockets:
        before = handles()
        for sock in sockets:
            selector.register(sock, EVENT_READ)
        assert selector.select(0) == []
        assert len(afd_of(selector)._helpers) == -(-5000 // _afd.GROUP)
        chosen = random.Random(5000).sample(sockets, 50)
        for sock in chosen:
            sock.send(b"x")
        assert {row[0].fileobj for row in selector.select(SOON)} == set(chosen)
        for sock in set(sockets) - set(chosen):
            sock.send(b"x")
        assert len(selector.select(SOON)) == 5000
        for sock in sockets:
            assert sock.recv(2) == b"x"
        assert selector.select(0) == []
        for sock in sockets:
            selector.unregister(sock)
        assert selector.select(0) == []
        assert not afd_of(selector)._in_flight
        assert handles() <= before + 1


@windows_only
def test_waiting_takes_no_handles(
    selector: netcore.Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Nor do 10 000 changes."""
    a, _ = pair
    key = selector.register(a, EVENT_WRITE)
    selector.select(SOON)
    before = handles()
    for _ in range(10_000):
        assert selector.select(SOON) == [(key, EVENT_WRITE)]
    assert handles() <= before
    for _ in range(5_000):
        selector.modify(a, EVENT_READ)
        selector.select(0)
        selector.modify(a, EVENT_READ | EVENT_WRITE)
        assert len(selector.select(SOON)) == 1
    assert handles() <= before


@windows_only
def test_making_and_closing_takes_no_handles(pair: tuple[socket.socket, socket.socket]) -> None:
    """2000 of them, closed with a poll in flight; nothing is left to the kernel."""
    netcore.Selector("iocp").close()
    before = handles()
    for _ in range(2000):
        with netcore.Selector("iocp") as selector:
            selector.register(pair[0], EVENT_READ)
            selector.select(0)
    assert handles() <= before
    assert not _afd._leaked


@windows_only
def test_a_socket_that_belongs_to_another_port_is_watched(
    selector: netcore.Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A socket can be associated with one port in its life; AFD needs none (asyncio's Proactor
    takes it for its own).
    """
    a, b = pair
    windows = _winsock.windows()
    other = CompletionPort(windows)
    other.associate(windows.ffi.cast("HANDLE", a.fileno()))
    key = selector.register(a, EVENT_READ)
    b.send(b"x")
    assert selector.select(SOON) == [(key, EVENT_READ)]
    assert other.dequeue(0, 1) == 0
    other.close()


@windows_only
def test_a_socket_shared_with_another_loop_is_watched_by_both(
    selector: netcore.Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Two selectors, the same socket and one made by ``share``: everybody is told."""
    a, b = pair
    import os

    with netcore.Selector("iocp") as second, socket.fromshare(a.share(os.getpid())) as shared:
        first_key, second_key = selector.register(a, EVENT_READ), second.register(a, EVENT_READ)
        third_key = second.register(shared, EVENT_READ)
        assert selector.select(0) == second.select(0) == []
        b.send(b"x")
        assert selector.select(SOON) == [(first_key, EVENT_READ)]
        told = {key for key, _ in second.select(SOON) + second.select(SOON)}
        assert told == {second_key, third_key}


@windows_only
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this Python has no AF_UNIX")
def test_a_unix_socket_is_watched(selector: netcore.Selector, tmp_path: object) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}\\socket")
        listener.listen()
        key = selector.register(listener, EVENT_READ)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path}\\socket")
            assert selector.select(SOON) == [(key, EVENT_READ)]


@windows_only
def test_a_reused_handle_is_not_taken_for_the_old_socket(selector: netcore.Selector) -> None:
    """The very next socket gets the number; the poll of the old one is on its way back."""
    for _ in range(200):
        a, b = socket.socketpair()
        selector.register(a, EVENT_READ, "old")
        selector.select(0)
        b.send(b"x")
        number = a.fileno()
        selector.unregister(a)
        a.close()
        c, d = socket.socketpair()
        again = {c.fileno(): c, d.fileno(): d}.get(number)
        if again:
            selector.register(again, EVENT_READ, "new")
            assert selector.select(0) == []
            selector.unregister(again)
        for sock in (b, c, d):
            sock.close()


@windows_only
def test_what_it_cannot_do_is_refused() -> None:
    backend = Iocp()
    with pytest.raises(TypeError):
        backend.submit(Operation(1))
    with pytest.raises(OSError, match="socket") as raised:
        backend.submit(Poll(0x7FFFFFFC, EVENT_READ))
    assert raised.value.winerror == _abi.WSAENOTSOCK  # type: ignore[attr-defined]
    a, b = socket.socketpair()
    poll = Poll(a.fileno(), EVENT_READ)
    backend.submit(poll)
    with pytest.raises(ValueError, match="in flight"):
        backend.submit(poll)
    backend.cancel(poll)
    assert backend.wait(SOON) == [poll]
    assert (poll.done, poll.found) == (True, 0)
    backend.cancel(poll)
    backend.close()
    backend.close()
    backend.wake()
    a.close()
    b.close()


@windows_only
def test_asyncio_holds_more_than_512_connections() -> None:
    """On a SelectorEventLoop, which cannot without us: 700 sockets in one process."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await writer.drain()
        await reader.read()
        writer.close()

    async def main() -> int:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=350)
        port = server.sockets[0].getsockname()[1]
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(350)]
        for _, writer in clients:
            writer.write(b"hello")
        answers = await asyncio.gather(*(reader.readexactly(5) for reader, _ in clients))
        for _, writer in clients:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in clients))
        server.close()
        return answers.count(b"hello")

    loop = asyncio.SelectorEventLoop(netcore.Selector("iocp"))
    try:
        assert loop.run_until_complete(asyncio.wait_for(main(), 60)) == 350
    finally:
        loop.close()
