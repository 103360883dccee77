"""The servers of echo_bench.py, each as its documentation would have it: what comes is sent back.

``python bench/echo_servers.py NAME CONNECTIONS``: says its port, accepts so many connections, and
ends with the last of them. What is measured begins after that, so a server gets its connections as
non-blocking sockets.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import socket
import sys
from collections.abc import Callable
from typing import Any

#: What is received at once. asyncio's protocols, of which this cannot be asked, take 256 KiB.
MOST = 1 << 16


def floor(socks: list[socket.socket]) -> None:
    """The least that Python can do."""
    connections = {sock.fileno(): sock for sock in socks}
    epoll = select.epoll()
    for fd in connections:
        epoll.register(fd, select.EPOLLIN)
    while connections:
        for fd, _ in epoll.poll():
            sock = connections[fd]
            data = sock.recv(MOST)
            if data:
                sent = sock.send(data)
                if sent < len(data):
                    _send_rest(sock, data[sent:])
            else:
                epoll.unregister(fd)
                connections.pop(fd).close()


def _send_rest(sock: socket.socket, data: bytes) -> None:
    """It does not happen as long as a message is shorter than the buffers of the kernel."""
    sock.setblocking(True)
    sock.sendall(data)
    sock.setblocking(False)


def readiness(socks: list[socket.socket]) -> None:
    import netcore

    _selectors_loop(netcore.Selector(), socks)


def stdlib_selectors(socks: list[socket.socket]) -> None:
    _selectors_loop(selectors.DefaultSelector(), socks)


def _selectors_loop(selector: Any, socks: list[socket.socket]) -> None:
    left = len(socks)
    for sock in socks:
        selector.register(sock, selectors.EVENT_READ)
    while left:
        for key, _ in selector.select():
            sock = key.fileobj
            data = sock.recv(MOST)
            if data:
                sent = sock.send(data)
                if sent < len(data):
                    _send_rest(sock, data[sent:])
            else:
                selector.unregister(sock)
                sock.close()
                left -= 1
    selector.close()


def completion(socks: list[socket.socket]) -> None:
    """One operation of each kind per connection, submitted again and again."""
    from netcore import Recv, Selector, SendAll

    left = len(socks)
    with Selector() as selector:
        for sock in socks:
            recv = Recv(sock, MOST)
            recv.data = SendAll(sock, b"", data=recv)
            selector.submit(recv)
        while left:
            for operation in selector.wait()[1]:
                if type(operation) is SendAll:
                    operation.result()
                    operation.buffer = b""  # It is the caller's, who need not keep it.
                    selector.submit(operation.data)
                elif data := operation.result():
                    send = operation.data
                    send.buffer = data
                    selector.submit(send)
                else:
                    operation.sock.close()
                    left -= 1


def completion_fresh(socks: list[socket.socket]) -> None:
    """New operations for every message."""
    from netcore import Recv, Selector, SendAll

    left = len(socks)
    with Selector() as selector:
        for sock in socks:
            selector.submit(Recv(sock, MOST))
        while left:
            for operation in selector.wait()[1]:
                if type(operation) is SendAll:
                    operation.result()
                    selector.submit(Recv(operation.sock, MOST))
                elif data := operation.result():
                    selector.submit(SendAll(operation.sock, data))
                else:
                    operation.sock.close()
                    left -= 1


# -- event loops


class _Echo(asyncio.Protocol):
    def __init__(self, gone: Callable[[], None]) -> None:
        self.gone = gone

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone()


async def _protocols(socks: list[socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    left, over = len(socks), loop.create_future()

    def gone() -> None:
        nonlocal left
        left -= 1
        if not left:
            over.set_result(None)

    for sock in socks:
        await loop.connect_accepted_socket(lambda: _Echo(gone), sock)
    await over


def asyncio_protocols(socks: list[socket.socket]) -> None:
    asyncio.run(_protocols(socks))


def uvloop_protocols(socks: list[socket.socket]) -> None:
    import uvloop

    loop = uvloop.new_event_loop()
    loop.run_until_complete(_protocols(socks))
    loop.close()


async def _echo_streams(sock: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=sock)
    while data := await reader.read(MOST):
        writer.write(data)
        await writer.drain()
    writer.close()


def asyncio_streams(socks: list[socket.socket]) -> None:
    async def serve() -> None:
        await asyncio.gather(*map(_echo_streams, socks))

    asyncio.run(serve())


def trio_streams(socks: list[socket.socket]) -> None:
    import trio

    async def echo(sock: socket.socket) -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        while data := await stream.receive_some(MOST):
            await stream.send_all(data)
        await stream.aclose()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            for sock in socks:
                nursery.start_soon(echo, sock)

    trio.run(serve)


#: By name: the module that it needs beside the standard library, and what serves.
SERVERS: dict[str, tuple[str | None, Callable[[list[socket.socket]], None]]] = {
    "floor": (None, floor),
    "again": (None, floor),
    "readiness": ("netcore", readiness),
    "completion": ("netcore", completion),
    "completion-fresh": ("netcore", completion_fresh),
    "selectors": (None, stdlib_selectors),
    "asyncio": (None, asyncio_protocols),
    "asyncio-streams": (None, asyncio_streams),
    "uvloop": ("uvloop", uvloop_protocols),
    "trio": ("trio", trio_streams),
}


def main() -> None:
    name, connections = sys.argv[1], int(sys.argv[2])
    # glibc maps blocks of 128 KiB and more one by one until a larger one has been freed: asyncio's
    # 256 KiB per recv() would cost two more system calls, as long as nothing else freed one.
    bytearray(1 << 20)
    with socket.create_server(("127.0.0.1", 0), backlog=connections) as listener:
        print(listener.getsockname()[1], flush=True)
        socks = [listener.accept()[0] for _ in range(connections)]
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    SERVERS[name][1](socks)


if __name__ == "__main__":
    main()
