"""A TCP server whose connections are generators; the completion examples share it.

Such a task yields one operation after the other. When that is done the task goes on: with its
result, or with the OSError that it failed with, be it a reset, a TimeoutError or an
OperationCancelled. So a connection reads from top to bottom, and one thread serves thousands.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from serving import OUT_OF_DESCRIPTORS, address_of, listen, room_of

import netcore

if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")
    Steps = Generator[netcore.Operation, Any, T]  # Returns a T in the end.
    Task = Steps[None]


class Server:
    """Runs ``talk(sock)`` for every connection until ``stop`` is called, then closes everything.

    A task that ends with an OSError is over, and nobody minds: that is how connections end.
    """

    def __init__(
        self,
        talk: Callable[[socket.socket], Task],
        host: str = "127.0.0.1",
        port: int = 0,
        backend: str | None = None,
    ) -> None:
        self.talk = talk
        self.selector = netcore.Selector(backend)
        self.room = room_of(self.selector)
        self.connections: set[Task] = set()
        self.stopped = False
        try:
            self.listener = listen(host, port)
        except BaseException:
            self.selector.close()
            raise
        self.accept = netcore.Accept(self.listener)
        self.accepting = False  # It is submitted.

    @property
    def address(self) -> str:
        return address_of(self.listener)

    def run(self) -> None:
        try:
            self.accept_more()
            while not self.stopped:
                # Others may have given descriptors back after a second.
                _, done = self.selector.wait(None if self.accepting else 1.0)
                for operation in done:
                    if operation is self.accept:
                        self.greet()
                    else:
                        self.go_on(operation.data, operation.value, operation.error)
                if not done:
                    self.accept_more()
        finally:
            self.stopped = True
            self.selector.close()  # Nobody uses the buffers any more.
            for task in list(self.connections):
                task.close()
            self.connections.clear()
            self.listener.close()

    def stop(self) -> None:
        """End ``run``, from any thread."""
        self.stopped = True
        with contextlib.suppress(RuntimeError):  # It has ended already.
            self.selector.wakeup()

    def accept_more(self) -> None:
        """Accept the next connection, if there is room; clients wait in the kernel meanwhile."""
        if not self.accepting and len(self.connections) < self.room:
            self.selector.submit(self.accept)
            self.accepting = True

    def greet(self) -> None:
        self.accepting = False
        try:
            sock, _ = self.accept.result()
        except OSError as error:
            if error.errno in OUT_OF_DESCRIPTORS:
                return  # Until a connection ends, or a second has passed.
            raise
        self.start(self.talk(sock))
        self.accept_more()

    def start(self, task: Task) -> None:
        """Run ``task`` beside the others."""
        self.connections.add(task)
        self.go_on(task)

    def go_on(self, task: Task, value: Any = None, error: BaseException | None = None) -> None:
        """Let ``task`` do its next step, and have done what it asks for then."""
        try:
            while True:
                operation = task.send(value) if error is None else task.throw(error)
                operation.data = task
                try:
                    self.selector.submit(operation)
                    return
                except OSError as refused:
                    error = refused
                except ValueError as refused:
                    # select(2) holds no more; on the others it is a mistake.
                    full = self.selector.max_descriptors is not None
                    error = OSError(errno.EMFILE, str(refused)) if full else refused
        except (StopIteration, OSError):
            self.drop(task)
        except BaseException:
            self.drop(task)
            raise

    def drop(self, task: Task) -> None:
        self.connections.discard(task)
        if not self.stopped:
            self.accept_more()
