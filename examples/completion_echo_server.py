"""A TCP echo server on operations: what comes is sent back.

    python examples/completion_echo_server.py [--host HOST] [--port PORT] [--backend NAME]

Nothing is read before the last answer has gone, so that a client that does not read costs no
memory; one that does neither in time is dropped.
"""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING

import serving
from completion_server import Server

from netcore import Recv, SendAll

if TYPE_CHECKING:
    from completion_server import Task


def echo(sock: socket.socket, idle: float | None = None) -> Task:
    with sock:
        recv = Recv(sock, 65536, timeout=idle)
        send = SendAll(sock, b"", timeout=idle)
        while data := (yield recv):
            send.buffer = data
            yield send


def main() -> None:
    options = serving.options("Send back what comes.", 7007).parse_args()
    talk = functools.partial(echo, idle=options.idle)
    serving.run(lambda: Server(talk, options.host, options.port, options.backend), "echo")


if __name__ == "__main__":
    main()
