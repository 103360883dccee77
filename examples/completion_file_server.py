"""An HTTP/1.1 file server on operations: ``http_file_server.py``, with the waiting left out.

    python examples/completion_file_server.py [--port PORT] [--backend NAME] [DIRECTORY]

Files go from the disk to the socket without passing through Python where the system can. What is
answered is in ``http_responses.py``.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, BinaryIO

import serving
from completion_server import Server
from http_responses import Response, answer, take_head

from netcore import Recv, SendAll, SendFile

if TYPE_CHECKING:
    from completion_server import Steps, Task

CHUNK = 256 * 1024  # Sent before the others have their turn, and within ``idle`` seconds.
LINGER = 64  # Chunks that are thrown away from a client that does not stop talking.


class FileServer(Server):
    """Serves a directory until ``stop`` is called."""

    def __init__(
        self,
        root: str,
        host: str = "127.0.0.1",
        port: int = 0,
        backend: str | None = None,
        idle: float = 30.0,
    ) -> None:
        super().__init__(self.converse, host, port, backend)
        self.root = os.path.realpath(root)
        self.idle = idle

    def converse(self, sock: socket.socket) -> Task:
        """Answer the requests of one connection until it ends."""
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            recv = Recv(sock, 65536, timeout=self.idle)
            received = bytearray()
            while True:
                while (head := take_head(received)) is None:
                    data = yield recv
                    if not data:
                        return
                    received += data
                response = answer(head, self.root)
                yield from self.send(sock, response)
                if not response.keep_alive:
                    break
            # To close with bytes unread would reset the connection, and the answer might be lost
            # with it (RFC 9112, 9.6): say that we are done, and let the client hang up.
            sock.shutdown(socket.SHUT_WR)
            for _ in range(LINGER):
                if not (yield recv):
                    return

    def send(self, sock: socket.socket, response: Response) -> Steps[None]:
        """Send all of a response; close its file."""
        try:
            head = memoryview(response.head)
            for start in range(0, len(head), CHUNK):
                yield SendAll(sock, head[start : start + CHUNK], timeout=self.idle)
            if response.file:
                yield from self.send_file(sock, response.file, response.start, response.end)
        finally:
            if response.file:
                response.file.close()

    def send_file(self, sock: socket.socket, file: BinaryIO, start: int, end: int) -> Steps[None]:
        send = SendFile(sock, file, timeout=self.idle)
        for offset in range(start, end, CHUNK):
            send.offset, send.count = offset, min(CHUNK, end - offset)
            if (yield send) < send.count:
                raise ConnectionAbortedError("the file is shorter than it was")


if __name__ == "__main__":
    serving.serve_directory(FileServer)
