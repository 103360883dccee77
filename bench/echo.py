"""An echo over socket pairs in one asyncio loop, on a selector of your choice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from measure import Subject

_MESSAGES = 20  # Back and forth on each connection, per call.


class _Echo(asyncio.Protocol):
    """Sends back what comes, until ``left`` messages have come."""

    def __init__(self) -> None:
        self.left = 0
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.done is not None:
            self.left -= 1
            if not self.left:
                self.done.set_result(None)
                return
        self.transport.write(data)


@contextmanager
def echo_subject(selector: Any, connections: int) -> Iterator[Subject]:
    """A Subject that sends messages back and forth on all of ``connections`` at once."""
    loop = asyncio.SelectorEventLoop(selector)
    ends: list[_Echo] = []
    clients: list[_Echo] = []

    async def connect() -> None:
        for _ in range(connections):
            for made, sock in zip((clients, ends), socket.socketpair()):
                sock.setblocking(False)
                _, protocol = await loop.create_connection(_Echo, sock=sock)
                made.append(protocol)

    async def exchange() -> None:
        for client in clients:
            client.left, client.done = _MESSAGES, loop.create_future()
            client.transport.write(b"x" * 64)
        for client in clients:
            assert client.done is not None
            await client.done
            client.done = None

    async def hang_up() -> None:
        for protocol in clients + ends:
            protocol.transport.close()
        await asyncio.sleep(0)

    loop.run_until_complete(connect())
    try:
        run = loop.run_until_complete
        yield Subject(
            "run(exchange())", {"run": run, "exchange": exchange}, _MESSAGES * connections
        )
    finally:
        loop.run_until_complete(hang_up())
        loop.close()
