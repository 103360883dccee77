"""A TCP echo server: the smallest complete program on ``netcore.Selector``.

python examples/echo_server.py [PORT]
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

import netcore


def accept(selector: netcore.Selector, listener: socket.socket) -> None:
    try:
        connection, _ = listener.accept()
    except (BlockingIOError, ConnectionError):
        return  # The client has given up already.
    connection.setblocking(False)
    # The data of a registration is ours: here, the bytes still to be sent back.
    selector.register(connection, netcore.EVENT_READ, bytearray())


def echo(selector: netcore.Selector, key: netcore.SelectorKey, events: int) -> None:
    connection, pending = key.fileobj, key.data
    try:
        if events & netcore.EVENT_READ:
            received = connection.recv(65536)
            if not received:
                raise ConnectionAbortedError("the client has gone")
            pending += received
        del pending[: connection.send(pending)]
    except BlockingIOError:
        pass  # The socket is full; it will say when there is room.
    except OSError:
        selector.unregister(connection)
        connection.close()
        return
    # Read no more until everything is sent, so that a client that does not read costs no memory;
    # and wait for room only if there is something to send, or the wait would never wait.
    wanted = netcore.EVENT_WRITE if pending else netcore.EVENT_READ
    if wanted != key.events:
        selector.modify(connection, wanted, pending)


def main(port: int = 7007) -> None:
    with netcore.Selector() as selector, socket.create_server(("127.0.0.1", port)) as listener:
        listener.setblocking(False)
        selector.register(listener, netcore.EVENT_READ)
        print(f"echo on port {listener.getsockname()[1]} with {selector.backend}", flush=True)
        while True:
            for key, events in selector.select():
                if key.fileobj is listener:
                    accept(selector, listener)
                else:
                    echo(selector, key, events)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*map(int, sys.argv[1:2]))
