"""G. Completion: connections that are accepted, each of them once."""

from __future__ import annotations

import errno
import os
import random
import socket
import threading
import time
from typing import Any

import pytest

from netcore import (
    Accept,
    Connect,
    OperationCancelled,
    Recv,
    Selector,
    SendAll,
)

from .completions import assert_nothing_done, done_by, finished, outcome
from .rules import rule
from .tools import SOON, reset

#: How many times cancels and clients race.
RACES = 1000


class Unlucky(socket.socket):
    """Its first clients fail before they are accepted, as the kernels of BSD tell it."""

    failures = (errno.ECONNABORTED, errno.ECONNRESET, getattr(errno, "EPROTO", errno.ECONNABORTED))

    def accept(self) -> Any:
        left, self.failures = self.failures, self.failures[1:]
        if left:
            raise OSError(left[0], os.strerror(left[0]))
        return super().accept()


def accepted_once(selector: Selector, listener: socket.socket, op: Accept, peer: Any) -> None:
    """``op`` or else the next accept has the client that came from ``peer``."""
    finished(selector, op)
    try:
        sock, address = op.result()
    except OperationCancelled:
        sock, address = done_by(selector, Accept(listener))
    sock.close()
    assert address == peer


@rule(99)
@pytest.mark.parametrize("early", [0, 1, 3])
def test_each_client_is_accepted_once(
    selector: Selector, listener: socket.socket, early: int
) -> None:
    """By an operation each, whoever came first: a non-blocking socket that no child inherits, with
    the address of the client, of which all calls work.
    """
    address = listener.getsockname()
    clients = [socket.create_connection(address) for _ in range(early)]
    ops = [selector.submit(Accept(listener)) for _ in range(3)]
    assert selector.select(0) == []
    clients += [socket.create_connection(address) for _ in range(3 - early)]
    finished(selector, *[op for op in ops if not op.done])
    assert_nothing_done(selector)
    results = [op.result() for op in ops]
    from_peer = {client.getsockname(): client for client in clients}
    assert sorted(peer for _, peer in results) == sorted(from_peer)
    for sock, peer in results:
        theirs = from_peer[peer]
        assert type(sock) is socket.socket
        assert sock.getpeername() == peer
        assert sock.getsockname() == address
        assert sock.gettimeout() == 0
        assert not sock.get_inheritable()
        if os.name == "posix":
            assert not os.get_blocking(sock.fileno())
        assert done_by(selector, SendAll(sock, b"hello")) == 5
        assert theirs.recv(10) == b"hello"
        sock.shutdown(socket.SHUT_WR)
        assert theirs.recv(10) == b""
        theirs.send(b"bye")
        assert done_by(selector, Recv(sock, 10)) == b"bye"
        sock.close()
        theirs.close()


@rule(99)
def test_clients_are_accepted_in_the_order_of_the_operations(
    selector: Selector, listener: socket.socket
) -> None:
    """One after the other."""
    ops = [selector.submit(Accept(listener)) for _ in range(3)]
    for op in ops:
        with socket.create_connection(listener.getsockname()) as client:
            sock, peer = outcome(selector, op)
            sock.close()
            assert peer == client.getsockname()


@rule(99, platform="unix")
def test_clients_are_accepted_in_the_family_of_unix(selector: Selector, tmp_path: Any) -> None:
    """And connect in it, with a path as the address."""
    path = str(tmp_path / "socket")
    family = socket.AF_UNIX  # type: ignore[attr-defined, unused-ignore]
    with socket.socket(family) as listener, socket.socket(family) as client:
        for sock in (listener, client):
            sock.setblocking(False)
        with pytest.raises(FileNotFoundError):
            done_by(selector, Connect(client, path))
        listener.bind(path)
        listener.listen(1)
        accept, connect = selector.submit(Accept(listener)), selector.submit(Connect(client, path))
        finished(selector, accept, connect)
        assert connect.result() is None
        with accept.result()[0] as server:
            assert done_by(selector, SendAll(server, b"x")) == 1
            assert done_by(selector, Recv(client, 2)) == b"x"


@rule(100)
@pytest.mark.parametrize("early", [False, True])
def test_a_client_that_is_gone_does_not_end_the_accept(
    selector: Selector, listener: socket.socket, early: bool
) -> None:
    """It is passed over, or a dead socket comes of it (Linux); the next one is accepted."""
    op = Accept(listener)
    if not early:
        selector.submit(op)
        assert_nothing_done(selector, 0.01)
    reset(socket.create_connection(listener.getsockname()))
    time.sleep(0.02)
    if early:
        selector.submit(op)
    with socket.create_connection(listener.getsockname()) as good:
        accepted = outcome(selector, op)
        if accepted[1] != good.getsockname():
            with pytest.raises(ConnectionError):
                done_by(selector, Recv(accepted[0], 1))
            accepted[0].close()
            accepted = done_by(selector, op)
        assert accepted[1] == good.getsockname()
        accepted[0].close()


@rule(100)
def test_a_failure_of_one_connection_does_not_end_the_accept(selector: Selector) -> None:
    """accept(2) on Linux passes pending network errors on from the new socket."""
    with Unlucky() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        listener.setblocking(False)
        op = selector.submit(Accept(listener))
        with socket.create_connection(listener.getsockname()) as client:
            sock, peer = outcome(selector, op)
            sock.close()
            assert peer == client.getsockname()


@rule(100, platform="unix")
def test_too_many_open_files_is_told(selector: Selector, listener: socket.socket) -> None:
    """EMFILE is the user's, who can close something; the client is still there then."""
    import resource

    op = selector.submit(Accept(listener))
    assert_nothing_done(selector, 0.01)
    with socket.create_connection(listener.getsockname()) as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(OSError, match=r".") as raised:
                outcome(selector, op)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert raised.value.errno == errno.EMFILE
        sock, peer = done_by(selector, op)
        sock.close()
        assert peer == client.getsockname()


@rule(110)
def test_a_cancelled_accept_takes_no_client(selector: Selector, listener: socket.socket) -> None:
    """It comes out as cancelled, once, and the next accept gets who comes."""
    op = selector.submit(Accept(listener))
    assert_nothing_done(selector, 0.01)
    assert selector.cancel(op)
    with pytest.raises(OperationCancelled):
        outcome(selector, op)
    with socket.create_connection(listener.getsockname()) as client:
        assert_nothing_done(selector)
        sock, peer = done_by(selector, op)
        sock.close()
        assert peer == client.getsockname()


@rule(110)
def test_no_client_is_lost_to_a_cancel(selector: Selector, listener: socket.socket) -> None:
    """Whatever the order of submit, connect, wait and cancel: each client is accepted once."""
    rng = random.Random(110)
    address = listener.getsockname()
    for _ in range(RACES):
        op = Accept(listener)
        steps = ["connect", "cancel", "wait"][: rng.choice((2, 3, 3))]
        rng.shuffle(steps)
        selector.submit(op)
        if rng.random() < 0.5:
            assert selector.select(0) == []
        for step in steps:
            if step == "connect":
                client = socket.create_connection(address)
            elif step == "cancel":
                selector.cancel(op)
            else:
                assert selector.select(0) == []
        peer = client.getsockname()
        accepted_once(selector, listener, op, peer)
        reset(client)
    assert_nothing_done(selector)


@rule(110)
def test_no_client_is_lost_to_a_cancel_from_another_thread(
    selector: Selector, listener: socket.socket
) -> None:
    """Clients come from one thread, cancels from another, and accepts are waited for in a third."""
    rng = random.Random(111)
    address = listener.getsockname()
    current: list[Accept] = [Accept(listener)]
    over = threading.Event()
    sources: list[Any] = []

    def connect() -> None:
        while len(sources) < RACES // 2:
            with socket.create_connection(address) as client:
                sources.append(client.getsockname())
                time.sleep(rng.random() / 3000)

    def cancel() -> None:
        while not over.is_set():
            selector.cancel(current[0])
            time.sleep(0.0001)

    threads = [threading.Thread(target=work, daemon=True) for work in (connect, cancel)]
    for thread in threads:
        thread.start()
    peers: list[Any] = []
    deadline = time.monotonic() + 4 * SOON
    while len(peers) < RACES // 2:
        assert time.monotonic() < deadline, f"lost {RACES // 2 - len(peers)} clients"
        selector.submit(current[0])
        finished(selector, current[0])
        try:
            sock, peer = current[0].result()
        except OperationCancelled:
            continue
        sock.close()
        peers.append(peer)
    over.set()
    for thread in threads:
        thread.join()
    assert sorted(peers) == sorted(sources)
