"""What only the Windows backend has to show of operations.

Pipes, handles, calls with an OVERLAPPED, sockets that belong to another port, numbers that are used
again, and who keeps the memory.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from netcore.conformance.tools import assert_same

import netcore
from netcore import _attempts
from netcore.backends.iocp import _abi, _address, _errors, _flights, _waits, _winsock
from netcore.backends.iocp._backend import Iocp
from netcore.backends.iocp._port import CompletionPort
from netcore.operations import (
    Accept,
    AcceptPipe,
    Connect,
    ConnectPipe,
    Operation,
    OperationCancelled,
    Overlapped,
    Poll,
    Read,
    Recv,
    RecvFrom,
    RecvInto,
    Send,
    SendAll,
    SendFile,
    SendTo,
    WaitHandle,
    Write,
)

windows_only = pytest.mark.skipif(sys.platform != "win32", reason="needs Windows")
SOON = 5.0


# -- translators, which need no Windows


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("127.0.0.1", 80)),
        (socket.AF_INET, ("255.255.255.255", 65535)),
        (_abi.AF_INET6, ("::1", 1, 0, 0)),
        (_abi.AF_INET6, ("fe80::1", 443, 7, 3)),
    ],
)
def test_an_address_goes_to_the_kernel_and_back(family: int, address: Any) -> None:
    assert _address.unpacked(_address.packed(family, address) + bytes(100)) == address


@pytest.mark.parametrize("address", [("127.0.0.1", 65536), ("127.0.0.1", "80"), ("127.0.0.1",), 5])
def test_what_is_no_address_is_an_oserror(address: Any) -> None:
    """Whatever is wrong with it, the operation ends with it, and not the wait."""
    with pytest.raises(OSError, match="no address"):
        _address.packed(socket.AF_INET, address)


def test_a_short_address_and_a_zone_are_understood() -> None:
    assert _address.unpacked(_address.packed(_abi.AF_INET6, ("fe80::1%3", 9)))[3] == 3
    assert _address.unpacked(_address.packed(socket.AF_INET, ("", 9)))[0] == "0.0.0.0"
    assert _address.unpacked(_address.packed(socket.AF_INET, ("<broadcast>", 9)))[0][:4] == "255."


@pytest.mark.parametrize(
    ("code", "kind", "number"),
    [
        (_abi.ERROR_NETNAME_DELETED, ConnectionResetError, errno.ECONNRESET),
        (_abi.ERROR_CONNECTION_ABORTED, ConnectionAbortedError, errno.ECONNABORTED),
        (_abi.ERROR_OPERATION_ABORTED, ConnectionAbortedError, errno.ECONNABORTED),
        (_abi.ERROR_CONNECTION_REFUSED, ConnectionRefusedError, errno.ECONNREFUSED),
        (_abi.ERROR_SEM_TIMEOUT, TimeoutError, errno.ETIMEDOUT),
        (_abi.ERROR_NO_DATA, BrokenPipeError, errno.EPIPE),
        (_abi.ERROR_BROKEN_PIPE, BrokenPipeError, errno.EPIPE),
    ],
)
def test_an_error_of_the_kernel_has_the_errno_of_its_meaning(
    code: int, kind: type[OSError], number: int
) -> None:
    """Python makes EINVAL of what it does not know; then ``except`` does not find it."""
    error: Any = _errors.error(code, "words")
    assert (type(error), error.errno, error.winerror) == (kind, number, code)


# -- wait completion packets, which Wine 8 has not, scripted


def scripted_waits(cancel_status: int) -> tuple[_waits.PacketWaits, list[Any]]:
    """With the calls that it makes and what else it does."""
    said: list[Any] = []

    def create(made: list[Any], *_: Any) -> int:
        made[0] = "packet"
        return 0

    def associate(packet: Any, port: Any, target: int, *_: Any) -> int:
        said.append(("associate", packet, target))
        return 0 if target != 666 else -5

    def cancel(packet: Any, remove: int) -> int:
        said.append(("cancel", packet))
        return cancel_status

    library = SimpleNamespace(
        NtCreateWaitCompletionPacket=create,
        NtAssociateWaitCompletionPacket=associate,
        NtCancelWaitCompletionPacket=cancel,
        CloseHandle=lambda packet: said.append(("close", packet)),
    )
    ffi = SimpleNamespace(NULL=None, new=lambda _: [None], cast=lambda _, value: value)
    windows = SimpleNamespace(
        ffi=ffi, ntdll=library, kernel32=library, status_error=lambda status: OSError(-status, "no")
    )
    flights: Any = SimpleNamespace(
        windows=windows,
        port=SimpleNamespace(handle="port"),
        end=lambda flight, code: said.append(("end", code)),
    )
    return _waits.PacketWaits(flights), said


def flight_to(fd: int) -> Any:
    class Flight:
        overlapped = SimpleNamespace(Internal=1)
        pointer = "overlapped"

    flight: Any = Flight()
    flight.fd = fd
    return flight


def test_a_wait_packet_is_given_back_when_it_has_come() -> None:
    waits, said = scripted_waits(0)
    flight = flight_to(4)
    waits.start(flight)
    waits.done_with(flight)
    waits.done_with(flight)
    waits.cancel(flight)
    assert said == [("associate", "packet", 4), ("close", "packet")]


@pytest.mark.parametrize("status", [0, _abi.STATUS_PENDING])
def test_a_wait_packet_that_is_on_its_way_beats_the_cancel(status: int) -> None:
    waits, said = scripted_waits(status)
    flight = flight_to(4)
    waits.start(flight)
    waits.cancel(flight)
    ended = [("end", _abi.ERROR_OPERATION_ABORTED)] if not status else []
    assert said[1:] == [("cancel", "packet"), *ended]


def test_a_handle_that_cannot_be_waited_for_takes_no_packet() -> None:
    waits, said = scripted_waits(0)
    with pytest.raises(OSError, match="no"):
        waits.start(flight_to(666))
    assert said == [("associate", "packet", 666), ("close", "packet")]


# -- on Windows


@pytest.fixture
def selector() -> Iterator[netcore.Selector]:
    with netcore.Selector("iocp") as selector:
        yield selector


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    a, b = tcp_pair()
    with a, b:
        yield a, b


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    return a, b


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def native_of(selector: netcore.Selector) -> Iocp:
    native: Any = selector._native
    assert isinstance(native._native, Iocp)
    return native._native


def table_of(selector: netcore.Selector) -> dict[int, Any]:
    return native_of(selector)._flights.table


def finished(selector: netcore.Selector, count: int = 1, timeout: float = SOON) -> list[Operation]:
    """The next ``count`` that come out."""
    done: list[Operation] = []
    deadline = time.monotonic() + timeout
    while len(done) < count:
        done += selector.wait(max(deadline - time.monotonic(), 0))[1]
        assert len(done) >= count or time.monotonic() < deadline, f"only {done}"
    return done


def result(selector: netcore.Selector, operation: Operation) -> Any:
    selector.submit(operation)
    assert finished(selector) == [operation]
    return operation.result()


def handles() -> int:
    from conformance.handles import handles

    return len(handles())


@windows_only
def test_what_is_done_by_the_port(
    selector: netcore.Selector, listener: socket.socket, pair: tuple[socket.socket, socket.socket]
) -> None:
    """And what is left to polls and non-blocking calls."""
    a, _ = pair
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as client:
        datagrams.setblocking(False)
        client.setblocking(False)
        mine: list[Operation] = [
            *(Recv(a, 1), RecvInto(a, bytearray(1)), Send(a, b"x"), SendAll(a, b"x")),
            *(Recv(datagrams, 1), RecvFrom(datagrams, 1), Send(datagrams, b"")),
            *(SendTo(datagrams, b"", ("127.0.0.1", 9)), Accept(listener)),
            *(Connect(client, listener.getsockname()), ConnectPipe("x"), WaitHandle(0)),
        ]
        others: list[Operation] = [
            *(Connect(datagrams, ("127.0.0.1", 9)), SendTo(a, b"", ("127.0.0.1", 9))),
            Poll(a, netcore.EVENT_READ),
        ]
        selector.post()
        selector.wait(0)
        native = native_of(selector)
        for operation in mine + others:
            operation._prepare()
            assert native.takes(operation) == (operation in mine), operation
            operation._forget()


@windows_only
def test_operations_of_a_foreign_port_are_done_nevertheless(
    selector: netcore.Selector, listener: socket.socket
) -> None:
    """A socket is associated with one port in its life: the others are done by readiness."""
    windows = _winsock.windows()
    other = CompletionPort(windows)
    with socket.socket() as client:
        client.setblocking(False)
        for sock in (listener, client):
            other.associate(windows.ffi.cast("HANDLE", sock.fileno()))
        selector.submit(Accept(listener))
        selector.submit(Connect(client, listener.getsockname()))
        accept = next(op for op in finished(selector, 2) if isinstance(op, Accept))
        with accept.result()[0] as server:
            for sock, peer in ((client, server), (server, client)):
                assert result(selector, SendAll(sock, b"hello")) == 5
                assert result(selector, Recv(peer, 10)) == b"hello"
            assert table_of(selector) == {}
    assert other.dequeue(0, 1) == 0
    other.close()


@windows_only
def test_two_selectors_work_on_one_socket(
    selector: netcore.Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    """And a later one on a socket of one that is closed."""
    a, b = pair
    recv = Recv(a, 10)
    for _ in range(2):
        with netcore.Selector("iocp") as second:
            for each in (selector, second, selector):
                b.send(b"x")
                assert result(each, recv) == b"x"


@windows_only
def test_what_follows_a_connect_waits_for_it(
    selector: netcore.Selector, listener: socket.socket
) -> None:
    """And fails if it fails."""
    with socket.socket() as client:
        client.setblocking(False)
        ops = [Connect(client, listener.getsockname()), SendAll(client, b"hello"), Recv(client, 9)]
        for op in ops:
            selector.submit(op)
        assert finished(selector, 2) == ops[:2]
        server, _ = listener.accept()
        with server:
            assert server.recv(10) == b"hello"
            server.send(b"world")
            assert finished(selector) == ops[2:]
            assert ops[2].result() == b"world"
    address = listener.getsockname()
    listener.close()
    with socket.socket() as client:
        client.setblocking(False)
        ops = [Connect(client, address), SendAll(client, b"hello"), SendAll(client, b"x")]
        for op in ops:
            selector.submit(op)
        done = selector.wait(0)[1]
        selector.cancel(ops[2])
        assert {*done, *finished(selector, 3 - len(done))} == set(ops)
        assert isinstance(ops[0].error, ConnectionRefusedError)
        assert isinstance(ops[1].error, OSError)
        assert isinstance(ops[2].error, OSError)


@windows_only
def test_what_follows_a_file_comes_after_it(
    selector: netcore.Selector, pair: tuple[socket.socket, socket.socket], tmp_path: Any
) -> None:
    """From any offset; no bytes are none, and not the whole file."""
    a, b = pair
    content = os.urandom(1 << 20)
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        assert result(selector, SendFile(a, file, 5, 0)) == 0
        assert result(selector, SendFile(a, file, 2 << 20)) == 0
        ops = [SendFile(a, file, 1000), SendAll(a, b"between"), SendFile(a, file, 0, 100)]
        for op in ops:
            selector.submit(op)
        expected = content[1000:] + b"between" + content[:100]
        received = b""
        while len(received) < len(expected):
            recv = selector.submit(Recv(b, 1 << 20))
            while not recv.done:
                selector.wait(SOON)
            received += recv.result()
        while not all(op.done for op in ops):
            selector.wait(SOON)
    assert_same(received, expected)
    assert [op.result() for op in ops] == [len(content) - 1000, 7, 100]


@windows_only
def test_a_reused_number_is_another_socket(selector: netcore.Selector) -> None:
    """Closed with something pending; one of the next sockets gets the number, and its own data."""
    reused = 0
    for _ in range(200):
        a, b = tcp_pair()
        old = selector.submit(Recv(a, 10))
        selector.wait(0)
        number = a.fileno()
        selector.cancel(old)
        a.close()
        with contextlib.ExitStack() as stack:
            stack.enter_context(b)
            for _ in range(5):
                mine = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                if mine.fileno() == number:
                    reused += 1
                    break
            mine.setblocking(False)
            mine.bind(("127.0.0.1", 0))
            mine.connect(mine.getsockname())
            new = selector.submit(Recv(mine, 10))
            mine.send(b"new")
            assert set(finished(selector, 2)) == {old, new}
            assert isinstance(old.error, OperationCancelled)
            assert new.result() == b"new"
    assert reused
    assert table_of(selector) == {}


@windows_only
def test_a_socket_that_was_closed_is_said_to_be(
    selector: netcore.Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    recv = selector.submit(Recv(pair[0], 10))
    selector.wait(0)
    pair[0].close()
    assert finished(selector) == [recv]
    assert recv.error is not None
    with pytest.raises(OSError, match="closed") as raised:
        recv.result()
    assert raised.value.errno == errno.EBADF


@windows_only
def test_operations_take_no_handles(selector: netcore.Selector, listener: socket.socket) -> None:
    """Thousands, of each kind, done and cancelled."""
    a, b = tcp_pair()
    recv, send = Recv(a, 10), SendAll(b, b"x")
    result(selector, send)
    result(selector, recv)
    event = make_event()
    before = handles()
    for _ in range(3000):
        selector.submit(recv)
        selector.submit(send)
        finished(selector, 2)
    for _ in range(300):
        for operation in (recv, Accept(listener), WaitHandle(event), ConnectPipe("busy")):
            selector.submit(operation)
        selector.wait(0)
        for flight in list(table_of(selector).values()):
            selector.cancel(flight.operation)
        finished(selector, 3)
        while selector.wait(0.01)[1]:
            pass
    for _ in range(200):
        client = socket.socket()
        client.setblocking(False)
        selector.submit(Accept(listener))
        selector.submit(Connect(client, listener.getsockname()))
        for op in finished(selector, 2):
            if isinstance(op, Accept):
                op.result()[0].close()
        client.close()
    assert table_of(selector) == {}
    assert handles() <= before
    close_handle(event)
    a.close()
    b.close()


@windows_only
def test_the_memory_of_what_is_in_flight_is_kept(selector: netcore.Selector) -> None:
    """Nobody else has a reference to the operation, its buffer or its socket."""
    with contextlib.ExitStack() as stack:
        peers = []
        for number in range(100):
            a, b = tcp_pair()
            peers.append(stack.enter_context(b))
            selector.submit(RecvInto(a, bytearray(1000), data=number))
            selector.submit(SendAll(a, os.urandom(1000)))
            del a
        done = selector.wait(0)[1]
        gc.collect()
        for number, b in enumerate(peers):
            b.send(b"%d" % number)
        done += finished(selector, 200 - len(done))
        for op in done:
            if isinstance(op, RecvInto):
                assert bytes(op.buffer[: op.result()]) == b"%d" % op.data  # type: ignore[index]


@windows_only
def test_closing_ends_everything(listener: socket.socket) -> None:
    """Soon; buffers are the user's again, and the kernel has nothing of ours any more."""
    before = handles()
    a, b = tcp_pair()
    buffer, content = bytearray(10), bytearray(32 << 20)
    server, event = make_pipe("closing"), make_event()
    selector = netcore.Selector("iocp")
    ops: list[Operation] = [
        *(RecvInto(a, buffer), SendAll(a, content), Accept(listener), AcceptPipe(server)),
        *(WaitHandle(event), ConnectPipe(pipe_name("closing"))),
    ]
    for op in ops:
        selector.submit(op)
    selector.wait(0.05)
    leaked = len(_flights._leaked)
    began = time.monotonic()
    selector.close()
    assert time.monotonic() - began < 1
    assert len(_flights._leaked) == leaked
    buffer.append(1)
    content.append(1)
    for op in ops:
        assert op.done
        if isinstance(op, ConnectPipe) and not op.error:
            close_handle(op.result())
    for sock in (a, b):
        sock.close()
    close_handle(server)
    close_handle(event)
    assert handles() <= before


@windows_only
def test_an_interrupted_submit_is_taken_up(
    selector: netcore.Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A signal handler has raised after the call of Windows, or before: it is made once."""
    a, b = pair
    b.send(b"x")
    backend = Iocp()
    for late in (True, False):
        recv = Recv(a, 1)
        recv._prepare()
        assert backend.takes(recv)
        way = backend._ways._way_of(Recv)
        assert way is not None
        start = way.start

        def interrupted(flight: Any, late: bool = late, start: Any = start) -> int:
            if late:
                start(flight)
            raise KeyboardInterrupt

        way.start = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            backend.submit(recv)
        way.start = start  # type: ignore[method-assign]
        if not late:
            table = backend._flights.table
            next(iter(table.values())).overlapped.Internal = _flights._NOT_STARTED
        backend.submit(recv)
        if not late:
            b.send(b"y")
        assert backend.wait(SOON) == [recv]
        assert recv.value == (b"x" if late else b"y")
        assert backend.wait(0) == []
    backend.close()


class UnboundOnWindows(socket.socket):
    """Fails to receive until it is bound, as on Windows: Wine 8 says that nothing has come yet."""

    def recvfrom(self, *args: Any) -> Any:
        self.getsockname()  # WSAEINVAL, too.
        return super().recvfrom(*args)


@windows_only
def test_an_attempt_to_receive_binds_the_socket() -> None:
    """So that it has only to wait. CPython says EINVAL for WSAEINVAL, unlike most of Winsock's."""
    with UnboundOnWindows(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            _attempts._recv_from(RecvFrom(sock, 10))
        assert sock.getsockname()[1]


# -- pipes and handles


def pipe_name(name: str) -> str:
    return rf"\\.\pipe\netcore-{os.getpid()}-{name}"


def make_pipe(name: str, instances: int = 1, message: bool = False) -> int:
    """The server's end."""
    windows = _winsock.windows()
    encoded = windows.ffi.from_buffer(pipe_name(name).encode("utf-16-le") + b"\0\0")
    mode = 6 if message else 0  # PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE
    handle = windows.kernel32.CreateNamedPipeW(
        windows.ffi.cast("WCHAR *", encoded),
        _abi.PIPE_ACCESS_DUPLEX | _abi.FILE_FLAG_OVERLAPPED,
        mode,
        instances,
        4096,
        4096,
        0,
        windows.ffi.NULL,
    )
    return number_of(handle)


def make_event(manual: bool = False) -> int:
    windows = _winsock.windows()
    null = windows.ffi.NULL
    return number_of(windows.kernel32.CreateEventW(null, manual, 0, null))


def set_event(event: int) -> None:
    windows = _winsock.windows()
    windows.kernel32.SetEvent(windows.ffi.cast("HANDLE", event))


def number_of(handle: Any) -> int:
    number = int(_winsock.windows().ffi.cast("intptr_t", handle))
    assert number > 0
    return number


def close_handle(handle: int) -> None:
    windows = _winsock.windows()
    assert windows.kernel32.CloseHandle(windows.ffi.cast("HANDLE", handle))


@windows_only
def test_a_pipe_is_accepted_connected_read_and_written(selector: netcore.Selector) -> None:
    """The end is b"", and then BrokenPipeError for who writes."""
    server = make_pipe("plain")
    accept, connect = AcceptPipe(server), ConnectPipe(pipe_name("plain"))
    selector.submit(accept)
    assert selector.wait(0.02)[1] == []
    selector.submit(connect)
    assert set(finished(selector, 2)) == {accept, connect}
    assert accept.result() == server
    client = connect.result()
    for one, other in ((client, server), (server, client)):
        read = selector.submit(Read(one, 100))
        assert selector.wait(0.02)[1] == []
        write = selector.submit(Write(other, bytearray(b"hello")))
        assert set(finished(selector, 2)) == {read, write}
        assert (read.result(), write.result()) == (b"hello", 5)
    read = selector.submit(Read(server, 100))
    selector.wait(0.02)
    close_handle(client)
    assert finished(selector) == [read]
    assert read.result() == b""
    assert result(selector, Read(server, 100)) == b""
    with pytest.raises(BrokenPipeError) as raised:
        result(selector, Write(server, b"x"))
    assert raised.value.errno == errno.EPIPE
    close_handle(server)


@windows_only
def test_a_client_may_come_first(selector: netcore.Selector) -> None:
    server = make_pipe("first")
    client = result(selector, ConnectPipe(pipe_name("first")))
    assert result(selector, AcceptPipe(server)) == server
    close_handle(client)
    close_handle(server)


@windows_only
def test_a_busy_pipe_is_waited_for(selector: netcore.Selector) -> None:
    """Without blocking; a cancelled one is not connected any more."""
    server = make_pipe("busy")
    client = result(selector, ConnectPipe(pipe_name("busy")))
    waiting, cancelled = ConnectPipe(pipe_name("busy")), ConnectPipe(pipe_name("busy"))
    late = ConnectPipe(pipe_name("busy"), timeout=0.02)
    for op in (waiting, cancelled, late):
        selector.submit(op)
    assert finished(selector) == [late]
    assert isinstance(late.error, TimeoutError)
    selector.cancel(cancelled)
    assert finished(selector) == [cancelled]
    assert isinstance(cancelled.error, OperationCancelled)
    close_handle(client)
    second = make_pipe("busy-2")
    close_handle(second)
    windows = _winsock.windows()
    windows.ffi.cdef("BOOL __stdcall DisconnectNamedPipe(HANDLE hNamedPipe);", override=True)
    windows.kernel32.DisconnectNamedPipe(windows.ffi.cast("HANDLE", server))
    accept = selector.submit(AcceptPipe(server))
    assert set(finished(selector, 2)) == {accept, waiting}
    close_handle(waiting.result())
    close_handle(server)


@windows_only
def test_a_pipe_that_is_not_there_is_not_found(selector: netcore.Selector) -> None:
    with pytest.raises(FileNotFoundError):
        result(selector, ConnectPipe(pipe_name("nowhere")))


@windows_only
def test_a_long_message_is_read_in_parts(selector: netcore.Selector) -> None:
    """Whether it was there already or not: that there is more of it is no error."""
    server = make_pipe("message", message=True)
    client = result(selector, ConnectPipe(pipe_name("message")))
    assert result(selector, Write(client, b"0123456789")) == 10
    assert result(selector, Read(server, 4)) == b"0123"
    assert result(selector, Read(server, 100)) == b"456789"
    read = selector.submit(Read(server, 4))
    selector.wait(0.02)
    write = selector.submit(Write(client, b"0123456789"))
    assert set(finished(selector, 2)) == {read, write}
    assert read.result() == b"0123"
    close_handle(client)
    close_handle(server)


@windows_only
def test_a_read_that_was_cancelled_has_read_nothing(selector: netcore.Selector) -> None:
    server = make_pipe("cancel")
    client = result(selector, ConnectPipe(pipe_name("cancel")))
    for _ in range(100):
        read = selector.submit(Read(server, 10))
        selector.wait(0)
        selector.cancel(read)
        assert finished(selector) == [read]
        assert isinstance(read.error, OperationCancelled)
        assert result(selector, Write(client, b"x")) == 1
        assert result(selector, Read(server, 10)) == b"x"
    close_handle(client)
    close_handle(server)


@windows_only
def test_a_file_that_is_not_overlapped_is_refused(selector: netcore.Selector) -> None:
    """Its number may be that of a pipe that was: a call would block."""
    import msvcrt

    handle_of: Any = vars(msvcrt)["get_osfhandle"]
    server = make_pipe("refused")
    client = result(selector, ConnectPipe(pipe_name("refused")))
    for handle in (server, client):
        assert result(selector, Write(client, b"x")) == 1
        selector.cancel(selector.submit(Read(handle, 1)))
        finished(selector)
    close_handle(client)
    close_handle(server)
    for _ in range(3):
        ends = os.pipe()
        for end in ends:
            with pytest.raises(OSError, match="OVERLAPPED") as raised:
                result(selector, Read(handle_of(end), 1))
            assert raised.value.errno == errno.EINVAL
    for end in ends:
        os.close(end)


@windows_only
@pytest.mark.parametrize("manual", [False, True])
def test_an_event_is_waited_for(selector: netcore.Selector, manual: bool) -> None:
    """One that resets itself ends one wait; a cancelled wait has not reset it."""
    event = make_event(manual)
    waits = [selector.submit(WaitHandle(event)) for _ in range(2)]
    assert selector.wait(0.02)[1] == []
    set_event(event)
    first = finished(selector)
    assert first[0].result() is True
    if manual:
        while not all(op.done for op in waits):
            selector.wait(SOON)
    else:
        assert selector.wait(0.05)[1] == []
        (other,) = set(waits) - set(first)
        selector.cancel(other)
        assert finished(selector) == [other]
        assert isinstance(other.error, OperationCancelled)
        set_event(event)
    assert result(selector, waits[0]) is True
    if not manual:
        late = WaitHandle(event, timeout=0.02)
        with pytest.raises(TimeoutError):
            result(selector, late)
    close_handle(event)


@windows_only
def test_a_hundred_handles_are_waited_for(selector: netcore.Selector) -> None:
    """WaitForMultipleObjects takes 64."""
    events = [make_event() for _ in range(100)]
    waits = [selector.submit(WaitHandle(event, data=event)) for event in events]
    selector.wait(0)
    for event in events[::2]:
        set_event(event)
    assert {op.data for op in finished(selector, 50)} == set(events[::2])
    for op in waits[1::2]:
        selector.cancel(op)
    assert {op.data for op in finished(selector, 50)} == set(events[1::2])
    for event in events:
        close_handle(event)


@windows_only
def test_the_end_of_a_process_is_waited_for(selector: netcore.Selector) -> None:
    """By its handle, whether it runs or has ended."""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        handle = int(process._handle)  # type: ignore[attr-defined]
        for _ in range(2):
            assert result(selector, WaitHandle(handle)) is True
            assert process.poll() == 0


@windows_only
def test_a_handle_that_is_none_is_an_error(selector: netcore.Selector) -> None:
    for op in (WaitHandle(99_999_992), Read(99_999_992, 1), AcceptPipe(99_999_992)):
        with pytest.raises(OSError, match=r".") as raised:
            result(selector, op)
        assert raised.value.errno == errno.EBADF


@windows_only
def test_any_call_with_an_overlapped(selector: netcore.Selector, tmp_path: Any) -> None:
    """Reading from the middle of a file; what the call refuses is the error."""
    content = os.urandom(5000)
    (tmp_path / "file").write_bytes(content)
    windows = _winsock.windows()
    ffi, kernel32 = windows.ffi, windows.kernel32
    name = ffi.from_buffer(str(tmp_path / "file").encode("utf-16-le") + b"\0\0")
    file = kernel32.CreateFileW(
        ffi.cast("WCHAR *", name),
        _abi.GENERIC_READ,
        _abi.FILE_SHARE_READ,
        ffi.NULL,
        _abi.OPEN_EXISTING,
        _abi.FILE_FLAG_OVERLAPPED,
        ffi.NULL,
    )
    memory = ffi.new("char[]", 1000)
    offset = 4500

    def start(address: int) -> int:
        overlapped = ffi.cast("OVERLAPPED *", address)
        overlapped.Offset = offset
        done = kernel32.ReadFile(file, memory, 1000, ffi.NULL, overlapped)
        return 0 if done else int(kernel32.GetLastError())

    read = Overlapped(number_of(file), start)
    assert result(selector, read) == 500
    assert ffi.buffer(memory, 500)[:] == content[4500:]
    offset = 1000
    assert result(selector, read) == 1000
    assert ffi.buffer(memory)[:] == content[1000:2000]
    for _ in range(2):
        with pytest.raises(OSError, match=r"ZeroDivisionError"):
            result(selector, Overlapped(number_of(file), lambda address: 1 // 0))
    with pytest.raises(OSError, match=r".") as raised:
        result(selector, Overlapped(number_of(file), lambda address: 5))
    assert raised.value.errno == errno.EACCES
    close_handle(number_of(file))


@windows_only
def test_a_call_may_set_an_event(selector: netcore.Selector, tmp_path: Any) -> None:
    """Of a file that is not associated with the port; and of one that never ends, of which the
    memory is kept.
    """
    (tmp_path / "file").write_bytes(b"content")
    windows = _winsock.windows()
    ffi, kernel32 = windows.ffi, windows.kernel32
    name = ffi.from_buffer(str(tmp_path / "file").encode("utf-16-le") + b"\0\0")
    flags, access = _abi.FILE_FLAG_OVERLAPPED, _abi.GENERIC_READ
    opening = (ffi.cast("WCHAR *", name), access, 1, ffi.NULL, _abi.OPEN_EXISTING, flags)
    file = kernel32.CreateFileW(*opening, ffi.NULL)
    memory = ffi.new("char[]", 10)
    event = make_event()

    def start(address: int) -> int:
        overlapped = ffi.cast("OVERLAPPED *", address)
        done = kernel32.ReadFile(file, memory, 10, ffi.NULL, overlapped)
        return 0 if done else int(kernel32.GetLastError())

    read = Overlapped(event, start)
    for _ in range(3):
        assert result(selector, read) == 7
        assert ffi.buffer(memory, 7)[:] == b"content"

    def start_nothing(address: int) -> int:
        ffi.cast("OVERLAPPED *", address).Internal = _abi.STATUS_PENDING
        return _abi.ERROR_IO_PENDING

    pending = selector.submit(Overlapped(event, start_nothing))
    assert selector.wait(0.02)[1] == []
    selector.cancel(pending)
    leaked = len(_flights._leaked)
    assert finished(selector) == [pending]
    assert isinstance(pending.error, OperationCancelled)
    assert len(_flights._leaked) == leaked + 1
    _flights._leaked.pop()
    for handle in (number_of(file), event):
        close_handle(handle)
