"""A TCP server whose connections are generators; the completion examples share it.

Such a task yields one operation after the other. When that is done the task goes on: with its
result, or with the OSError that it failed with, be it a reset, a TimeoutError or an
OperationCancelled. So a connection reads from top to bottom, and one thread serves thousands.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import netcore

# No descriptor is left, for the process or for the system.
_OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

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
        # A connection needs two descriptors in most servers; select(2) has few.
        self.room = max((self.selector.max_descriptors or 1_000_000) // 2 - 32, 1)
        self.connections: set[Task] = set()
        self.stopped = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self.listener = socket.create_server((host, port), family=family, backlog=1024)
        except BaseException:
            self.selector.close()
            raise
        self.listener.setblocking(False)
        self.accept = netcore.Accept(self.listener)
        self.accepting = False  # It is submitted.

    @property
    def address(self) -> str:
        host, port = self.listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

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
            if error.errno in _OUT_OF_DESCRIPTORS:
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


def options(description: str, port: int) -> argparse.ArgumentParser:
    """A parser of the options that every server has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=port, help="0 is any that is free")
    parser.add_argument("--backend", help=f"one of {', '.join(netcore.available_backends())}")
    parser.add_argument("--idle", type=float, default=30.0, metavar="SECONDS")
    return parser


def main(make: Callable[[], Server], what: str) -> None:
    """Make a server, and run it until the program is interrupted or terminated."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server = make()
        print(f"{what} at {server.address} with {server.selector.backend}", flush=True)
        server.run()
    except KeyboardInterrupt:
        print("stopped")
    except (OSError, OverflowError, ValueError) as error:
        raise SystemExit(str(error)) from None
