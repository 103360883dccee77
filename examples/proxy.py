"""A TCP proxy: every connection is passed on to another address.

    python examples/proxy.py [--host HOST] [--port PORT] [--backend NAME] TARGET_HOST TARGET_PORT

Each way of a connection is a task of its own, which reads nothing before the last has been sent:
who reads slowly slows the sender down, and nothing is lost. When one side has finished sending, the
other is told so, and may go on. When one side breaks, so does the other: to close it would
look like the end of the data.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import serving
from completion_server import Server

from netcore import Connect, Recv, SendAll

if TYPE_CHECKING:
    from completion_server import Task

# SO_LINGER: closing sends RST.
_RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class Proxy(Server):
    """Passes connections on to ``target``, an address with the host as a number.

    A connection is broken off when nothing has moved for ``idle`` seconds, twice that at most, in
    either way, or when one side takes nothing for so long.
    """

    def __init__(
        self,
        target: tuple[Any, ...],
        host: str = "127.0.0.1",
        port: int = 0,
        backend: str | None = None,
        idle: float = 30.0,
    ) -> None:
        super().__init__(self.relay, host, port, backend)
        self.room *= 2  # A connection has two tasks here, each with a descriptor.
        self.target = target
        self.idle = idle

    def relay(self, client: socket.socket) -> Task:
        return Relay(self, client).run()


class Relay:
    """A client, and the connection that was made for it."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy = proxy
        self.socks = [client]
        self.ways = 1
        self.moved = time.monotonic()  # When something came, either way.

    def run(self) -> Task:
        """Connect, then pass on what the client says; what it is told is a task of its own."""
        try:
            client, target = self.socks[0], self.proxy.target
            family = socket.AF_INET6 if len(target) == 4 else socket.AF_INET
            upstream = socket.socket(family)
            self.socks.append(upstream)
            upstream.setblocking(False)
            yield Connect(upstream, target, timeout=self.proxy.idle)
            for sock in self.socks:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            self.reset()
            raise
        self.ways = 2
        self.proxy.start(self.pump(upstream, client))
        yield from self.pump(client, upstream)

    def pump(self, source: socket.socket, sink: socket.socket) -> Task:
        """Pass on what comes, and then that no more will come."""
        idle = self.proxy.idle
        recv, send = Recv(source, 65536, timeout=idle), SendAll(sink, b"", timeout=idle)
        try:
            while True:
                try:
                    send.buffer = yield recv
                except TimeoutError:
                    # A download is not idle because its client is silent.
                    if time.monotonic() - self.moved >= idle:
                        raise
                    continue
                self.moved = time.monotonic()
                if not send.buffer:
                    break
                yield send
            sink.shutdown(socket.SHUT_WR)
        except BaseException:
            self.reset()
            raise
        self.ways -= 1
        if not self.ways:
            for sock in self.socks:
                sock.close()

    def reset(self) -> None:
        """End both connections at once; what the other task waits for fails, or is cancelled."""
        for sock in self.socks:
            if sock.fileno() >= 0:
                if not self.proxy.stopped:
                    self.proxy.selector.cancel_all(sock)
                with contextlib.suppress(OSError):  # macOS, if it has failed already.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.close()


def main() -> None:
    parser = serving.options("Pass connections on to another address.", 8080)
    parser.add_argument("target_host")
    parser.add_argument("target_port", type=int)
    options = parser.parse_args()

    def make() -> Proxy:
        # Names are looked up once: that blocks.
        found = socket.getaddrinfo(
            options.target_host, options.target_port, type=socket.SOCK_STREAM
        )
        return Proxy(found[0][4], options.host, options.port, options.backend, options.idle)

    serving.run(make, f"proxy to {options.target_host}:{options.target_port}")


if __name__ == "__main__":
    main()
