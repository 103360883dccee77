"""An HTTP/1.1 file server in one thread, on ``netcore.Selector``.

    python examples/http_file_server.py [--host HOST] [--port PORT] [--backend NAME] [DIRECTORY]

Each connection is a generator that reads from top to bottom: it does what it can without waiting
and yields the events that it needs to go on. The server is the loop that waits for all of them at
once. What is answered is in ``http_responses.py``, what is around the loop in ``serving.py``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import serving
from http_responses import Response, answer, take_head
from serving import OUT_OF_DESCRIPTORS, address_of, listen, room_of

import netcore
from netcore import EVENT_READ, EVENT_WRITE

CHUNK = 256 * 1024  # Sent of a file before the other connections have their turn.
ACCEPTS = 64  # Connections accepted before the others have their turn.
LINGER = 64  # Chunks that are thrown away from a client that does not stop talking.

if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")
    Steps = Generator[int, None, T]  # Yields the events to wait for, returns a T in the end.


# -- one connection


def converse(sock: socket.socket, root: str) -> Steps[None]:
    """Answer the requests of one connection until it ends; yield the events to wait for.

    Raises OSError when the connection breaks.
    """
    received = bytearray()
    while True:
        head = yield from next_head(sock, received)
        if head is None:
            return
        response = answer(head, root)
        yield from send(sock, response)
        if not response.keep_alive:
            break
        if received:  # Pipelined: the other connections first.
            yield EVENT_WRITE
    # To close with bytes unread would reset the connection, and the answer might be lost with it
    # (RFC 9112, 9.6): say that we are done, and let the client hang up.
    sock.shutdown(socket.SHUT_WR)
    for _ in range(LINGER):
        if not (yield from receive(sock)):
            return


def next_head(sock: socket.socket, received: bytearray) -> Steps[bytes | None]:
    """The next request, taken from ``received`` as far as it came already; None at the end."""
    while (head := take_head(received)) is None:
        data = yield from receive(sock)
        if not data:
            return None
        received += data
    return head


def receive(sock: socket.socket) -> Steps[bytes]:
    while True:
        yield EVENT_READ
        try:
            return sock.recv(65536)
        except BlockingIOError:
            pass  # Ready is a hint: select(2), BUGS.


def send(sock: socket.socket, response: Response) -> Steps[None]:
    """Send all of a response, waiting only when the socket is full; close its file."""
    try:
        head = memoryview(response.head)
        while head:
            try:
                head = head[sock.send(head) :]
            except BlockingIOError:
                yield EVENT_WRITE
        start, end = response.start, response.end
        while response.file and start < end:
            try:
                sent = send_part(sock, response.file, start, min(end - start, CHUNK))
                if not sent:
                    raise ConnectionAbortedError("the file is shorter than it was")
                start += sent
            except BlockingIOError:
                pass
            if start < end:
                yield EVENT_WRITE
    finally:
        if response.file:
            response.file.close()


def send_by_kernel(sock: socket.socket, file: BinaryIO, start: int, count: int) -> int:
    """Send what the socket takes now of ``file``; return how much that was."""
    return os.sendfile(sock.fileno(), file.fileno(), start, count)


def send_by_reading(sock: socket.socket, file: BinaryIO, start: int, count: int) -> int:
    """The same for systems that have no sendfile(2)."""
    file.seek(start)
    return sock.send(file.read(count))


send_part = send_by_kernel if hasattr(os, "sendfile") else send_by_reading


# -- all of them


@dataclass(eq=False)
class Connection:
    """A client, and how far we are with it."""

    sock: socket.socket
    steps: Steps[None]
    deadline: float


class Server:
    """Serves a directory until ``stop`` is called or an exception comes, then closes everything."""

    def __init__(
        self,
        root: str,
        host: str = "127.0.0.1",
        port: int = 0,
        backend: str | None = None,
        idle: float = 30.0,
    ) -> None:
        self.root = os.path.realpath(root)
        self.idle = idle
        self.selector = netcore.Selector(backend)
        self.room = room_of(self.selector)  # A connection and its file: two descriptors.
        # The one that was idle longest comes first.
        self.connections: OrderedDict[Connection, None] = OrderedDict()
        self.stopped = False
        try:
            self.listener = listen(host, port)
        except BaseException:
            self.selector.close()
            raise
        self.selector.register(self.listener, EVENT_READ)

    @property
    def address(self) -> str:
        return f"http://{address_of(self.listener)}/"

    def run(self) -> None:
        try:
            while not self.stopped:
                ready = self.selector.select(self.patience())
                for key, _ in ready:
                    if key.data is None:
                        self.accept()
                    else:
                        self.go_on(key.data, key.events)
                self.drop_idle()
                if not ready:
                    self.set_accepting(True)
        finally:
            for connection in list(self.connections):
                self.drop(connection)
            self.listener.close()
            self.selector.close()

    def stop(self) -> None:
        """End ``run``, from any thread."""
        self.stopped = True
        with contextlib.suppress(RuntimeError):  # It has ended already.
            self.selector.wakeup()

    def accept(self) -> None:
        for _ in range(ACCEPTS):
            if len(self.connections) >= self.room:
                self.set_accepting(False)
                return
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_DESCRIPTORS:
                    self.set_accepting(False)
                    return
                # Else this client has given up already (accept(2)).
            else:
                self.greet(sock)

    def greet(self, sock: socket.socket) -> None:
        steps = converse(sock, self.root)
        connection = Connection(sock, steps, time.monotonic() + self.idle)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(sock, next(steps), connection)
        except (OSError, ValueError):  # Gone already, or a number beyond what select(2) takes.
            sock.close()
        else:
            self.connections[connection] = None

    def go_on(self, connection: Connection, waited_for: int) -> None:
        """Let a connection do its next step."""
        try:
            wanted = next(connection.steps)
        except (StopIteration, OSError):  # Done, or the client has gone.
            self.drop(connection)
            return
        if wanted != waited_for:
            self.selector.modify(connection.sock, wanted, connection)
        connection.deadline = time.monotonic() + self.idle
        self.connections.move_to_end(connection)

    def drop(self, connection: Connection) -> None:
        del self.connections[connection]
        self.selector.unregister(connection.sock)
        connection.steps.close()
        connection.sock.close()
        self.set_accepting(True)

    def set_accepting(self, accepting: bool) -> None:
        """Whether to accept connections; clients wait in the listener's queue meanwhile.

        A listener that is just not answered would stay ready, and no wait would wait any more.
        """
        wanted = EVENT_READ if accepting else 0  # 0: parked.
        if self.selector.get_key(self.listener).events != wanted:
            self.selector.modify(self.listener, wanted)

    def patience(self) -> float | None:
        """How long there is nothing to do unless somebody is ready: None is for ever."""
        waits = [oldest.deadline - time.monotonic() for oldest in self._oldest()]
        if not self.selector.get_key(self.listener).events:
            waits.append(1.0)  # Others may have given descriptors back.
        return min(waits, default=None)

    def drop_idle(self) -> None:
        now = time.monotonic()
        while any(oldest.deadline <= now for oldest in self._oldest()):
            self.drop(*self._oldest())

    def _oldest(self) -> list[Connection]:
        """The connection that was idle longest, if there is one."""
        return list(itertools.islice(self.connections, 1))


if __name__ == "__main__":
    serving.serve_directory(Server)
