"""The echo server and the proxy on operations, on every backend: nobody's bytes are lost."""

from __future__ import annotations

import contextlib
import functools
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from netcore.conformance import wine
from netcore.conformance.tools import assert_same, reset
from servers import SOON, starting, wait_until

import netcore

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from completion_echo_server import echo  # noqa: E402
from completion_file_server import FileServer  # noqa: E402
from completion_server import Server  # noqa: E402
from proxy import Proxy  # noqa: E402

BIG = random.Random(2).getrandbits(8 * (6 << 20)).to_bytes(6 << 20, "little")
BACKENDS = [*netcore.available_backends(), *["stacked:Stacked"] * (sys.platform == "linux")]

Run = Callable[..., Any]


@pytest.fixture(params=BACKENDS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Starts servers on one of the backends; afterwards none of them may have failed."""
    with starting(request.param) as run:
        yield run


def echoing(backend: str, idle: float | None = None) -> Server:
    return Server(functools.partial(echo, idle=idle), backend=backend)


Stack = contextlib.ExitStack


@pytest.fixture
def stack() -> Iterator[Stack]:
    """What is entered is closed in the end."""
    with Stack() as stack:
        yield stack


def _connect(stack: Stack, server: Server | socket.socket, room: int = 0) -> socket.socket:
    listener = server if isinstance(server, socket.socket) else server.listener
    sock = stack.enter_context(socket.socket())
    if room:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.settimeout(SOON)
    sock.connect(listener.getsockname()[:2])
    return sock


def _some(sock: socket.socket, most: int = 1 << 30) -> bytes:
    """What comes until the end, or until it is enough."""
    data = b""
    while len(data) < most and (part := sock.recv(min(most - len(data), 1 << 20))):
        data += part
    return data


def _saying(sock: socket.socket, message: bytes) -> threading.Thread:
    """A thread that sends ``message`` and its end."""

    def say() -> None:
        with contextlib.suppress(ConnectionError):
            sock.sendall(message)
            sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=say)
    thread.start()
    return thread


def _breaks(sock: socket.socket) -> bool:
    """Whether it is reset rather than ended. Wine 8 does not tell which."""
    try:
        return sock.recv(1) == b"" and wine.version() is not None
    except ConnectionError:
        return True


def _pair(stack: Stack, run: Run, **options: float) -> tuple[socket.socket, socket.socket]:
    """A client, and the other end of its connection, with a proxy between them."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    client = _connect(stack, run(Proxy, listener.getsockname(), **options), room=8192)
    upstream, _ = listener.accept()
    upstream.settimeout(SOON)
    return client, stack.enter_context(upstream)


# -- both, one behind the other


def test_two_hundred_connections_at_once_get_back_what_they_say(run: Run, stack: Stack) -> None:
    echo_server = run(echoing)
    proxy = run(Proxy, echo_server.listener.getsockname())
    socks = [_connect(stack, proxy) for _ in range(200)]
    for turn in range(3):
        parts = [BIG[n * 997 : n * 997 + 5000 + turn] for n in range(len(socks))]
        for sock, part in zip(socks, parts):
            sock.sendall(part)
        for sock, part in zip(socks, parts):
            assert _some(sock, len(part)) == part
    assert len(echo_server.connections) == len(socks)
    for sock in socks:
        sock.close()
    wait_until(lambda: not echo_server.connections and not proxy.connections)


def test_who_reads_nothing_before_all_is_said_gets_some(run: Run, stack: Stack) -> None:
    """More than all the buffers on the way hold, and the others are served meanwhile."""
    proxy = run(Proxy, run(echoing).listener.getsockname())
    slow = [_connect(stack, proxy, room=4096) for _ in range(3)]
    threads = [_saying(sock, BIG) for sock in slow]
    quick = _connect(stack, proxy)
    for _ in range(20):
        quick.sendall(b"quick")
        assert _some(quick, 5) == b"quick"
    for sock, thread in zip(slow, threads):
        assert_same(_some(sock), BIG)
        thread.join()


def test_big_files_come_through_the_proxy(run: Run, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    proxy = run(Proxy, run(FileServer, str(tmp_path)).listener.getsockname())
    with contextlib.closing(HTTPConnection(proxy.address, timeout=SOON)) as connection:
        for _ in range(3):
            connection.request("GET", "/big")
            assert_same(connection.getresponse().read(), BIG)


def test_connections_that_break_at_any_moment_harm_nobody(run: Run, stack: Stack) -> None:
    echo_server = run(echoing)
    proxy = run(Proxy, echo_server.listener.getsockname())
    chance = random.Random(5)
    good = _connect(stack, proxy)
    for _ in range(150):
        sock = _connect(stack, chance.choice([proxy, echo_server]))
        if chance.random() < 0.7:
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.send(BIG[: chance.choice([1, 5000, 1 << 20])])
        if chance.random() < 0.3:
            time.sleep(0.002)
        chance.choice([reset, socket.socket.close])(sock)
    good.sendall(b"good")
    assert _some(good, 4) == b"good"
    good.close()
    wait_until(lambda: not echo_server.connections and not proxy.connections)


def test_who_is_silent_or_does_not_read_is_dropped_in_time(run: Run, stack: Stack) -> None:
    server = run(echoing, idle=0.5)
    silent, deaf = _connect(stack, server), _connect(stack, server, room=4096)
    thread = _saying(deaf, BIG)
    assert silent.recv(1) == b""
    thread.join(SOON)
    wait_until(lambda: not server.connections)


# -- the proxy


@pytest.mark.parametrize("client_first", [True, False])
def test_a_side_that_has_finished_still_hears_the_other(
    run: Run, stack: Stack, client_first: bool
) -> None:
    first, second = _pair(stack, run)[:: 1 if client_first else -1]
    thread = _saying(first, BIG)
    assert_same(_some(second), BIG)
    thread.join()
    second.sendall(b"I see")
    assert _some(first, 5) == b"I see"
    thread = _saying(second, BIG[::-1])
    assert_same(_some(first), BIG[::-1])
    thread.join()


def test_a_slow_reader_slows_down_who_talks_to_it(run: Run, stack: Stack) -> None:
    """The proxy does not read what it cannot pass on."""
    client, upstream = _pair(stack, run)
    upstream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    upstream.settimeout(1.0)
    with pytest.raises(TimeoutError if sys.version_info >= (3, 10) else socket.timeout):
        upstream.sendall(bytes(256 << 20))
    assert len(client.recv(1000)) == 1000


@pytest.mark.parametrize("client_breaks", [True, False])
def test_a_break_on_one_side_is_one_on_the_other(
    run: Run, stack: Stack, client_breaks: bool
) -> None:
    """What came before is passed on, as far as it was taken; an end would say that it is all."""
    breaking, other = _pair(stack, run)[:: 1 if client_breaks else -1]
    breaking.sendall(b"so far")
    assert _some(other, 6) == b"so far"
    reset(breaking)
    assert _breaks(other)


def test_a_break_is_noticed_while_the_other_way_is_stuck(run: Run, stack: Stack) -> None:
    client, upstream = _pair(stack, run)
    upstream.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            upstream.send(BIG)
    upstream.settimeout(SOON)
    reset(client)
    with pytest.raises(ConnectionError):
        upstream.sendall(bytes(256 << 20))


def test_who_cannot_be_connected_is_told(run: Run, stack: Stack) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = run(Proxy, nobody.getsockname())
        with contextlib.suppress(ConnectionError):
            assert _breaks(_connect(stack, proxy))
    wait_until(lambda: not proxy.connections)


def test_a_download_is_not_idle_because_its_client_is_silent(run: Run, stack: Stack) -> None:
    client, upstream = _pair(stack, run, idle=0.6)
    for _ in range(12):
        upstream.sendall(b"x")
        assert client.recv(1) == b"x"
        time.sleep(0.15)
    before = time.monotonic()
    assert _breaks(client)
    assert _breaks(upstream)
    assert 0.3 < time.monotonic() - before < SOON / 2


def test_stopping_ends_what_is_under_way(run: Run, stack: Stack) -> None:
    echo_server = run(echoing)
    proxy = run(Proxy, echo_server.listener.getsockname())
    socks = [_connect(stack, server) for server in (proxy, echo_server) for _ in range(5)]
    threads = [_saying(sock, BIG) for sock in socks]
    time.sleep(0.1)
    proxy.stop()
    echo_server.stop()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()
