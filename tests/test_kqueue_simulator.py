"""The simulated `select.kqueue` behaves as kqueue does on macOS and FreeBSD.

Every test is one row of the reference table, on both flavours; where they differ, the expected
value is chosen by flavour in plain sight.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the kqueue simulator needs Linux", allow_module_level=True)

import fcntl

import kqueue_simulator
from kqueue_simulator import kevent, kqueue

READ, WRITE = -1, -2
ADD, DELETE, ENABLE, DISABLE, ONESHOT, CLEAR = 1, 2, 4, 8, 0x10, 0x20
RECEIPT, DISPATCH, ERROR, EOF = 0x40, 0x80, 0x4000, 0x8000
LOWAT, OOB, TRIGGER, COPY = 1, 2, 0x01000000, 0xC0000000
USER = {"macos": -10, "freebsd": -11}
EXCEPT = -15
QUIET = 0.03  # seconds without an event that count as none

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["macos", "freebsd"])
def flavour(request: pytest.FixtureRequest) -> Iterator[str]:
    with kqueue_simulator.install(request.param):
        yield request.param


@pytest.fixture
def macos() -> Iterator[None]:
    with kqueue_simulator.install("macos"):
        yield


@pytest.fixture
def freebsd() -> Iterator[None]:
    with kqueue_simulator.install("freebsd"):
        yield


@pytest.fixture
def kq(flavour: str) -> Iterator[kqueue]:
    made = kqueue()
    yield made
    made.close()


@pytest.fixture
def tcp() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


@pytest.fixture
def unix() -> Iterator[Pair]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    ends = list(os.pipe())
    os.set_blocking(ends[1], False)
    yield ends
    for fd in ends:
        with contextlib.suppress(OSError):
            os.close(fd)


def change(queue: kqueue, ident: Any, filter: int, flags: int = ADD, **rest: int) -> None:
    queue.control([kevent(ident, filter, flags, **rest)], 0)


def events(queue: kqueue, timeout: float = 5, most: int = 10) -> list[kevent]:
    return queue.control(None, most, timeout)


def one(queue: kqueue) -> kevent:
    (event,) = events(queue)
    return event


def filters(queue: kqueue) -> list[int]:
    return sorted(event.filter for event in events(queue))


def is_quiet(queue: kqueue) -> bool:
    return events(queue, QUIET) == []


def error_of(call: Callable[..., Any], *arguments: Any) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the errno is the caller's to check)
        call(*arguments)
    return caught.value.errno


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def fill(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 4096)


def refused_socket() -> socket.socket:
    """A socket whose connect was refused, with SO_ERROR still pending."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = unused.getsockname()
    connecting = socket.socket()
    connecting.setblocking(False)
    connecting.connect_ex(address)
    return connecting


def closed_number() -> int:
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    return fd


# What select has


def test_install_gives_select_the_names_and_uninstall_takes_them_back(flavour: str) -> None:
    assert select.kqueue is kqueue  # type: ignore[attr-defined]
    assert select.KQ_EV_ADD == ADD  # type: ignore[attr-defined]
    for unknown in ("KQ_FILTER_USER", "KQ_EV_RECEIPT", "KQ_EV_DISPATCH", "KQ_NOTE_TRIGGER"):
        assert not hasattr(select, unknown)


def test_names_are_gone_after_the_last_uninstall() -> None:
    before = hasattr(select, "kqueue")
    kqueue_simulator.install()
    kqueue_simulator.uninstall()
    assert hasattr(select, "kqueue") is before


def test_kevent_has_cpythons_defaults_and_compares_by_value() -> None:
    left, right = socket.socketpair()
    with left, right:
        event = kevent(left)
        assert (event.ident, event.filter, event.flags) == (left.fileno(), READ, ADD)
        assert (event.fflags, event.data, event.udata) == (0, 0, 0)
    assert kevent(1) == kevent(1) != kevent(2)
    assert kevent(1) < kevent(2)
    with pytest.raises(TypeError):
        hash(kevent(1))
    with pytest.raises(OverflowError):
        kevent(-1)


def test_arguments_of_control_are_checked(kq: kqueue) -> None:
    for arguments in ((None, -1), (None, 1, -0.1)):
        with pytest.raises(ValueError, match="positive"):
            kq.control(*arguments)
    for bad in (([1], 0), (1, 0), (None, 1, "1"), ()):
        with pytest.raises(TypeError):
            kq.control(*bad)


def test_a_closed_kqueue_raises_value_error(kq: kqueue) -> None:
    kq.close()
    kq.close()
    assert kq.closed
    for use in (kq.fileno, lambda: kq.control(None, 0)):
        with pytest.raises(ValueError, match="closed kqueue"):
            use()


def test_fromfd_shares_the_queue(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], WRITE)
    other = kqueue.fromfd(kq.fileno())
    assert filters(other) == [WRITE]
    other.close()
    assert error_of(kq.control, None, 1, 0) == errno.EBADF


def test_a_kqueue_is_not_inheritable(kq: kqueue) -> None:
    assert not os.get_inheritable(kq.fileno())


# Changes and their errors


def test_an_error_without_room_raises_and_ends_the_changes(kq: kqueue, unix: Pair) -> None:
    bad = kevent(closed_number(), READ, ADD)
    before, after = kevent(unix[0], WRITE, ADD), kevent(unix[1], WRITE, ADD)
    assert error_of(kq.control, [before, bad, after], 0) == errno.EBADF
    assert one(kq).ident == unix[0].fileno()


@pytest.mark.parametrize("room", [1, 10])
def test_an_error_with_room_is_an_entry_and_nothing_is_waited_for(
    kq: kqueue, flavour: str, unix: Pair, room: int
) -> None:
    bad, good = kevent(closed_number(), READ, ADD, udata=7), kevent(unix[0], WRITE, ADD)
    (entry,) = kq.control([bad, good], room, None)
    assert (entry.ident, entry.data, entry.udata) == (bad.ident, errno.EBADF, 7)
    assert entry.flags == (ERROR | ADD if flavour == "macos" else ERROR)
    assert filters(kq) == [WRITE]


def test_an_error_beyond_the_room_raises(kq: kqueue) -> None:
    bad = kevent(closed_number(), READ, ADD)
    assert error_of(kq.control, [bad, bad], 1, 0) == errno.EBADF


@pytest.mark.parametrize("room", [1, 10])
@pytest.mark.parametrize("ready", [True, False])
def test_a_receipt_is_all_that_comes_and_at_once(
    kq: kqueue, unix: Pair, room: int, ready: bool
) -> None:
    filter = WRITE if ready else READ
    (entry,) = kq.control([kevent(unix[0], filter, ADD | RECEIPT)], room, None)
    assert entry.flags & ERROR
    assert entry.data == 0


def test_a_receipt_without_room_ends_the_changes_on_freebsd_only(
    kq: kqueue, flavour: str, unix: Pair
) -> None:
    first, second = (kevent(sock, WRITE, ADD | RECEIPT) for sock in unix)
    assert kq.control([first, second], 0) == []
    assert len(events(kq)) == (2 if flavour == "macos" else 1)


@pytest.mark.parametrize("flags", [DELETE, ENABLE, DISABLE])
def test_a_change_of_what_was_not_added_is_enoent(kq: kqueue, unix: Pair, flags: int) -> None:
    assert error_of(change, kq, unix[0], READ, flags) == errno.ENOENT


def test_delete_of_a_closed_fd_is_enoent_on_macos_and_ebadf_on_freebsd(
    kq: kqueue, flavour: str, pipe: list[int]
) -> None:
    expected = errno.ENOENT if flavour == "macos" else errno.EBADF
    assert error_of(change, kq, closed_number(), READ, DELETE) == expected
    change(kq, pipe[0], READ)
    os.close(pipe[0])
    assert error_of(change, kq, pipe[0], READ, DELETE) == expected


def test_an_unknown_filter_is_einval_and_one_that_is_not_modelled_says_so(kq: kqueue) -> None:
    assert error_of(change, kq, 0, -100) == errno.EINVAL
    assert error_of(change, kq, 0, 1) == errno.EINVAL
    with pytest.raises(NotImplementedError):
        change(kq, 1, select.KQ_FILTER_TIMER)  # type: ignore[attr-defined]


def test_a_second_add_takes_the_new_udata_and_gives_one_event(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], WRITE, udata=1)
    change(kq, unix[0], WRITE, udata=2)
    assert one(kq).udata == 2
    change(kq, unix[0], WRITE, ENABLE, udata=3)
    assert one(kq).udata == 3


def test_a_second_add_does_not_change_the_mode(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], WRITE)
    change(kq, unix[0], WRITE, ADD | ONESHOT)
    change(kq, unix[0], WRITE, ADD | CLEAR)
    assert [filters(kq) for _ in range(3)] == [[WRITE]] * 3


def test_a_second_add_does_not_enable(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], WRITE, ADD | DISABLE)
    assert is_quiet(kq)
    change(kq, unix[0], WRITE)
    assert is_quiet(kq)
    change(kq, unix[0], WRITE, ADD | ENABLE)
    assert filters(kq) == [WRITE]


def test_changes_are_applied_in_order(kq: kqueue, unix: Pair) -> None:
    kq.control([kevent(unix[0], WRITE, ADD), kevent(unix[0], WRITE, DELETE)], 0)
    assert is_quiet(kq)


def test_a_kqueue_cannot_watch_itself(kq: kqueue) -> None:
    assert error_of(change, kq, kq, READ) == errno.EINVAL


def test_events_show_the_flags_of_the_add_on_macos_only(
    kq: kqueue, flavour: str, unix: Pair
) -> None:
    change(kq, unix[0], WRITE, ADD | ENABLE | CLEAR)
    assert one(kq).flags == (ADD | ENABLE | CLEAR if flavour == "macos" else CLEAR)


# Triggering


def test_read_is_level_triggered_with_the_bytes_as_data(kq: kqueue, tcp: Pair) -> None:
    change(kq, tcp[0], READ)
    assert is_quiet(kq)
    tcp[1].send(b"hello")
    assert [one(kq).data, one(kq).data] == [5, 5]
    tcp[0].recv(3)
    assert one(kq).data == 2
    tcp[0].recv(2)
    assert is_quiet(kq)
    tcp[1].send(b"x")
    assert one(kq).data == 1


@pytest.mark.parametrize("kind", ["tcp", "unix", "pipe"])
def test_clear_reports_each_change_once(
    kq: kqueue, kind: str, request: pytest.FixtureRequest
) -> None:
    ends = request.getfixturevalue(kind)
    source, sink = (ends[0], ends[1]) if kind == "pipe" else (ends[0].fileno(), ends[1].fileno())
    change(kq, source, READ, ADD | CLEAR)
    os.write(sink, b"1")
    assert one(kq).data == 1
    assert is_quiet(kq)
    os.write(sink, b"2")
    assert one(kq).data == 2
    change(kq, source, READ, ADD | CLEAR)
    assert one(kq).data == 2
    assert is_quiet(kq)


def test_clear_write_fires_at_add_and_after_a_full_buffer_drains(
    kq: kqueue, pipe: list[int]
) -> None:
    change(kq, pipe[1], WRITE, ADD | CLEAR)
    assert filters(kq) == [WRITE]
    fill(pipe[1])
    assert is_quiet(kq)
    os.read(pipe[0], 1 << 20)
    assert filters(kq) == [WRITE]
    assert is_quiet(kq)


def test_clear_write_fires_again_when_a_full_socket_drains(kq: kqueue, tcp: Pair) -> None:
    tcp[0].setblocking(False)
    change(kq, tcp[0], WRITE, ADD | CLEAR)
    assert filters(kq) == [WRITE]
    fill(tcp[0].fileno())
    events(kq, QUIET)  # the buffer may have drained a little meanwhile
    fill(tcp[0].fileno())
    while not events(kq, 0):
        tcp[1].recv(1 << 16)


def test_an_edge_for_reading_is_none_for_writing(kq: kqueue, tcp: Pair) -> None:
    change(kq, tcp[0], READ, ADD | CLEAR)
    change(kq, tcp[0], WRITE, ADD | CLEAR)
    assert filters(kq) == [WRITE]
    tcp[1].send(b"x")
    assert filters(kq) == [READ]
    assert is_quiet(kq)


def test_clear_read_and_level_write_on_one_fd(kq: kqueue, tcp: Pair) -> None:
    change(kq, tcp[0], READ, ADD | CLEAR)
    change(kq, tcp[0], WRITE)
    tcp[1].send(b"x")
    assert [filters(kq) for _ in range(3)] == [[WRITE, READ], [WRITE], [WRITE]]


def test_oneshot_fires_once_and_is_gone(kq: kqueue, tcp: Pair) -> None:
    for _ in range(2):
        change(kq, tcp[0], WRITE, ADD | ONESHOT)
        change(kq, tcp[0], READ, ADD | ONESHOT)
        assert filters(kq) == [WRITE]
        tcp[1].send(b"x")
        assert filters(kq) == [READ]
        assert is_quiet(kq)
        assert error_of(change, kq, tcp[0], READ, DELETE) == errno.ENOENT
        tcp[0].recv(1)


def test_a_drained_oneshot_still_fires_on_freebsd_only(
    kq: kqueue, flavour: str, unix: Pair
) -> None:
    unix[1].send(b"x")
    change(kq, unix[0], READ, ADD | ONESHOT)
    unix[0].recv(1)
    assert is_quiet(kq) is (flavour == "macos")


def test_dispatch_fires_once_and_enable_reports_again(kq: kqueue, unix: Pair) -> None:
    unix[1].send(b"x")
    change(kq, unix[0], READ, ADD | DISPATCH)
    for flags in (ENABLE, ADD | ENABLE | DISPATCH, ENABLE):
        assert filters(kq) == [READ]
        assert is_quiet(kq)
        change(kq, unix[0], READ, flags)
    change(kq, unix[0], READ, DELETE)
    assert is_quiet(kq)


def test_dispatch_with_oneshot_is_oneshot(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], WRITE, ADD | DISPATCH | ONESHOT)
    assert filters(kq) == [WRITE]
    assert error_of(change, kq, unix[0], WRITE, ENABLE) == errno.ENOENT


def test_disable_silences_and_enable_restores(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], WRITE)
    for _ in range(2):
        change(kq, unix[0], WRITE, DISABLE)
        assert is_quiet(kq)
    for _ in range(2):
        change(kq, unix[0], WRITE, ENABLE)
        assert filters(kq) == [WRITE]
    change(kq, unix[0], WRITE, DISABLE)
    change(kq, unix[0], WRITE, DELETE)
    assert error_of(change, kq, unix[0], WRITE, DELETE) == errno.ENOENT


def test_filters_of_one_fd_are_separate(kq: kqueue, unix: Pair) -> None:
    unix[1].send(b"x")
    change(kq, unix[0], READ, udata=1)
    change(kq, unix[0], WRITE, udata=2)
    assert {(event.filter, event.udata) for event in events(kq)} == {(READ, 1), (WRITE, 2)}
    change(kq, unix[0], READ, DELETE)
    assert filters(kq) == [WRITE]


@pytest.mark.parametrize("kind", ["tcp", "pipe"])
def test_data_of_write_is_the_free_space(
    kq: kqueue, kind: str, request: pytest.FixtureRequest
) -> None:
    change(kq, request.getfixturevalue(kind)[1], WRITE)
    assert one(kq).data >= 4096


def test_a_full_pipe_is_silent_until_it_drains(kq: kqueue, pipe: list[int]) -> None:
    fill(pipe[1])
    change(kq, pipe[1], WRITE)
    assert is_quiet(kq)
    os.read(pipe[0], 8192)
    assert filters(kq) == [WRITE]


def test_data_of_a_listener_is_the_number_of_connections(kq: kqueue) -> None:
    with socket.socket() as listener, contextlib.ExitStack() as clients:
        listener.bind(("127.0.0.1", 0))
        change(kq, listener, READ)
        change(kq, listener, WRITE)
        assert is_quiet(kq)
        listener.listen()
        for count in (1, 2):
            client = socket.create_connection(listener.getsockname())
            clients.enter_context(client)
            assert (one(kq).filter, one(kq).data) == (READ, count)


def test_a_small_max_events_rotates(kq: kqueue) -> None:
    with contextlib.ExitStack() as open_sockets:
        for _ in range(10):
            left, right = socket.socketpair()
            open_sockets.enter_context(left)
            open_sockets.enter_context(right)
            change(kq, left, WRITE)
        seen = [event.ident for _ in range(5) for event in events(kq, most=2)]
        assert len(set(seen)) == 10


def test_lowat_holds_a_read_back(kq: kqueue, tcp: Pair) -> None:
    change(kq, tcp[0], READ, fflags=LOWAT, data=3)
    tcp[1].send(b"12")
    assert is_quiet(kq)
    tcp[1].send(b"3")
    assert one(kq).data == 3


def test_lowat_beyond_the_receive_buffer_is_clamped_on_macos_only(
    kq: kqueue, flavour: str, tcp: Pair
) -> None:
    tcp[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    size = tcp[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    change(kq, tcp[0], READ, fflags=LOWAT, data=1 << 30)
    tcp[1].setblocking(False)
    with contextlib.suppress(BlockingIOError):
        tcp[1].send(b"x" * size)
    received = struct.unpack("i", fcntl.ioctl(tcp[0], 0x541B, b"\0" * 4))[0]
    expected = flavour == "macos" and received >= size
    assert is_quiet(kq) is not expected


# End of file and errors


def test_fin_is_eof_for_reading_again_and_again(kq: kqueue, tcp: Pair) -> None:
    change(kq, tcp[0], READ)
    change(kq, tcp[0], WRITE)
    tcp[1].close()
    while READ not in filters(kq):
        pass
    for _ in range(2):
        read, write = sorted(events(kq), key=lambda event: -event.filter)
        assert (read.flags & EOF, read.data, read.fflags) == (EOF, 0, 0)
        assert not write.flags & EOF


def test_fin_comes_with_the_bytes_that_are_left(kq: kqueue, tcp: Pair) -> None:
    tcp[1].send(b"hello")
    tcp[1].close()
    change(kq, tcp[0], READ, ADD)
    while not one(kq).flags & EOF:
        pass
    assert one(kq).data == 5
    tcp[0].recv(5)
    assert (one(kq).data, one(kq).flags & EOF) == (0, EOF)


def test_clear_reports_fin_once(kq: kqueue, tcp: Pair) -> None:
    change(kq, tcp[0], READ, ADD | CLEAR)
    tcp[1].close()
    assert one(kq).flags & EOF
    assert is_quiet(kq)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize(("how", "filter"), [(socket.SHUT_WR, WRITE), (socket.SHUT_RD, READ)])
def test_an_own_shutdown_is_eof(
    kq: kqueue, kind: str, how: int, filter: int, request: pytest.FixtureRequest
) -> None:
    sock = request.getfixturevalue(kind)[0]
    change(kq, sock, filter, ADD)
    sock.shutdown(how)
    assert one(kq).flags & EOF


@pytest.mark.parametrize("filter", [READ, WRITE])
def test_reset_is_eof_with_its_errno_and_so_error_stays(kq: kqueue, tcp: Pair, filter: int) -> None:
    reset(tcp[1])
    change(kq, tcp[0], filter)
    event = one(kq)
    while not event.flags & EOF:
        event = one(kq)
    assert event.fflags == errno.ECONNRESET
    assert error_of(tcp[0].recv, 1) == errno.ECONNRESET


@pytest.mark.parametrize("filter", [READ, WRITE])
def test_a_refused_connect_is_eof_with_its_errno_and_so_error_stays(
    kq: kqueue, filter: int
) -> None:
    with refused_socket() as sock:
        change(kq, sock, filter)
        event = one(kq)
        assert (event.flags & EOF, event.fflags) == (EOF, errno.ECONNREFUSED)
        pending = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert pending == errno.ECONNREFUSED


def test_an_unconnected_stream_is_silent_until_it_connects(kq: kqueue) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        sock.setblocking(False)
        change(kq, sock, READ)
        change(kq, sock, WRITE)
        assert is_quiet(kq)
        sock.connect_ex(listener.getsockname())
        event = one(kq)
        assert (event.filter, event.flags & EOF) == (WRITE, 0)


def test_a_unix_peers_close_is_eof_for_both_filters(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], READ)
    change(kq, unix[0], WRITE)
    unix[1].close()
    assert [event.flags & EOF for event in events(kq)] == [EOF, EOF]


def test_a_unix_peers_shutdown_is_eof_for_reading_only(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], READ)
    change(kq, unix[0], WRITE)
    unix[1].shutdown(socket.SHUT_WR)
    assert {event.filter: event.flags & EOF for event in events(kq)} == {READ: EOF, WRITE: 0}


def test_a_pipes_eof_comes_with_the_bytes_that_are_left(kq: kqueue, pipe: list[int]) -> None:
    change(kq, pipe[0], READ)
    os.write(pipe[1], b"abc")
    os.close(pipe[1])
    assert [(e.data, e.flags & EOF) for e in (one(kq), one(kq))] == [(3, EOF), (3, EOF)]
    os.read(pipe[0], 3)
    assert [(e.data, e.flags & EOF) for e in (one(kq), one(kq))] == [(0, EOF), (0, EOF)]


@pytest.mark.parametrize("full", [True, False])
def test_a_pipe_without_reader_is_eof_for_writing_and_ends_the_knote_on_freebsd(
    kq: kqueue, flavour: str, pipe: list[int], full: bool
) -> None:
    if full:
        fill(pipe[1])
    change(kq, pipe[1], WRITE)
    os.close(pipe[0])
    assert one(kq).flags & EOF
    if flavour == "macos":
        assert one(kq).flags & EOF
    else:
        assert error_of(change, kq, pipe[1], WRITE, DELETE) == errno.ENOENT


def test_adding_a_pipe_without_reader_is_eof_on_macos_and_epipe_on_freebsd(
    kq: kqueue, flavour: str, pipe: list[int]
) -> None:
    os.close(pipe[0])
    if flavour == "macos":
        change(kq, pipe[1], WRITE)
        assert one(kq).flags & EOF
    else:
        assert error_of(change, kq, pipe[1], WRITE) == errno.EPIPE


def test_an_empty_datagram_is_readable(kq: kqueue) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        change(kq, sock, READ)
        sock.sendto(b"", sock.getsockname())
        assert (one(kq).filter, one(kq).flags & EOF) == (READ, 0)
        sock.recv(1)
        assert is_quiet(kq)
        sock.sendto(b"abc", sock.getsockname())
        assert one(kq).data >= 3


def test_an_unreachable_udp_port_is_readable_and_so_error_stays(kq: kqueue) -> None:
    with refused_port() as address, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        change(kq, sock, READ)
        sock.send(b"x")
        assert (one(kq).filter, one(kq).flags & EOF) == (READ, 0)
        assert error_of(sock.recv, 1) == errno.ECONNREFUSED


@contextlib.contextmanager
def refused_port() -> Iterator[tuple[str, int]]:
    with socket.socket(type=socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        address = unused.getsockname()
    yield address


# Kinds of descriptors


def test_a_regular_file_is_readable_up_to_its_end(kq: kqueue, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    with path.open("rb", buffering=0) as file:
        change(kq, file, READ)
        assert one(kq).data == 5
        file.read()
        assert is_quiet(kq)
        with path.open("ab") as writer:
            writer.write(b"abc")
        assert one(kq).data == 3


def test_dev_null_is_refused_by_macos_unless_asked_for_one_byte(kq: kqueue, flavour: str) -> None:
    with open("/dev/null", "rb") as null:
        if flavour == "macos":
            assert error_of(change, kq, null, READ) == errno.EINVAL
        change(kq, null, READ, fflags=LOWAT, data=1)
        assert filters(kq) == [READ]


def test_a_pty_is_readable_and_its_slaves_close_is_eof(kq: kqueue) -> None:
    master, slave = os.openpty()
    change(kq, master, READ)
    os.write(slave, b"x")
    assert one(kq).data == 1
    os.read(master, 1)
    os.close(slave)
    assert one(kq).flags & EOF
    os.close(master)


def test_a_named_fifo_has_no_eof_on_macos(kq: kqueue, flavour: str, tmp_path: Any) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    change(kq, reader, READ)
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, b"x")
    assert one(kq).data == 1
    os.read(reader, 1)
    os.close(writer)
    assert is_quiet(kq) is (flavour == "macos")
    os.close(reader)


def test_a_directory_is_refused_by_macos(kq: kqueue, flavour: str, tmp_path: Any) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    if flavour == "macos":
        assert error_of(change, kq, fd, READ) == errno.EINVAL
    os.close(fd)


@pytest.mark.usefixtures("macos")
def test_out_of_band_data_fires_except_on_macos(tcp: Pair) -> None:
    kq = kqueue()
    change(kq, tcp[0], EXCEPT, ADD | CLEAR, fflags=OOB)
    assert is_quiet(kq)
    tcp[1].send(b"!", socket.MSG_OOB)
    event = one(kq)
    assert (event.filter, event.fflags) == (EXCEPT, OOB)
    assert tcp[0].recv(1, socket.MSG_OOB) == b"!"
    assert is_quiet(kq)
    tcp[1].send(b"x")
    assert (one(kq).fflags, tcp[0].recv(1)) == (0, b"x")  # what is readable fires it, too
    kq.close()


@pytest.mark.usefixtures("macos")
def test_except_and_read_of_one_fd_are_separate(tcp: Pair, unix: Pair) -> None:
    kq = kqueue()
    number = os.dup(tcp[0].fileno())
    change(kq, number, READ, ADD | CLEAR)
    change(kq, number, EXCEPT, fflags=OOB)
    change(kq, number, EXCEPT, DELETE)
    tcp[1].send(b"x")
    assert filters(kq) == [READ]
    os.dup2(unix[0].fileno(), number)
    change(kq, number, EXCEPT, fflags=OOB)
    unix[1].send(b"x")
    assert filters(kq) == [EXCEPT]
    os.close(number)
    kq.close()


def test_freebsd_has_no_except_filter(freebsd: None, tcp: Pair) -> None:
    assert error_of(change, kqueue(), tcp[0], EXCEPT) == errno.EINVAL


def test_a_kqueue_can_be_polled_and_watched_by_another(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], READ)
    outer = kqueue()
    change(outer, kq, READ)
    assert select.select([kq], [], [], 0)[0] == []
    assert is_quiet(outer)
    unix[1].send(b"x")
    assert select.select([kq], [], [], 5)[0] == [kq]
    assert one(outer).ident == kq.fileno()
    unix[0].recv(1)
    assert events(kq, 0) == []
    assert is_quiet(outer)
    outer.close()


# Closing and reusing a number


def test_the_peer_sees_the_close_of_a_watched_socket(kq: kqueue, tcp: Pair) -> None:
    change(kq, tcp[0], READ)
    change(kq, tcp[0], WRITE)
    tcp[0].close()
    tcp[1].settimeout(5)
    assert tcp[1].recv(1) == b""


def test_close_ends_the_knote_though_a_duplicate_lives(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], READ)
    change(kq, unix[0], WRITE)
    alive = unix[0].dup()
    unix[0].close()
    unix[1].send(b"x")
    assert is_quiet(kq)
    alive.close()


@pytest.mark.parametrize("dup_lives", [True, False])
@pytest.mark.parametrize("kind", ["unix", "pipe"])
def test_a_reused_number_inherits_nothing(
    kq: kqueue, dup_lives: bool, kind: str, tcp: Pair, request: pytest.FixtureRequest
) -> None:
    old = request.getfixturevalue(kind)[0]
    number = old if isinstance(old, int) else old.detach()
    change(kq, number, READ, udata=1)
    change(kq, number, WRITE, udata=1)
    alive = os.dup(number) if dup_lives else None
    os.dup2(tcp[0].fileno(), number)
    tcp[1].send(b"x")
    assert is_quiet(kq)
    assert error_of(change, kq, number, READ, DELETE) == errno.ENOENT
    change(kq, number, WRITE, udata=2)
    assert [(event.filter, event.udata) for event in events(kq)] == [(WRITE, 2)]
    change(kq, number, READ, udata=3)
    assert {event.udata for event in events(kq)} == {2, 3}
    os.close(number)
    if alive is not None:
        os.close(alive)


def test_a_queue_takes_one_low_number_and_gives_all_back(flavour: str) -> None:
    gc.collect()
    before = sorted(os.listdir("/proc/self/fd"))
    expected = os.dup(0)
    os.close(expected)
    for _ in range(2000):
        kq = kqueue()
        assert kq.fileno() == expected
        kq.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    del kq
    kqueue()
    gc.collect()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_descriptors_beyond_1024_work(kq: kqueue, unix: Pair) -> None:
    high = fcntl.fcntl(unix[0], fcntl.F_DUPFD_CLOEXEC, 1500)
    change(kq, high, WRITE)
    assert one(kq).ident == high
    os.close(high)


def test_two_thousand_ready_descriptors_come_in_one_call(kq: kqueue) -> None:
    read, write = os.pipe()
    os.write(write, b"x")
    copies = [os.dup(read) for _ in range(2000)]
    kq.control([kevent(fd, READ, ADD, udata=fd) for fd in copies], 0)
    found = events(kq, most=2000)
    assert {event.ident for event in found} == set(copies)
    assert all(event.udata == event.ident for event in found)
    for fd in (read, write, *copies):
        os.close(fd)


# Waiting


@pytest.mark.parametrize("timeout", [0, 0.0005, 0.05])
def test_a_timeout_is_exact_and_never_early(kq: kqueue, timeout: float) -> None:
    took = []
    for _ in range(10):
        start = time.monotonic()
        assert kq.control(None, 1, timeout) == []
        took.append(time.monotonic() - start)
    assert min(took) >= timeout
    assert min(took) < timeout + 0.005


def test_max_events_0_returns_at_once(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], WRITE)
    assert kq.control(None, 0, None) == []


def test_the_signal_wakeup_fd_ends_a_wait(kq: kqueue, unix: Pair) -> None:
    unix[1].setblocking(False)
    change(kq, unix[0], READ)
    with alarm(0.03, lambda *_: None):
        signal.set_wakeup_fd(unix[1].fileno())
        assert filters(kq) == [READ]
        signal.set_wakeup_fd(-1)


def test_an_idle_wait_costs_no_cpu(kq: kqueue, tcp: Pair) -> None:
    with socket.socket() as unconnected:
        change(kq, unconnected, READ)
        change(kq, unconnected, WRITE)
        change(kq, tcp[0], READ, fflags=LOWAT, data=10)
        tcp[1].send(b"x")
        before = time.process_time()
        assert events(kq, 0.3) == []
        assert time.process_time() - before < 0.1


@contextlib.contextmanager
def alarm(after: float, handler: Callable[[int, Any], None]) -> Iterator[None]:
    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_a_signal_handler_runs_and_the_wait_goes_on(kq: kqueue, unix: Pair) -> None:
    ran: list[float] = []
    start = time.monotonic()
    with alarm(0.03, lambda *_: ran.append(time.monotonic() - start)):
        entry = kevent(unix[0], READ, ADD)
        assert kq.control([entry], 1, 0.1) == []
    assert ran[0] < 0.09
    assert time.monotonic() - start >= 0.1


def test_a_signal_handler_may_use_the_queue(kq: kqueue, flavour: str) -> None:
    change(kq, 1, USER[flavour], ADD | CLEAR)
    with alarm(0.03, lambda *_: change(kq, 1, USER[flavour], 0, fflags=TRIGGER)):
        assert one(kq).ident == 1


def test_a_raising_signal_handler_ends_the_wait_and_loses_no_event(kq: kqueue, unix: Pair) -> None:
    def interrupt(*_: Any) -> None:
        raise InterruptedError

    change(kq, unix[0], READ, ADD | CLEAR)
    with alarm(0.03, interrupt), pytest.raises(InterruptedError):
        events(kq)
    unix[1].send(b"x")
    assert filters(kq) == [READ]


# EVFILT_USER


def test_a_user_event_stays_until_it_is_cleared(kq: kqueue, flavour: str) -> None:
    for flags in (ADD, ADD | CLEAR):
        change(kq, 7, USER[flavour], flags)
        assert is_quiet(kq)
        for _ in range(2):
            change(kq, 7, USER[flavour], 0, fflags=TRIGGER | COPY | 0x123, udata=9)
        event = one(kq)
        assert (event.ident, event.fflags, event.udata) == (7, 0x123, 9)
        assert is_quiet(kq) is bool(flags & CLEAR)
        change(kq, 7, USER[flavour], DELETE)


def test_a_trigger_that_repeats_clear_is_lost_on_freebsd(kq: kqueue, flavour: str) -> None:
    change(kq, 7, USER[flavour], ADD | CLEAR)
    change(kq, 7, USER[flavour], ADD | CLEAR, fflags=TRIGGER)
    assert is_quiet(kq) is (flavour == "freebsd")


def test_the_other_systems_user_filter_is_refused(kq: kqueue, flavour: str) -> None:
    other, refusal = (-11, errno.EINVAL) if flavour == "macos" else (-10, errno.EPERM)
    assert error_of(change, kq, 1, other) == refusal


# Threads


@contextlib.contextmanager
def blocked(kq: kqueue, most: int = 10) -> Iterator[list[Any]]:
    """A thread in control() without timeout; its answer is in the list when the block is left."""
    answer: list[Any] = []

    def wait() -> None:
        try:
            answer.append(kq.control(None, most, None))
        except (OSError, ValueError) as error:
            answer.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(QUIET)  # nothing tells that a thread has gone to sleep in the kernel
    yield answer
    thread.join(10)
    assert not thread.is_alive()


def test_a_change_reaches_a_wait_that_is_blocked(kq: kqueue, unix: Pair) -> None:
    with blocked(kq) as answer:
        change(kq, unix[0], WRITE)
    assert [event.filter for event in answer[0]] == [WRITE]


def test_a_user_event_ends_a_wait_that_is_blocked(kq: kqueue, flavour: str) -> None:
    change(kq, 1, USER[flavour], ADD | CLEAR)
    with blocked(kq) as answer:
        change(kq, 1, USER[flavour], 0, fflags=TRIGGER)
    assert [event.ident for event in answer[0]] == [1]


def test_a_deleted_knote_says_nothing_to_a_wait_that_is_blocked(
    kq: kqueue, flavour: str, unix: Pair
) -> None:
    change(kq, unix[0], READ)
    change(kq, 1, USER[flavour])
    with blocked(kq) as answer:
        change(kq, unix[0], READ, DELETE)
        unix[1].send(b"x")
        change(kq, 1, USER[flavour], 0, fflags=TRIGGER)
    assert [event.ident for event in answer[0]] == [1]


def test_close_ends_a_blocked_wait_on_macos_and_leaves_it_on_freebsd(
    kq: kqueue, flavour: str, unix: Pair
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    change(kq, unix[0], READ)
    with blocked(kq) as answer:
        kq.close()
        time.sleep(QUIET)
        assert bool(answer) is (flavour == "macos")
        unix[1].send(b"x")
    if flavour == "macos":
        assert answer[0].errno == errno.EBADF
    else:
        assert [event.filter for event in answer[0]] == [READ]
    assert len(os.listdir("/proc/self/fd")) < before


def test_each_dispatched_event_goes_to_one_thread(kq: kqueue) -> None:
    pairs = [socket.socketpair() for _ in range(100)]
    got: list[int] = []

    def work() -> None:
        while found := events(kq, 0.3, most=3):
            got.extend(event.ident for event in found)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for left, right in pairs:
        right.send(b"x")
        change(kq, left, READ, ADD | DISPATCH)
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(left.fileno() for left, _ in pairs)
    for left, right in pairs:
        left.close()
        right.close()


def test_adding_deleting_and_closing_in_threads_loses_no_last_event(kq: kqueue) -> None:
    stop = time.monotonic() + 0.5

    def churn() -> None:
        while time.monotonic() < stop:
            left, right = socket.socketpair()
            change(kq, left, READ)
            right.send(b"x")
            with contextlib.suppress(OSError):
                change(kq, left, READ, DELETE)
            left.close()
            right.close()

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        events(kq, 0.01)
    left, right = socket.socketpair()
    with left, right:
        change(kq, left, READ, udata=77)
        right.send(b"x")
        assert [event.udata for event in events(kq)] == [77]


# Fork


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_queue_is_not_inherited_and_the_parents_goes_on(kq: kqueue, unix: Pair) -> None:
    change(kq, unix[0], READ)
    child = os.fork()
    if child == 0:
        os._exit(0 if child_has_lost(kq) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    unix[1].send(b"x")
    assert filters(kq) == [READ]


def child_has_lost(kq: kqueue) -> bool:
    expected = ValueError if sys.version_info >= (3, 12, 1) else OSError
    try:
        kq.control(None, 0)
    except expected:
        own, (left, right) = kqueue(), socket.socketpair()
        change(own, left, WRITE)
        return filters(own) == [WRITE] and right.fileno() >= 0
    return False
