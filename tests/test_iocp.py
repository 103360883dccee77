"""What only the Windows backend has to show: numbers, handles, sockets that others use as well."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conformance.tools import in_thread

import netcore
from netcore import EVENT_HANGUP, EVENT_PRIORITY, EVENT_READ, EVENT_WRITE
from netcore.backends.iocp import _abi, _afd, _interrupt, _sockets, _winsock
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


# -- what Wine has not, scripted


class Scripted:
    """Stands for ``Windows``: ffi and libraries, of which those functions work that are given."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.last_error = 0
        library = SimpleNamespace(**functions)
        self.kernel32 = self.ntdll = self.ws2_32 = library
        self.ffi = SimpleNamespace(
            NULL=None,
            new=lambda ctype, value=0: [value],
            sizeof=lambda ctype: 8,
            cast=lambda ctype, value: value,
            getwinerror=lambda: (self.last_error, "in words"),
        )


def layers(answers: dict[tuple[int, int], int]) -> Scripted:
    """Winsock with layered providers: (socket, question) -> answer; negative is an error."""

    def ioctl(fd: int, question: int, _in: Any, _length: Any, answer: Any, *_: Any) -> int:
        found = answers.get((fd, question), -WSAEOPNOTSUPP)
        windows.last_error = -found
        answer[0] = found
        return -(found < 0)

    windows = Scripted(WSAIoctl=ioctl)
    return windows


WSAEOPNOTSUPP = 10045
BASE, BELOW = _abi.SIO_BASE_HANDLE, _abi.SIO_BSP_HANDLE_POLL


@pytest.mark.parametrize(
    ("answers", "base"),
    [
        ({(7, BASE): 7}, 7),
        ({(7, BASE): 3}, 3),
        ({}, 7),
        ({(7, BELOW): 5, (5, BASE): 3}, 3),
        ({(7, BELOW): 5, (5, BELOW): 4, (4, BELOW): 4}, 4),
    ],
    ids=["none", "one that tells", "one that tells nothing", "one that hides it", "two that do"],
)
def test_the_socket_below_all_layers_is_found(
    answers: dict[tuple[int, int], int], base: int
) -> None:
    """A layered provider may refuse SIO_BASE_HANDLE and still tell of the layer below (trio#1280);
    who is below nothing names itself, or nobody.
    """
    assert _sockets.base_socket(layers(answers), 7) == base  # type: ignore[arg-type]


@pytest.mark.parametrize("question", [BASE, BELOW])
def test_what_winsock_does_not_take_for_a_socket_is_refused(question: int) -> None:
    windows = layers({(7, question): -_abi.WSAENOTSOCK})
    with pytest.raises(OSError, match="not an open socket"):
        _sockets.base_socket(windows, 7)  # type: ignore[arg-type]


class Packets:
    """Windows 8's wait completion packets; notes what is asked of it."""

    def __init__(self, status: int = 0) -> None:
        self.log: list[str] = []
        say = self.log.append
        self.windows: Any = Scripted(
            NtCreateWaitCompletionPacket=lambda *_: say("create") or 0,
            NtAssociateWaitCompletionPacket=lambda *_: say("associate") or status,
            NtCancelWaitCompletionPacket=lambda *_: say("cancel") or 0,
            ResetEvent=lambda *_: say("reset") or 1,
            CloseHandle=lambda *_: say("close") or 1,
        )


@pytest.fixture
def sigint_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_interrupt, "sigint_event", lambda: 5)


PORT: Any = SimpleNamespace(handle=3)


@pytest.mark.usefixtures("sigint_event")
def test_ctrl_c_posts_a_packet() -> None:
    """It is armed before the event can matter, once for many waits, and again after it came; then
    nobody waits in slices.
    """
    packets = Packets()
    ctrl_c = _interrupt.CtrlC(packets.windows, PORT)
    assert ctrl_c.limit(0) == 0
    assert packets.log == []
    assert ctrl_c.limit(None) is None
    assert packets.log == ["create", "reset", "associate"]
    assert ctrl_c.limit(5000) == 5000
    ctrl_c.came()
    assert ctrl_c.limit(None) is None
    assert packets.log == ["create", "reset", "associate", "reset", "associate"]
    ctrl_c.close()
    ctrl_c.close()
    assert packets.log[5:] == ["cancel", "close"]


@pytest.mark.usefixtures("sigint_event")
def test_without_packets_the_main_thread_waits_in_slices() -> None:
    """Windows 7, Wine, and a packet that the system refuses; other threads get no Ctrl-C."""
    refused = Packets(status=-1)
    for windows in (Scripted(), refused.windows):
        ctrl_c = _interrupt.CtrlC(windows, PORT)
        for _ in range(2):
            assert ctrl_c.limit(None) == _interrupt.SLICE
            assert ctrl_c.limit(5000) == _interrupt.SLICE
            assert ctrl_c.limit(20) == 20
        with in_thread(lambda ctrl_c=ctrl_c: ctrl_c.limit(None)) as limit:
            pass
        assert limit == [None]
        ctrl_c.close()
    assert refused.log == ["create", "reset", "associate", "cancel", "close"]


def test_without_cffi_nothing_is_imported_and_select_is_chosen() -> None:
    """cffi is parsed when the first port is made, which on Unix is never."""
    code = """
import sys
before = set(sys.modules)
import netcore, netcore.backends.iocp._backend
netcore.available_backends()
assert not {"cffi", "_cffi_backend", "ctypes"} & (set(sys.modules) - before)
sys.modules["cffi"] = None
with netcore.Selector() as selector:
    print(selector.backend, "iocp" in netcore.available_backends())
"""
    output = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert output.returncode == 0
    if sys.platform == "win32":
        assert output.stdout.split() == ["select", "False"]


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
    with netcore.Selector("iocp") as second, socket.fromshare(a.share(os.getpid())) as shared:
        first_key, second_key = selector.register(a, EVENT_READ), second.register(a, EVENT_READ)
        third_key = second.register(shared, EVENT_READ)
        assert selector.select(0) == second.select(0) == []
        b.send(b"x")
        assert selector.select(SOON) == [(first_key, EVENT_READ)]
        told = {key for key, _ in second.select(SOON) + second.select(SOON)}
        assert told == {second_key, third_key}


AF_UNIX = 1


def unix_socket() -> socket.socket:
    """Python has no AF_UNIX on Windows, but takes the number."""
    try:
        return socket.socket(AF_UNIX)
    except OSError as error:
        pytest.skip(f"this system has no AF_UNIX: {error}")


@windows_only
def test_a_unix_socket_is_watched(selector: netcore.Selector, tmp_path: Path) -> None:
    """A listener has somebody to accept; on the other end the connection can be written."""
    ws2_32 = ctypes.__dict__["windll"].ws2_32
    address = struct.pack("<H108s", AF_UNIX, os.fsencode(tmp_path / "s"))
    with unix_socket() as listener, unix_socket() as client:
        assert not ws2_32.bind(ctypes.c_size_t(listener.fileno()), address, len(address))
        listener.listen()
        key = selector.register(listener, EVENT_READ)
        assert selector.select(0) == []
        assert not ws2_32.connect(ctypes.c_size_t(client.fileno()), address, len(address))
        assert selector.select(SOON) == [(key, EVENT_READ)]
        selector.unregister(listener)
        key = selector.register(client, EVENT_READ | EVENT_WRITE)
        assert selector.select(SOON) == [(key, EVENT_WRITE)]


@windows_only
def test_a_handle_that_is_no_socket_is_refused(selector: netcore.Selector) -> None:
    """Of a file, a pipe and a port: WSAENOTSOCK, in words; nothing is registered."""
    import msvcrt

    readable, writable = os.pipe()
    numbers = [msvcrt.get_osfhandle(readable)]  # type: ignore[attr-defined]
    with open(__file__, "rb") as file:
        numbers.append(msvcrt.get_osfhandle(file.fileno()))  # type: ignore[attr-defined]
        windows = _winsock.windows()
        port = CompletionPort(windows)
        numbers.append(int(windows.ffi.cast("uintptr_t", port.handle)))
        for number in numbers:
            with pytest.raises(OSError, match="not an open socket") as raised:
                selector.register(number, EVENT_READ)
            assert raised.value.winerror == _abi.WSAENOTSOCK  # type: ignore[attr-defined]
        port.close()
    assert not selector.get_map()
    os.close(readable)
    os.close(writable)


@windows_only
def test_nothing_of_it_is_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is woken by a packet: no connection to itself, which firewalls ask about and which can
    break. Two handles, the port and a helper.
    """

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was made")

    netcore.Selector("iocp").close()
    before = handles()
    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "socketpair", refused)
    with netcore.Selector("iocp") as selector:
        selector.wakeup()
        assert selector.select(SOON) == []
        monkeypatch.undo()
        assert handles() == before + 2


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
    assert (poll.in_flight, poll.found) == (False, 0)
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
