"""C. Closed too early: a registered descriptor goes away without a word."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netcore import EVENT_READ, EVENT_WRITE, Selector
from netcore.contract import ReadinessBackend

from .rules import rule
from .system import pair_with_number, path_of
from .tools import SOON, arrived, assert_quiet, in_thread, tcp_pair, until_waiting, wait_until

Pair = tuple[socket.socket, socket.socket]


@rule(54)
@pytest.mark.parametrize("by_number", [False, True])
@pytest.mark.parametrize("events", [EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE, 0])
def test_a_closed_descriptor_is_silent_and_the_others_are_not(
    selector: Selector, pair: Pair, by_number: bool, events: int
) -> None:
    """No exception (select: EBADF), no spin (poll: POLLNVAL), no event; the key stays until it is
    unregistered.
    """
    a, b = tcp_pair()
    key = selector.register(a.fileno() if by_number else a, events)
    selector.register(pair[0], EVENT_READ)
    a.close()
    assert_quiet(selector)
    assert_quiet(selector)
    pair[1].send(b"x")
    assert wait_until(selector, pair[0], EVENT_READ) == EVENT_READ
    assert selector.unregister(key.fileobj) is key
    assert wait_until(selector, pair[0], EVENT_READ) == EVENT_READ
    b.close()


@rule(54)
def test_closing_while_another_thread_waits_loses_no_other_descriptor(
    selector: Selector, pair: Pair
) -> None:
    """The wait goes on without exception and tells of the others."""
    a, b = tcp_pair()
    selector.register(a, EVENT_READ)
    key = selector.register(pair[0], EVENT_READ)
    with in_thread(lambda: selector.select(SOON)) as outcome:
        until_waiting(selector)
        a.close()
        pair[1].send(b"x")
    assert outcome == [[(key, EVENT_READ)]]
    b.close()


@contextlib.contextmanager
def closed_with_a_duplicate(selector: Selector) -> Iterator[tuple[socket.socket, int]]:
    """A socket that was registered, is ready, and was closed while a duplicate keeps it open; with
    the number that it had. An epoll set keeps reporting it and nobody can remove it (epoll(7)).
    """
    a, b = tcp_pair()
    number = a.fileno()
    selector.register(a, EVENT_READ, "closed")
    with b, a.dup() as duplicate:
        a.close()
        b.send(b"x")
        arrived(duplicate)
        yield a, number


@rule(54)
@pytest.mark.parametrize("unregister", [False, True])
def test_a_duplicate_of_a_closed_socket_does_not_haunt_us(
    selector: Selector, pair: Pair, unregister: bool
) -> None:
    """No event for what is closed, no spin, and the others are reported, alone."""
    key = selector.register(pair[0], EVENT_READ)
    with closed_with_a_duplicate(selector) as (closed, _):
        if unregister:
            selector.unregister(closed)
        assert_quiet(selector)
        pair[1].send(b"x")
        arrived(pair[0])
        for _ in range(3):
            assert selector.select(SOON) == [(key, EVENT_READ)]
        pair[0].recv(1)
        assert_quiet(selector)


@rule(54)
@pytest.mark.parametrize("unregister", [False, True])
def test_a_duplicate_of_a_closed_socket_does_not_speak_for_its_successor(
    selector: Selector, unregister: bool
) -> None:
    """With the number in use again and registered anew, only the new socket counts."""
    with closed_with_a_duplicate(selector) as (closed, number):
        if unregister:
            selector.unregister(closed)
        with pair_with_number(number) as (c, d):
            key = selector.register(c, EVENT_READ, "new")
            assert_quiet(selector)
            d.send(b"x")
            arrived(c)
            for _ in range(3):
                assert selector.select(SOON) == [(key, EVENT_READ)]
            c.recv(1)
            assert_quiet(selector)
            selector.unregister(c)
            assert_quiet(selector)


@rule(54)
@pytest.mark.parametrize("unregister", [False, True])
def test_a_duplicate_of_a_closed_socket_does_not_report_who_never_registered(
    selector: Selector, unregister: bool
) -> None:
    """With the number in use again but not registered, nothing is reported."""
    with closed_with_a_duplicate(selector) as (closed, number):
        if unregister:
            selector.unregister(closed)
        with pair_with_number(number) as (_, d):
            assert_quiet(selector)
            d.send(b"x")
            assert_quiet(selector)


@rule(55, platform="unix")
@pytest.mark.parametrize("events", [EVENT_READ, EVENT_READ | EVENT_WRITE, 0])
def test_a_file_is_refused(selector: Selector, events: int) -> None:
    """PermissionError for a regular file and for a directory, as from epoll: always ready, nothing
    to wait for; by object and by number; the map is unchanged.
    """
    with tempfile.TemporaryFile() as file:
        folder = os.open("/", os.O_RDONLY)
        for refused in (file, file.fileno(), folder):
            with pytest.raises(PermissionError) as raised:
                selector.register(refused, events)
            assert raised.value.errno == errno.EPERM
        os.close(folder)
        assert len(selector.get_map()) == 0
        assert_quiet(selector, 0.02)


@rule(55, platform="windows")
def test_what_is_no_socket_is_refused(selector: Selector) -> None:
    """OSError with WSAENOTSOCK for files and pipes where only sockets can be watched."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as file:
        for refused in (file, file.fileno(), reader):
            with pytest.raises(OSError, match=r".") as raised:
                selector.register(refused, EVENT_READ)
            assert 10038 in (raised.value.errno, getattr(raised.value, "winerror", None))
    os.close(reader)
    os.close(writer)
    assert len(selector.get_map()) == 0


@rule(56, pipes=True, platform="unix")
def test_a_fifo_is_refused_or_works(selector: Selector, tmp_path: Path) -> None:
    """The kqueue of macOS never tells of the end of a FIFO: refused with the name of a backend that
    does, or else data and the end of the file are both reported.
    """
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    refusal = None
    try:
        selector.register(reader, EVENT_READ)
    except OSError as error:
        refusal = str(error)
    if refusal is None:
        assert_quiet(selector)
        os.write(writer, b"x")
        assert wait_until(selector, reader, EVENT_READ)
        assert os.read(reader, 2) == b"x"
        assert_quiet(selector)
    os.close(writer)
    if refusal is None:
        assert wait_until(selector, reader, EVENT_READ)
        assert os.read(reader, 2) == b""
    else:
        assert "poll" in refusal or "select" in refusal
        assert len(selector.get_map()) == 0
    os.close(reader)


IN_A_TERMINAL = """
import fcntl, os, sys, termios
import netcore
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
terminal = os.open("/dev/tty", os.O_RDWR)
try:
    selector = netcore.Selector(sys.argv[1])
except ValueError as error:
    sys.exit(print("unavailable:", error))
with selector:
    try:
        selector.register(terminal, netcore.EVENT_READ)
    except OSError as error:
        print("refused:", error)
    else:
        assert selector.select(0) == []
        print("typing", flush=True)
        print(selector.select(float(sys.argv[2]))[0][1], os.read(terminal, 10))
"""


@rule(56, pipes=True, platform="unix")
def test_the_terminal_is_refused_or_works(backend: type[ReadinessBackend]) -> None:
    """macOS has no kqueue for /dev/tty (EINVAL): refused with the name of a backend that takes it,
    or else what is typed is reported.
    """
    master, slave = os.openpty()
    command: list[Any] = [sys.executable, "-c", IN_A_TERMINAL, path_of(backend), str(SOON)]
    with subprocess.Popen(
        command, stdin=slave, stdout=subprocess.PIPE, start_new_session=True, text=True
    ) as child:
        assert child.stdout
        first = child.stdout.readline()
        if first == "typing\n":
            os.write(master, b"x\n")
        answer = child.communicate(timeout=2 * SOON)[0]
    os.close(master)
    os.close(slave)
    assert child.returncode == 0
    if first.startswith("unavailable:"):  # A simulation, which lives in this process only.
        pytest.skip(f"rule 56: in another process {first}")
    if first.startswith("refused:"):
        assert "poll" in first or "select" in first
    else:
        assert answer == f"{EVENT_READ} b'x\\n'\n"
