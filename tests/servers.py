"""Servers of the examples, in threads of their own, and waiting for what they do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

#: Seconds: who takes longer than that hangs.
SOON = 15.0


@contextlib.contextmanager
def starting(backend: str) -> Iterator[Callable[..., Any]]:
    """Makes servers on ``backend`` and runs them; afterwards all of them are stopped, and none of
    them may have failed or have a connection left.
    """
    with contextlib.ExitStack() as stack:

        def start(make: Callable[..., Any], *arguments: object, **options: object) -> Any:
            server = make(*arguments, backend=backend, **options)
            failures: list[BaseException] = []
            thread = threading.Thread(target=_run, args=(server, failures))
            thread.start()
            stack.callback(_end, server, thread, failures)
            return server

        yield start


def _run(server: Any, failures: list[BaseException]) -> None:
    try:
        server.run()
    except BaseException as error:  # Handed to the test.
        failures.append(error)


def _end(server: Any, thread: threading.Thread, failures: list[BaseException]) -> None:
    server.stop()
    thread.join(SOON)
    assert not thread.is_alive(), "the server did not stop"
    if failures:
        raise failures[0]
    assert not server.connections


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "not within reasonable time"
        time.sleep(0.01)
